import Foundation

/// How many files the process may have open (`ulimit -n`, RLIMIT_NOFILE). MPI libraries don't survive it when they can't open one.
enum OpenFiles {
  /// Open MPI has 20 open on one node; connections to other nodes come on top, and there MPI's own message is one to act on.
  static let needed: rlim_t = 64

  struct TooFew: UserError {
    let limit: rlim_t
    var description: String { "no more than \(limit) files may be open (ulimit -n), and MPI needs \(OpenFiles.needed): raise the limit" }
  }

  /// Raises the limit where it is lower and may be raised.
  static func prepareForInit() throws(TooFew) {
    var limit = rlimit()
    let kind = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    guard getrlimit(kind, &limit) == 0, limit.rlim_cur < needed else { return }
    let before = limit.rlim_cur
    limit.rlim_cur = min(needed, limit.rlim_max)
    guard limit.rlim_cur == needed, setrlimit(kind, &limit) == 0 else { throw TooFew(limit: before) }
  }
}
