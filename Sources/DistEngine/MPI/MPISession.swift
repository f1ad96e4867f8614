import CMPI
import Foundation

/// MPI between MPI_Init and MPI_Finalize (MPI 4.0, 11.2). Communicators hold it, so it outlives them all.
final class MPISession {
  let activity = CollectiveActivity()
  let watchdog: CollectiveWatchdog
  let host: String
  private let thread = pthread_self()
  private(set) var isFinalized = false
  /// Whether a thread of ours may call MPI while the one that started it does (MPI_THREAD_MULTIPLE, MPI 4.0, 11.6).
  let allowsThreads: Bool

  /// Whether a thread of ours is to call MPI: where sums may travel over hosts. A transport that can't be called so (UCX as it is built by default) stands
  /// aside when it is asked for, and a slower one takes its place: a launcher that says all ranks are on one host, or
  /// `DP_MPIRUN_MPI_THREADS=funneled`, spares that.
  /// - Throws: ``MPIUnusable`` for another value of that.
  private static func asksForThreads() throws -> Bool {
    let environment = ProcessInfo.processInfo.environment
    switch environment["DP_MPIRUN_MPI_THREADS"] {
    case "funneled": return false
    case "multiple": return true
    case nil:
      let (here, all) = (environment["OMPI_COMM_WORLD_LOCAL_SIZE"], environment["OMPI_COMM_WORLD_SIZE"])
      return here == nil || here != all
    case let other?: throw MPIUnusable(description: "DP_MPIRUN_MPI_THREADS \(other): must be funneled or multiple")
    }
  }

  /// Starts MPI with MPI_THREAD_MULTIPLE where that is of use, or what the library has of it: MPI_THREAD_FUNNELED at least.
  /// - Throws: ``MPIUnusable`` where MPI is or was in use in this process, or offers no threads; ``MPIError``; where the process'
  ///   limits are below what it needs.
  init(collectiveTimeout: Duration) throws {
    var flag: Int32 = 0
    guard CMPI_Initialized(&flag) == CMPI_success(), flag == 0 else {
      throw MPIUnusable(description: "MPI was started twice in one process")
    }
    try LauncherRank.prepareForInit()
    try OpenFiles.prepareForInit()
    // Its libraries, segments and threads take some 190 MB of addresses, and where one is refused it may crash.
    try AddressSpace.check(bytes: 192 << 20, threads: 1)
    watchdog = CollectiveWatchdog(
      activity: activity, rank: LauncherRank.beforeInit ?? 0, host: ProcessInfo.processInfo.hostName, timeout: collectiveTimeout)
    watchdog.start()

    // Open MPI spins while it waits unless it knows of more ranks than cores, and `slots=4` on 2 cores hides that from it: a
    // barrier then takes 33 ms in place of 0.006. The user's own setting wins.
    setenv("OMPI_MCA_mpi_yield_when_idle", "1", 0)
    // Over TCP Open MPI would write a long message as one (by its put), and the word that lets the partner begin with its own waits behind it on
    // the same connection: two ranks that exchange slices then take turns on a line that carries both ways at once. Sent in fragments they don't.
    setenv("OMPI_MCA_btl_tcp_flags", "send,inplace", 0)

    var (funneled, multiple): (Int32, Int32) = (0, 0)
    let asksForThreads: Int32 = try Self.asksForThreads() ? 1 : 0
    let code = activity.during("MPI_Init_thread") { CMPI_Init_threads(asksForThreads, &funneled, &multiple) }
    allowsThreads = multiple != 0
    guard code == CMPI_success() else { throw MPIError(call: "MPI_Init_thread", code: code, rank: LauncherRank.beforeInit) }

    let errors = CMPI_Comm_set_errors_return(CMPI_comm_world())
    guard errors == CMPI_success() else { throw MPIError(call: "MPI_Comm_set_errhandler", code: errors, rank: nil) }
    guard funneled != 0 else {
      throw MPIUnusable(description: "this MPI library was built without threads (MPI_THREAD_FUNNELED is needed)")
    }
    var name = [CChar](repeating: 0, count: CMPI_max_text())
    let named = CMPI_Get_processor_name(&name)
    guard named == CMPI_success() else { throw MPIError(call: "MPI_Get_processor_name", code: named, rank: nil) }
    host = name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
  }

  /// MPI_Finalize, once; nothing afterwards.
  func finalize() throws {
    guard !isFinalized else { return }
    expectOwnThread()
    isFinalized = true
    let code = activity.during("MPI_Finalize") { CMPI_Finalize() }
    watchdog.stop()
    guard code == CMPI_success() else { throw MPIError(call: "MPI_Finalize", code: code, rank: nil) }
  }

  deinit { try? finalize() }

  /// The thread that started MPI alone calls it, but for what travels meanwhile (`Communicator+Requests.swift`).
  func expectOwnThread() {
    precondition(pthread_equal(thread, pthread_self()) != 0, "collectives are called by the thread that started MPI, and by no other")
  }
}
