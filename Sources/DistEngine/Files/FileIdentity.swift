#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What tells a file of this machine from every other, and from what it was before a change.
struct FileIdentity: Hashable, BitwiseCopyable {
  let device, inode, size, seconds, nanoseconds: Int

  /// - Parameter file: an open descriptor.
  init(_ file: Int32, path: String) throws(FileError) {
    var status = stat()
    guard fstat(file, &status) == 0 else { throw FileError(path: path, action: "read") }
    self.init(status)
  }

  /// Of what has the name now.
  init(path: String) throws(FileError) {
    var status = stat()
    guard stat(path, &status) == 0 else { throw FileError(path: path, action: "read") }
    self.init(status)
  }

  private init(_ status: stat) {
    (device, inode, size) = (Int(bitPattern: UInt(status.st_dev)), Int(bitPattern: UInt(status.st_ino)), Int(status.st_size))
    (seconds, nanoseconds) = (Int(status.st_mtim.tv_sec), Int(status.st_mtim.tv_nsec))
  }
}
