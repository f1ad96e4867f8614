import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Whether this process may take so many bytes more, asked before it does: an allocation that fails ends the program.
enum MemoryRoom {
  /// Less is not worth asking the system for.
  private static let smallest = 64 << 20

  /// - Throws: ``FileError`` that names the file whose content needs `bytes`, and what there is.
  static func check(_ bytes: Int, for path: String) throws(FileError) {
    guard bytes > smallest else { return }
    let room = min(AvailableMemory.current.byteCount ?? .max, addressSpace ?? .max)
    guard bytes > room else { return }
    let megabytes = { (count: Int) in count >> 20 }
    throw FileError(
      path: path, action: "read",
      reason:
        "its records need \(megabytes(bytes)) MB of memory, and this process can take \(megabytes(room)): split the file or use a larger machine"
    )
  }

  /// Addresses that the process' limit (ulimit -v) leaves; nil without one.
  private static var addressSpace: Int? {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur < rlim_t(Int.max) else { return nil }
    guard let statm = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8),
      let pages = statm.split(separator: " ").first.flatMap({ Int($0) })
    else { return Int(limit.rlim_cur) }
    return max(0, Int(limit.rlim_cur) - pages * Int(sysconf(Int32(_SC_PAGESIZE))))
  }
}
