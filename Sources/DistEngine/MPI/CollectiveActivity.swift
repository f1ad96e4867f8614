import Foundation
import Synchronization

/// What the main thread is doing with MPI: which collective, since when, in which step. Read by the watchdog's thread.
///
/// Also the clock of communication: seconds inside collectives, waiting for slower ranks included.
package final class CollectiveActivity: Sendable {
  /// A call of MPI that has not returned.
  package struct Position: Sendable, Equatable {
    /// MPI's name of the call.
    package var call: String
    /// What it is for, where the caller said so.
    package var stage: String?
    package var step: Int?
    package var since: ContinuousClock.Instant
    /// Tells one call from the next.
    package var number: Int
  }

  private struct State {
    var call: StaticString?
    var stage: String?
    var step: Int?
    var since = ContinuousClock.now
    var calls = 0
    var seconds = 0.0
  }

  private let state = Mutex(State())

  package init() {}

  /// The step that messages name; nil outside the steps.
  package var step: Int? {
    get { state.withLock { $0.step } }
    set { state.withLock { $0.step = newValue } }
  }

  /// Total seconds in collectives since the start: the difference of two readings is a step's.
  package var seconds: Double { state.withLock { $0.seconds } }

  /// The number of MPI calls so far: the program's own measure of a collective split into pieces.
  package var calls: Int { state.withLock { $0.calls } }

  /// The collective that the main thread is in, or nil.
  package var current: Position? {
    state.withLock { state in
      state.call.map {
        Position(call: "\($0)", stage: state.stage, step: state.step, since: state.since, number: state.calls)
      }
    }
  }

  /// Runs one call of MPI as a collective: a lock taken twice, some 50 ns, and two readings of the clock.
  package func during<Result>(_ call: StaticString, _ body: () throws -> Result) rethrows -> Result {
    state.withLock {
      $0.call = call
      $0.since = .now
      $0.calls += 1
    }
    defer {
      state.withLock {
        $0.call = nil
        let spent = ContinuousClock.now - $0.since
        $0.seconds += Double(spent.components.seconds) + Double(spent.components.attoseconds) * 1e-18
      }
    }
    return try body()
  }

  /// Names the purpose of the collectives within `body`, for the watchdog's message.
  package func during<Result>(stage: String, _ body: () throws -> Result) rethrows -> Result {
    let outer = state.withLock {
      let outer = $0.stage
      $0.stage = stage
      return outer
    }
    defer { state.withLock { $0.stage = outer } }
    return try body()
  }
}
