import Foundation
import Synchronization

/// A thread that ends the process when the main thread waits too long in one collective.
///
/// A rank that is stopped or stuck never returns from its work, and MPI would wait for it for ever: no launcher sees that
/// anything is wrong. The ranks that do wait say so after `warnAfter`, and end with ``ExitStatus/peerLost`` after `timeout`,
/// which makes the launcher end the rest. The rank that is missing among the warnings is the one to look at.
package final class CollectiveWatchdog: Sendable {
  package static let defaultTimeout = Duration.seconds(600)
  /// Every waiting rank runs out of patience at the same moment: they speak in the order of ranks, one by one, and the
  /// launcher's TERM and KILL reach the others in between. Ranks above `lastPlace` share a place.
  static let secondsBetweenRanks = 3.0
  static let lastPlace = 10

  private let activity: CollectiveActivity
  private let warnAfter: Duration
  private let timeout: Duration
  private let identity: Mutex<(rank: Int, host: String)>
  private let stopped = Atomic(false)

  /// - Parameter warnAfter: 60 s, or half of the timeout where that is less.
  package init(activity: CollectiveActivity, rank: Int, host: String, timeout: Duration, warnAfter: Duration = .seconds(60)) {
    self.activity = activity
    self.timeout = timeout
    self.warnAfter = min(warnAfter, timeout / 2)
    identity = Mutex((rank, host))
  }

  /// MPI's own rank and host name, once they are known.
  package func identify(rank: Int, host: String) {
    identity.withLock { $0 = (rank, host) }
  }

  /// Starts the thread. It is idle but for one look at the activity every 250 ms (or a tenth of the timeout).
  package func start() {
    let interval = min(.milliseconds(250), timeout / 10)
    let thread = Thread { [self] in
      // Signals are for the main thread: it alone asks for their flags.
      var all = sigset_t()
      sigfillset(&all)
      pthread_sigmask(SIG_BLOCK, &all, nil)
      var warned = -1
      while !stopped.load(ordering: .relaxed) {
        usleep(UInt32(interval.wholeMicroseconds))
        look(&warned)
      }
    }
    thread.stackSize = 256 << 10
    thread.start()
  }

  package func stop() {
    stopped.store(true, ordering: .relaxed)
  }

  private func look(_ warned: inout Int) {
    guard let position = activity.current else { return }
    let waited = ContinuousClock.now - position.since
    let (rank, host) = identity.withLock { $0 }
    let place = Double(min(rank, Self.lastPlace)) * Self.secondsBetweenRanks
    if waited >= timeout + .seconds(place) {
      StandardError.write(
        line: "Error: \(Self.place(rank, host, position)): no progress for \(waited.components.seconds) s: "
          + "another rank is stuck, stopped or too slow (--collective-timeout \(timeout.components.seconds)); what a job that was killed may "
          + "leave in /dev/shm: docs/clusters.md")
      _exit(ExitStatus.peerLost)
    }
    if waited >= warnAfter && warned != position.number {
      warned = position.number
      StandardError.write(
        line: "Warning: \(Self.place(rank, host, position)): waiting for \(waited.components.seconds) s; "
          + "the run ends at \(timeout.components.seconds) s")
    }
  }

  private static func place(_ rank: Int, _ host: String, _ position: CollectiveActivity.Position) -> String {
    let step = position.step.map { ", step \($0)" } ?? ""
    let stage = position.stage.map { " (\($0))" } ?? ""
    return "rank \(rank) on \(host)\(step), \(position.call)\(stage)"
  }
}

extension Duration {
  var wholeMicroseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
