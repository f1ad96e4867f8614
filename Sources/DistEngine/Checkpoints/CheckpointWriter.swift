import Foundation

/// Writes checkpoints: every rank its slice, side by side, straight from where the state is; rank 0 the manifest when all slices are on the
/// disk, and the name.
package struct CheckpointWriter {
  private let communicator: Communicator
  private let writers: CheckpointWriters

  package init(_ writers: CheckpointWriters, communicator: Communicator) {
    (self.writers, self.communicator) = (writers, communicator)
  }

  /// Collective. When it returns the checkpoint is there, on the disk; when it throws there is none, and those before are as they were.
  ///
  /// - Parameters:
  ///   - directory: of the run's checkpoints, on rank 0.
  ///   - manifest: from the slices' files, on rank 0.
  package func write(
    _ state: CheckpointState, step: Int, in directory: CheckpointDirectory?, manifest: ([CheckpointManifest.File]) throws -> CheckpointManifest
  ) throws {
    do {
      let aside = try communicator.agree("checkpoint") {
        guard let directory else { return "" }
        try directory.clearAside()
        try AtomicFile.makeDirectory(directory.path, permissions: 0o700)
        let aside = directory.pathAside(ofStep: step)
        try AtomicFile.makeDirectory(aside, permissions: 0o700)
        return aside
      }
      let path = String(decoding: try communicator.broadcast(bytes: Array(aside.utf8)), as: UTF8.self)
      let own = try communicator.agree("checkpoint") { try writeOwn(state, in: path) }
      let others = try writeRemote(state, in: path)
      let files = try communicator.allgather(bytes: Array(try JSONEncoder().encode(own)))
      try communicator.agree("checkpoint") {
        guard let directory else { return }
        let all = try files.flatMap { try JSONDecoder().decode([CheckpointManifest.File].self, from: Data($0)) } + others
        try AtomicFile.write(
          try manifest(all.sorted { $0.name < $1.name }).fileBytes, to: "\(path)/\(CheckpointManifest.fileName)", permissions: 0o600)
        try directory.publish(step: step)
      }
    } catch {
      try? directory?.clearAside()
      throw error
    }
  }

  private func writeOwn(_ state: CheckpointState, in path: String) throws -> [CheckpointManifest.File] {
    let slices = state.parts.flatMap { part in
      writers.ranges(of: part).map { (slice: CheckpointSlice(part: part.name, elements: $0), part: part) }
    }
    guard !slices.isEmpty else { return [] }
    let file = try SliceFile(rank: communicator.rank, of: communicator.size, in: path, slices: slices.map(\.slice))
    for (slice, part) in slices {
      guard let values = part.elements(slice.elements) else { preconditionFailure("\(slice.name) of a rank that doesn't hold it") }
      try file.append(values)
    }
    return [try file.close()]
  }

  /// Elements that are handed over at a time.
  private static let blockCount = 1 << 20

  /// Slices that no writer holds, one rank's after another's, through rank 0.
  private func writeRemote(_ state: CheckpointState, in path: String) throws -> [CheckpointManifest.File] {
    var files: [CheckpointManifest.File] = []
    let block = AlignedBuffer<Float>(count: writers.remote.isEmpty ? 0 : Self.blockCount)
    for owner in writers.remote {
      let parts = state.parts.filter { !$0.isReplicated }
      let bounds = try communicator.broadcast((parts.first?.held.first).map { [$0.lowerBound, $0.upperBound] }, from: owner)
      guard bounds[0] < bounds[1] else { continue }
      let file = try communicator.agree("checkpoint") {
        communicator.rank == 0
          ? try SliceFile(
            rank: owner, of: communicator.size, in: path, slices: parts.map { CheckpointSlice(part: $0.name, elements: bounds[0]..<bounds[1]) })
          : nil
      }
      for part in parts {
        for first in stride(from: bounds[0], to: bounds[1], by: Self.blockCount) {
          let range = first..<min(bounds[1], first + Self.blockCount)
          let values = UnsafeMutableBufferPointer(rebasing: block.elements[..<range.count])
          if communicator.rank == owner, let own = part.elements(range) { _ = values.update(fromContentsOf: own) }
          try communicator.broadcast(values, from: owner)
          try communicator.agree("checkpoint") { try file?.append(values) }
        }
      }
      let written = try communicator.agree("checkpoint") { try file?.close() }
      if let written { files.append(written) }
    }
    return files
  }
}

extension Communicator {
  /// Two numbers of one rank, on all of them.
  fileprivate func broadcast(_ bounds: [Int]?, from root: Int) throws -> [Int] {
    [try broadcast(bounds?[0] ?? 0, from: root), try broadcast(bounds?[1] ?? 0, from: root)]
  }
}
