import Synchronization

/// What encoding needs beside the tokenizer, for one thread at a time.
final class TokenizerWorkspace {
  let cache = WordCache()
  private var queue = MergeQueue()

  func merge(by merges: BytePairMerges, into ids: inout [Int32], _ fill: (inout MergeQueue) -> Void) {
    fill(&queue)
    queue.merge(by: merges, into: &ids)
  }
}

/// Workspaces that wait for a thread: as many as there ever were threads at once.
final class TokenizerWorkspaces: Sendable {
  /// Handed from one thread to another under the lock.
  private struct Handle: @unchecked Sendable {
    let workspace: TokenizerWorkspace
  }

  private let waiting = Mutex<[Handle]>([])

  func withWorkspace<Result>(_ body: (TokenizerWorkspace) -> Result) -> Result {
    let handle = waiting.withLock { $0.popLast() } ?? Handle(workspace: TokenizerWorkspace())
    defer { waiting.withLock { $0.append(handle) } }
    return body(handle.workspace)
  }
}
