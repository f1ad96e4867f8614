#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A text file of lines that only grows. When `append` returns, the line is on the disk; a crash in the middle of it leaves
/// at most a torn last line without its line end, which `lines(at:)` leaves out and the next opening cuts off.
///
/// One process at a time: opening a log that another process has open is refused.
package struct DurableLog: ~Copyable {
  package let path: String
  private let file: Int32
  /// Bytes of whole lines.
  private var length: Int

  /// Opens a log at its end, or makes an empty one that its user alone may read.
  package init(path: String) throws(FileError) {
    self.path = path
    let isNew = access(path, F_OK) != 0
    file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    guard file >= 0 else {
      length = 0
      throw FileError(path: path, action: "written")
    }
    length = 0
    if flock(file, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
      throw FileError(path: path, action: "written", reason: "another process has it open")
    }
    length = try Self.lengthOfWholeLines(of: file, path: path)
    guard ftruncate(file, length) == 0, fsync(file) == 0 else { throw FileError(path: path, action: "written") }
    if isNew { try AtomicFile.flushDirectory(containing: path) }
  }

  deinit { if file >= 0 { close(file) } }

  /// Adds a line and waits until it is on the disk. When it fails the log is as it was.
  ///
  /// - Parameter line: without line ends.
  package mutating func append(_ line: String) throws(FileError) {
    precondition(!line.utf8.contains(UInt8(ascii: "\n")), "a line of a log holds a line end")
    let bytes = Array((line + "\n").utf8)
    do throws(FileError) {
      try writeFully(bytes, to: file, path: path)
      guard fsync(file) == 0 else { throw FileError(path: path, action: "flushed to the disk") }
    } catch {
      _ = ftruncate(file, length)
      throw error
    }
    length += bytes.count
  }

  /// The whole lines of a log, without their ends; a torn last line is left out.
  package static func lines(at path: String) throws -> [String] {
    let bytes = try FileBytes.read(path)
    guard let end = bytes.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
    return bytes[..<end].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
  }

  private static func lengthOfWholeLines(of file: Int32, path: String) throws(FileError) -> Int {
    var end = Int(lseek(file, 0, SEEK_END))
    guard end >= 0 else { throw FileError(path: path, action: "read") }
    var byte: UInt8 = 0
    while end > 0 {
      guard pread(file, &byte, 1, end - 1) == 1 else { throw FileError(path: path, action: "read") }
      if byte == UInt8(ascii: "\n") { break }
      end -= 1
    }
    return end
  }
}
