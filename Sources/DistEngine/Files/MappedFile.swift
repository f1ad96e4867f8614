import CKernels
import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A file mapped for reading: its pages are those of the system's cache, once for all processes of a node.
///
/// Whoever reads it must find what was there when it was opened. Whether it is still the same file is asked by ``checkUnchanged()``; a read of what was
/// cut off in between ends the process with a line that names the file.
package final class MappedFile {
  package let path: String
  package let bytes: UnsafeRawBufferPointer
  private let identity: FileIdentity
  private let guarded: Int32
  private let line: UnsafeMutablePointer<CChar>

  /// - Parameters:
  ///   - file: open for reading; it may be closed afterwards.
  ///   - identity: of the file as it was when its header was read.
  init(_ file: Int32, path: String, identity: FileIdentity) throws(FileError) {
    guard identity.size > 0, let address = mmap(nil, identity.size, PROT_READ, MAP_SHARED, file, 0), address != MAP_FAILED else {
      throw FileError(path: path, action: "mapped into memory")
    }
    self.path = path
    self.identity = identity
    bytes = UnsafeRawBufferPointer(start: address, count: identity.size)
    let rank = LauncherRank.beforeInit ?? 0
    line = strdup(
      "Error: rank \(rank) on \(ProcessInfo.processInfo.hostName): \(path): can't be relied on: it was cut while the run was using it, or its disk failed: "
        + "a model's files must stay as they are\n")
    // As where a rank ends the job for an error of its own: the first rank speaks, if it can.
    guarded = ck_guard_mapping(address, identity.size, line, ExitStatus.refused, rank > 0 ? 1500 : 0)
    // What is set by now is given back by `deinit`.
    guard guarded >= 0 else {
      throw FileError(path: path, action: "mapped into memory", reason: "too many files are")
    }
  }

  deinit {
    if guarded >= 0 { ck_forget_mapping(guarded) }
    munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
    free(line)
  }

  /// - Throws: ``FileError`` where another file has its name, or its size or time of change is another.
  package func checkUnchanged() throws(FileError) {
    guard let now = try? FileIdentity(path: path), now == identity else {
      throw Self.changed(path)
    }
  }

  static func changed(_ path: String) -> FileError {
    FileError(path: path, action: "relied on", reason: "it changed while the run was using it: a model's files must stay as they are")
  }
}
