#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Keeps private data out of what a crash leaves behind: records, sums without noise, the key that the noise is made with.
///
/// The process stays traceable (no PR_SET_DUMPABLE): MPI's ranks of a node copy from each other's memory.
package enum CoreDumps {
  /// No dump of this process, nor of those that it starts, has any memory in it.
  package static func forbid() {
    var limit = rlimit()
    if getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit) == 0 {
      limit.rlim_cur = 0
      setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit)
    }
    // Where a program collects dumps through a pipe (core(5)), the limit doesn't hold: there each kind of mapping is left out.
    let file = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return }
    _ = write(file, "0", 1)
    close(file)
  }

  /// Leaves these pages out of any dump, also where dumps are allowed. Whole pages: what shares the first and the last goes with them.
  package static func leaveOut(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress, bytes.count > 0 else { return }
    let page = UInt(sysconf(Int32(_SC_PAGESIZE)))
    let first = UInt(bitPattern: start) / page * page
    let end = (UInt(bitPattern: start) + UInt(bytes.count) + page - 1) / page * page
    madvise(UnsafeMutableRawPointer(bitPattern: first), Int(end - first), 16 /* MADV_DONTDUMP */)
  }
}
