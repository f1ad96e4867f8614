import CMPI
import Foundation

/// A group of ranks that work together (MPI 4.0, chapter 7). Owns its handle: freed with the last reference.
///
/// Used by the thread that started MPI alone, but for what `Communicator+Requests.swift` has. Every method that talks to other ranks is collective: all ranks of the communicator call it,
/// in the same order. An error of MPI is thrown as ``MPIError`` on the rank that has it.
public final class Communicator {
  /// This process's number in the communicator, from 0.
  public let rank: Int
  public let size: Int
  let session: MPISession
  private(set) var handle: CMPI_Comm
  private let isOwned: Bool

  /// Takes over a handle. Errors are returned from here on, and no longer end the job (MPI_ERRORS_RETURN).
  private init(handle: CMPI_Comm, isOwned: Bool, session: MPISession) throws {
    (self.handle, self.isOwned, self.session) = (handle, isOwned, session)
    var (rank, size): (Int32, Int32) = (0, 0)
    for (call, code): (StaticString, Int32) in [
      ("MPI_Comm_set_errhandler", CMPI_Comm_set_errors_return(handle)),
      ("MPI_Comm_rank", CMPI_Comm_rank(handle, &rank)), ("MPI_Comm_size", CMPI_Comm_size(handle, &size)),
    ] where code != CMPI_success() {
      throw MPIError(call: call, code: code, rank: nil)
    }
    (self.rank, self.size) = (Int(rank), Int(size))
  }

  static func world(of session: MPISession) throws -> Communicator {
    try Communicator(handle: CMPI_comm_world(), isOwned: false, session: session)
  }

  deinit {
    // MPI_Comm_free (7.4.3). After MPI_Finalize there is nothing left to free.
    guard isOwned, !session.isFinalized else { return }
    _ = CMPI_Comm_free(&handle)
  }

  /// The ranks of equal `color`, numbered by `key`, then by rank (MPI_Comm_split, 7.4.2). nil for a rank without a color.
  package func split(color: Int?, key: Int) throws -> Communicator? {
    precondition((color ?? 0) >= 0, "color \(color ?? 0)")
    var part = handle
    var isNull: Int32 = 0
    try collective("MPI_Comm_split") { CMPI_Comm_split(handle, Int32(color ?? -1), Int32(key), &part, &isNull) }
    return isNull != 0 ? nil : try Communicator(handle: part, isOwned: true, session: session)
  }

  /// The ranks that can share memory with this one, in the order of ranks (MPI_Comm_split_type, 7.4.2).
  package func splitByNode() throws -> Communicator {
    var part = handle
    try collective("MPI_Comm_split_type") { CMPI_Comm_split_shared(handle, Int32(rank), &part) }
    return try Communicator(handle: part, isOwned: true, session: session)
  }

  /// The name of this rank's host.
  package var host: String { session.host }

  /// What the watchdog and the timings read: step, seconds in collectives, purpose.
  package var activity: CollectiveActivity { session.activity }

  /// Runs one collective call: known to the watchdog, timed, its code checked.
  func collective(_ call: StaticString, _ body: () -> Int32) throws {
    session.expectOwnThread()
    precondition(!session.isFinalized, "\(call) after MPI_Finalize")
    let code = session.activity.during(call, body)
    guard code == CMPI_success() else { throw MPIError(call: call, code: code, rank: rank) }
  }

  /// Ends the job at once for an error that this rank has by itself: see ``MPIEnvironment/abort(_:)``.
  ///
  /// Where every rank has the same error at the same moment (a call that MPI refuses), rank 0 speaks for all: the others wait
  /// for its MPI_Abort to reach them. On several hosts that can take longer, and the line is then printed more than once.
  package func abort(_ error: any Error) -> Never {
    if rank > 0 { usleep(1_500_000) }
    let step = activity.step.map { ", step \($0)" } ?? ""
    StandardError.write(line: "Error: rank \(rank) on \(host)\(step): \(error.oneLine)")
    let status = error.processExitStatus
    if !session.isFinalized { _ = CMPI_Abort(CMPI_comm_world(), status) }
    _exit(status)
  }
}
