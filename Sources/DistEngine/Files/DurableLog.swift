#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A text file of lines that only grows. When `append` returns, the line is on the disk; a crash in the middle of it leaves
/// at most a torn last line without its line end, which `lines(at:)` leaves out and the next opening cuts off or completes.
///
/// One process at a time: opening a log that another process has open is refused.
package struct DurableLog: ~Copyable {
  package let path: String
  private let file: Int32
  /// Bytes of whole lines.
  private var length: Int
  /// Whether the file system tells when a file loses its name.
  private let countsNames: Bool

  /// Opens a log at its end, or makes an empty one that its user alone may read.
  ///
  /// - Parameter completion: what a torn last line becomes, for a log in which one counts; nil cuts it off.
  package init(path: String, completingTornLineAs completion: String? = nil) throws(FileError) {
    self.path = path
    let isNew = access(path, F_OK) != 0
    file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    let code = errno
    length = 0
    countsNames = Self.hasName(file)
    guard file >= 0 else { throw FileError(path: path, action: "written", code: code) }
    if flock(file, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
      throw FileError(path: path, action: "written", reason: "another process has it open")
    }
    length = try Self.lengthOfWholeLines(of: file, path: path)
    if let completion { try completeTornLine(as: completion) }
    guard ftruncate(file, length) == 0, fsync(file) == 0 else { throw FileError(path: path, action: "written") }
    if isNew { try AtomicFile.flushDirectory(containing: path) }
  }

  deinit { if file >= 0 { close(file) } }

  /// Writes over a torn last line, its end last: at every moment there is a torn line or a whole one.
  private mutating func completeTornLine(as text: String) throws(FileError) {
    let torn = Int(lseek(file, 0, SEEK_END)) - length
    guard torn > 0 else { return }
    let line = Array(text.utf8) + [UInt8](repeating: UInt8(ascii: " "), count: max(0, torn - text.utf8.count)) + [UInt8(ascii: "\n")]
    // A descriptor that appends writes at the end wherever it is told to.
    let other = open(path, O_WRONLY | O_CLOEXEC)
    guard other >= 0 else { throw FileError(path: path, action: "written") }
    defer { close(other) }
    guard lseek(other, off_t(length), SEEK_SET) >= 0 else { throw FileError(path: path, action: "written") }
    try writeFully(line, to: other, path: path)
    length += line.count
  }

  /// Lines of a log, a torn last one among them; 0 where there is no log.
  package static func lineCountWithTorn(at path: String) throws(FileError) -> Int {
    guard access(path, F_OK) == 0 else { return 0 }
    var (count, last) = (0, UInt8(ascii: "\n"))
    try FileBytes.forEachPiece(of: path) { piece in
      count += piece.count { $0 == UInt8(ascii: "\n") }
      last = piece.last ?? last
    }
    return count + (last == UInt8(ascii: "\n") ? 0 : 1)
  }

  /// Adds a line and waits until it is on the disk. When it fails the log is as it was.
  ///
  /// - Parameter line: without line ends.
  package mutating func append(_ line: String) throws(FileError) {
    precondition(!line.utf8.contains(UInt8(ascii: "\n")), "a line of a log holds a line end")
    let bytes = Array((line + "\n").utf8)
    // What is written to a file that was removed is on the disk, and nobody will ever read it.
    if countsNames, !Self.hasName(file) { throw FileError(path: path, action: "written", reason: "it was removed during the run") }
    do throws(FileError) {
      try writeFully(bytes, to: file, path: path)
      guard fsync(file) == 0 else { throw FileError(path: path, action: "flushed to the disk") }
    } catch {
      _ = ftruncate(file, length)
      throw error
    }
    length += bytes.count
  }

  private static func hasName(_ file: Int32) -> Bool {
    var status = stat()
    return fstat(file, &status) == 0 && status.st_nlink > 0
  }

  /// The whole lines of a log, without their ends; a torn last line is left out.
  package static func lines(at path: String) throws -> [String] {
    let bytes = try FileBytes.read(path)
    guard let end = bytes.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
    return bytes[..<end].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      .map { String(decoding: $0, as: UTF8.self) }
  }

  /// Cuts a torn last line off an open file of lines that nobody waits for.
  package static func cutTornLine(of file: Int32, path: String) throws(FileError) {
    guard ftruncate(file, try lengthOfWholeLines(of: file, path: path)) == 0 else { throw FileError(path: path, action: "written") }
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
