import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Signals by which a scheduler or a person asks a run to stop with a checkpoint, or to write one and go on.
///
/// TERM, USR1 and the first INT ask to stop; a second INT ends the process at once; USR2 asks for a checkpoint. A handler only sets a flag: the run
/// looks at it behind each step, and all ranks agree there.
public final class RunSignals: Sendable {
  /// The process' own: handlers are the process', too.
  public static let shared = RunSignals()

  private let stop = Atomic(false)
  private let checkpoint = Atomic(false)
  private let wasInterrupted = Atomic(false)

  private init() {}

  /// Takes the signals from now on. A call that one interrupts goes on.
  public func install() {
    for number in [SIGTERM, SIGUSR1, SIGUSR2, SIGINT] {
      var action = sigaction()
      action.__sigaction_handler.sa_handler = { RunSignals.shared.receive($0) }
      action.sa_flags = SA_RESTART
      sigaction(number, &action, nil)
    }
  }

  /// Runs in a signal's handler: atomics and calls that are safe there alone.
  private func receive(_ number: Int32) {
    if number == SIGUSR2 { return checkpoint.store(true, ordering: .relaxed) }
    if number == SIGINT, wasInterrupted.exchange(true, ordering: .relaxed) {
      signal(SIGINT, SIG_DFL)
      raise(SIGINT)
    }
    stop.store(true, ordering: .relaxed)
  }

  var asksToStop: Bool { stop.load(ordering: .relaxed) }

  /// Whether a checkpoint was asked for since the last call.
  func takeCheckpoint() -> Bool { checkpoint.exchange(false, ordering: .relaxed) }
}

/// A run that was asked to stop, and did, with a checkpoint: all ranks throw it together.
public struct StoppedOnRequest: UserError, Equatable {
  public let stepsDone, steps: Int
  public let output: String

  public var exitStatus: Int32 { ExitStatus.checkpointed }
  public var description: String { "stopped on request after step \(stepsDone) of \(steps), with a checkpoint in \(output): the same command with --resume goes on" }
}

/// What a step is followed by, agreed over ranks.
struct StepRequests {
  /// What this rank is asked for. It is looked at when all else of the step is done: a signal that comes during a step waits for no other.
  var own: () -> (stops: Bool, checkpoints: Bool)
  /// What any rank is asked for: known behind the step.
  var stops = false
  var checkpoints = false
}
