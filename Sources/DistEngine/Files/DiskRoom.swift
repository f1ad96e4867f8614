#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Whether a file system has room for what is going to be written, asked before hours are spent on it.
package enum DiskRoom {
  /// - Parameter path: of a directory on it, which may not be there yet: then what counts is the first above it that is.
  /// - Throws: ``FileError`` that names the directory, what it needs and what there is.
  package static func check(_ bytes: Int, in path: String) throws(FileError) {
    var status = statvfs()
    // Some network file systems don't tell: they say that they have no blocks at all.
    var there = path
    while access(there, F_OK) != 0, there != ".", there != "/" { there = AtomicFile.directory(of: there) }
    guard statvfs(there, &status) == 0, status.f_blocks > 0 else { return }
    let free = Int(clamping: status.f_bavail).multipliedReportingOverflow(by: Int(clamping: status.f_frsize))
    guard !free.overflow, free.partialValue < bytes else { return }
    throw FileError(
      path: path, action: "written to",
      reason: "what the run writes needs \(megabytes(bytes)) and there are \(megabytes(free.partialValue)) free: make room, or name another --output")
  }

  private static func megabytes(_ bytes: Int) -> String {
    bytes < 10 << 20 ? "\(bytes >> 10) kB" : "\(bytes >> 20) MB"
  }
}
