import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The ranks of a node as teams of threads of this one process: what they do at the same time contends for cores and memory as ranks do.
package final class RanksAtOnce: Sendable {
  /// One a rank.
  private let teams: [ThreadTeam]
  /// A thread for each rank.
  private let callers: ThreadTeam
  private let arrived = Atomic<Int>(0)
  /// Nanoseconds, of all calls: what they took, and for how much of it their threads had a processor.
  private let elapsed = Atomic<Int>(0)
  private let running = Atomic<Int>(0)

  /// Whether seconds are those of a processor. Of several threads, which wait for each other, time is what counts.
  private let countsProcessors: Bool

  package init(ranks: Int, threads: Int) {
    precondition(ranks >= 1, "\(ranks) ranks")
    countsProcessors = threads == 1
    teams = (0..<ranks).map { _ in ThreadTeam(count: threads) }
    callers = ThreadTeam(count: ranks)
  }

  package var count: Int { teams.count }

  /// How much of the time that calls took their threads had a processor, where seconds are of processors: less than 1 where other work takes the
  /// cores. 1 for ranks of several threads.
  package var processorPart: Double {
    let elapsed = elapsed.load(ordering: .relaxed)
    return countsProcessors && elapsed > 0 ? min(1, Double(running.load(ordering: .relaxed)) / Double(elapsed)) : 1
  }

  /// Runs `body` for some ranks, which begin together.
  ///
  /// - Parameter ranks: nil: all.
  /// - Returns: each one's seconds: of its processor where it has one thread, so that what other work takes meanwhile doesn't look like a difference
  ///   between what is timed now and a moment later.
  package func seconds(ranks: Int? = nil, _ body: (_ rank: Int) -> Void) -> [Double] {
    let ranks = ranks ?? count
    return [Double](unsafeUninitializedCapacity: ranks) { seconds, initialized in
      let seconds = seconds.baseAddress!
      arrived.store(0, ordering: .sequentiallyConsistent)
      callers.forEach(ranks) { rank, _ in
        arrived.add(1, ordering: .sequentiallyConsistent)
        // A thread that waits has its rank: every other rank gets a thread of its own.
        while arrived.load(ordering: .sequentiallyConsistent) < ranks { sched_yield() }
        let (start, processor) = (ContinuousClock.now, Self.processorNanoseconds)
        teams[rank].use { body(rank) }
        let (time, ran) = ((ContinuousClock.now - start).seconds, Self.processorNanoseconds - processor)
        elapsed.add(Int(time * 1e9), ordering: .relaxed)
        running.add(ran, ordering: .relaxed)
        (seconds + rank).initialize(to: countsProcessors ? Double(ran) * 1e-9 : time)
      }
      initialized = ranks
    }
  }

  /// Seconds of one call by the rank that takes longest, on average over some: a step is a sum of many, disturbances included. The first call, which
  /// touches memory and wakes threads, doesn't count.
  ///
  /// - Parameter limit: seconds in all, but for the last call.
  package func mean(ranks: Int? = nil, limit: Double, _ body: (_ rank: Int) -> Void) -> Double {
    let start = ContinuousClock.now
    _ = seconds(ranks: ranks, body)
    var calls: [[Double]] = []
    repeat { calls.append(seconds(ranks: ranks, body)) } while calls.count < Self.mostCalls && (ContinuousClock.now - start).seconds < limit
    return Self.slowest(calls)
  }

  private static let mostCalls = 100

  /// Of the calling thread.
  private static var processorNanoseconds: Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
  }

  /// The mean over calls of the rank that has the largest.
  ///
  /// - Parameter calls: each rank's seconds in each; one call at least.
  package static func slowest(_ calls: [[Double]]) -> Double {
    calls[0].indices.map { rank in calls.reduce(0) { $0 + $1[rank] } / Double(calls.count) }.max() ?? 0
  }
}
