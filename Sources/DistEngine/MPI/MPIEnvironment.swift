import CMPI
import Foundation

/// MPI, started: the ranks of the job, who shares a node with whom, and the job's orderly end (MPI 4.0, chapter 11).
///
/// MPI is started once in a process, and used by one thread. MPI_Finalize is called exactly once: by ``finalize()``, or when the environment
/// and the communicators made from it are gone. Started without a launcher the process is a job of one rank.
public final class MPIEnvironment {
  /// All ranks of the job.
  public let world: Communicator
  /// The ranks that share this rank's node, and its memory.
  public let node: Communicator
  public let topology: NodeTopology
  private let session: MPISession

  /// Starts MPI and finds out who is where: collective over the job.
  ///
  /// - Parameter collectiveTimeout: the longest wait in one collective before the process ends with ``ExitStatus/peerLost``.
  /// - Throws: ``LauncherMismatch``, ``MPIUnusable``, ``MPIError`` where MPI doesn't start.
  public init(collectiveTimeout: Duration = .seconds(600)) throws {
    session = try MPISession(collectiveTimeout: collectiveTimeout)
    world = try Communicator.world(of: session)
    session.watchdog.identify(rank: world.rank, host: session.host)
    if let (variable, launched) = LauncherRank.size(in: ProcessInfo.processInfo.environment), launched != world.size {
      throw LauncherMismatch(variable: variable, launched: launched, found: world.size)
    }
    do {
      node = try world.splitByNode()
      topology = try NodeTopology(world: world, node: node)
    } catch {
      world.abort(error)  // The other ranks may be waiting in the same call.
    }
  }

  /// Ranks of a running job as a job by itself, on nodes that the caller names: what a run does over nodes can be seen on one machine.
  package init(world: Communicator, node: Communicator, topology: NodeTopology) {
    (self.world, self.node, self.topology, session) = (world, node, topology, world.session)
  }

  /// The name of this rank's host.
  public var host: String { session.host }

  /// The cores that are this rank's to compute on, at least 1: those of its affinity mask, shared with the ranks of the node that may
  /// use them too. Collective over the node.
  package func fairCoreCount() throws -> Int {
    let lists = try node.allgather(ProcessorAffinity.affordableCores.map(String.init).joined(separator: ","))
    return ProcessorAffinity.fairShare(of: node.rank, among: lists.map { ProcessorAffinity.cores(ofList: $0)! })
  }

  /// The step that messages name; nil outside the steps.
  public var step: Int? {
    get { session.activity.step }
    set { session.activity.step = newValue }
  }

  /// Total seconds that this rank has spent in collectives, waiting for slower ranks included. The difference of two readings
  /// is a step's.
  public var collectiveSeconds: Double { session.activity.seconds }

  /// MPI_Finalize (MPI 4.0, 11.2.2): collective over the job, since no rank may leave while another still needs it. A second call does
  /// nothing. After it no communicator may be used.
  public func finalize() throws {
    try session.finalize()
  }

  /// Ends the job at once for an error that this rank has by itself, where it can't be agreed upon: one line with rank, host and step, then
  /// MPI_Abort (MPI 4.0, 9.3) with the error's exit status.
  public func abort(_ error: any Error) -> Never {
    world.abort(error)
  }

  /// Runs a program under MPI from start to end and returns its exit status, the same on every rank.
  ///
  /// - An ``AgreedFailure``, which all ranks throw together: rank 0 prints `Error: …`, MPI is finalised, and every rank gets the
  ///   failure's exit status.
  /// - Any other error is this rank's own, and the others may wait for it: ``abort(_:)``.
  ///
  /// - Parameter allowsCoreDumps: lets a rank that crashes leave what it had in memory: records, sums without noise, the key.
  ///
  /// The status must be handed to `exit` soon: a launcher ends the job when a rank ends otherwise.
  public static func run(
    collectiveTimeout: Duration = .seconds(600), allowsCoreDumps: Bool = false, _ body: (MPIEnvironment) throws -> Int32
  ) -> Int32 {
    if !allowsCoreDumps { CoreDumps.forbid() }
    let environment: MPIEnvironment
    do {
      environment = try MPIEnvironment(collectiveTimeout: collectiveTimeout)
    } catch {
      // No rank can be asked: the launcher's environment tells who speaks. `refuse` ends the process without MPI_Finalize, which a
      // mismatched library could not do anyway.
      LauncherRank.refuse(error)
    }
    var status: Int32
    do {
      status = try body(environment)
    } catch let failure as AgreedFailure {
      if environment.world.rank == 0 { StandardError.write(line: "Error: \(failure.message)") }
      status = failure.exitStatus
    } catch {
      environment.abort(error)
    }
    do {
      try environment.finalize()
    } catch {
      if environment.world.rank == 0 { StandardError.write(line: "Error: \(error.oneLine)") }
      status = error.processExitStatus
    }
    return status
  }
}
