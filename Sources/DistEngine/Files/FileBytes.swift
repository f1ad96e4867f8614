#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Whole files in memory.
package enum FileBytes {
  /// - Throws: ``FileError`` where there is no such file, no permission to read, or it isn't a regular file. Of a pipe each rank would get
  ///   another part, and of a device maybe no end.
  package static func checkReadable(_ path: String) throws(FileError) {
    var status = stat()
    guard stat(path, &status) == 0, access(path, R_OK) == 0 else { throw FileError(path: path, action: "read") }
    try checkRegular(status, path: path)
  }

  private static func checkRegular(_ status: stat, path: String) throws(FileError) {
    let kind: String
    switch status.st_mode & S_IFMT {
    case S_IFREG: return
    case S_IFDIR: throw FileError(path: path, action: "read", code: EISDIR)
    case S_IFIFO: kind = "a pipe"
    case S_IFSOCK: kind = "a socket"
    default: kind = "a device"
    }
    throw FileError(path: path, action: "read", reason: "\(kind), not a regular file: write its content to a file first")
  }

  /// All bytes of a regular file.
  ///
  /// - Throws: ``FileError``: what ``checkReadable(_:)`` refuses, or more bytes than there is memory for.
  package static func read(_ path: String) throws(FileError) -> [UInt8] {
    var bytes: [UInt8] = []
    try forEachPiece(of: path) { (size) throws(FileError) in
      try MemoryRoom.check(size, for: path)
      bytes.reserveCapacity(size)
    } _: { piece in
      bytes.append(contentsOf: piece)
    }
    return bytes
  }

  /// Calls `body` with the bytes of a regular file from first to last, a MB at most at a time.
  ///
  /// - Parameter start: is told the file's size before it is read.
  /// - Throws: ``FileError``: what ``checkReadable(_:)`` refuses.
  package static func forEachPiece(
    of path: String, start: (_ size: Int) throws(FileError) -> Void = { _ in }, _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(FileError) {
    // Opening a pipe waits for its writer.
    try checkReadable(path)
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw FileError(path: path, action: "read") }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0 else { throw FileError(path: path, action: "read") }
    try checkRegular(status, path: path)
    try start(Int(status.st_size))
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { piece.deallocate() }
    while true {
      let count = readSome(file, piece.baseAddress, piece.count)
      if count == 0 { return }
      if count > 0 {
        body(UnsafeRawBufferPointer(rebasing: piece[..<count]))
      } else if errno != EINTR {
        throw FileError(path: path, action: "read")
      }
    }
  }

  /// Whether a file holds the place of one that Git LFS has not fetched.
  static func isLargeFilePointer(_ bytes: some Collection<UInt8>) -> Bool {
    bytes.starts(with: Array("version https://git-lfs.github.com/spec/".utf8))
  }

  static let largeFilePointerReason = "a Git LFS pointer, not the file itself: git lfs pull fetches it"
}

/// `read(2)`, out of the shadow of `FileBytes.read`.
private func readSome(_ file: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int { read(file, bytes, count) }
