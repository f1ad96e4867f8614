import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The addresses that a process may use (`ulimit -v`, RLIMIT_AS): a batch system's memory limit is often one.
///
/// OpenBLAS takes no refusal: where there is no room for a thread's buffer it asks for it again, for ever. So what it will ask for is
/// looked for beforehand.
package enum AddressSpace {
  /// What OpenBLAS maps for each thread that computes, at most (`BUFFER_SIZE`; common.h).
  private static let bytesPerThread = 128 << 20
  /// What is mapped besides: stacks, the C library's arenas, messages under way. Of two threads 70 to 76 MB were seen to be needed.
  private static let reserve = 96 << 20

  /// Less room than a run needs.
  package struct TooSmall: UserError {
    let limit: Int
    let needed: Int

    package var description: String {
      "the address space is limited to \(limit >> 20) MB (ulimit -v) and \((needed + (1 << 20) - 1) >> 20) MB are needed: raise the limit, or use fewer --threads"
    }
  }

  /// Bytes that the limit leaves; nil without a limit.
  package static var room: Int? { limit.map { max(0, $0 - used) } }

  /// - Parameters:
  ///   - bytes: to be allocated.
  ///   - threads: that will compute.
  package static func check(bytes: Int, threads: Int) throws(TooSmall) {
    guard let limit else { return }
    let needed = used + bytes + threads * bytesPerThread + reserve
    guard needed <= limit else { throw TooSmall(limit: limit, needed: needed) }
  }

  private static var limit: Int? {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur < rlim_t(Int.max) else { return nil }
    return Int(limit.rlim_cur)
  }

  private static var used: Int {
    let pages = SystemFile.text("/proc/self/statm")?.split(separator: " ").first.flatMap { Int($0) }
    return (pages ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
  }
}
