#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Whole files in memory.
package enum FileBytes {
  /// - Throws: ``FileError`` where there is no such file, a directory, or no permission to read.
  package static func checkReadable(_ path: String) throws(FileError) {
    var status = stat()
    guard stat(path, &status) == 0, access(path, R_OK) == 0 else { throw FileError(path: path, action: "read") }
    guard status.st_mode & S_IFMT != S_IFDIR else { throw FileError(path: path, action: "read", code: EISDIR) }
  }

  /// All bytes of a file (a pipe is read to its end).
  ///
  /// - Throws: ``FileError``: no such file, a directory, no permission.
  package static func read(_ path: String) throws(FileError) -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw FileError(path: path, action: "read") }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0 else { throw FileError(path: path, action: "read") }
    guard status.st_mode & S_IFMT != S_IFDIR else { throw FileError(path: path, action: "read", code: EISDIR) }

    var bytes: [UInt8] = []
    bytes.reserveCapacity(Int(status.st_size))
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
    defer { piece.deallocate() }
    while true {
      let count = readSome(file, piece.baseAddress, piece.count)
      if count == 0 { return bytes }
      if count > 0 {
        bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: piece[..<count]))
      } else if errno != EINTR {
        throw FileError(path: path, action: "read")
      }
    }
  }
}

/// `read(2)`, out of the shadow of `FileBytes.read`.
private func readSome(_ file: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int { read(file, bytes, count) }
