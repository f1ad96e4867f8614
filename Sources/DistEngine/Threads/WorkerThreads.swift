import Dispatch
import Foundation
import Synchronization

/// Threads that wait for a caller's jobs: a job is a number of items, which the caller and the workers take one by one.
///
/// Kernels follow each other within microseconds, so a worker looks for the next job for a moment before it sleeps: waking a thread
/// takes longer than many a kernel. Nobody waits for a worker that hasn't taken an item: where other processes hold its core, the caller
/// does all of the work.
final class WorkerThreads: @unchecked Sendable {
  typealias Body = (_ item: Int, _ thread: Int) -> Void

  /// How long a thread looks for work, or for the end of the others' work, before it sleeps.
  private static let patience = Duration.microseconds(50)

  /// The number of the job in the upper half, its items that nobody has taken in the lower one.
  private let state = Atomic<UInt64>(0)
  /// Items of the job that aren't done.
  private let unfinished = Atomic<Int>(0)
  /// One caller at a time.
  private let turn = Mutex(())
  /// Written before a job's number is, read by whoever has taken an item: until that item is done the job isn't over.
  nonisolated(unsafe) private var body: UnsafePointer<Body>?

  /// Workers that sleep, or are about to, and have not been woken.
  private let sleepers = Atomic<Int>(0)
  private let work = DispatchSemaphore(value: 0)
  private let callerSleeps = Atomic<Bool>(false)
  private let done = DispatchSemaphore(value: 0)
  private let isStopping = Atomic<Bool>(false)

  /// Starts workers, which have the numbers 1 to `count`; the caller is thread 0.
  init(count: Int) {
    for number in 1...count {
      let thread = Thread { self.serve(as: number) }
      thread.name = "worker \(number)"
      thread.start()
    }
  }

  /// The workers hold the object: without this it would live for ever.
  func stop() {
    isStopping.store(true, ordering: .sequentiallyConsistent)
    wakeSleepers(atMost: .max)
  }

  /// Calls `body` for every item of `0 ..< items`, on whichever threads are free. Returns when all are done.
  func run(items: Int, _ body: @escaping Body) {
    turn.withLock { _ in
      withUnsafePointer(to: body) { pointer in
        self.body = pointer
        unfinished.store(items, ordering: .relaxed)
        let job = (state.load(ordering: .relaxed) >> 32) &+ 1
        state.store(job << 32 | UInt64(items), ordering: .sequentiallyConsistent)
        wakeSleepers(atMost: items - 1)
        while let item = takeItem() { perform(item, as: 0) }
        waitForOthers()
        self.body = nil
      }
    }
  }

  // MARK: Items

  private func takeItem() -> Int? {
    var seen = state.load(ordering: .relaxed)
    while UInt32(truncatingIfNeeded: seen) > 0 {
      let (taken, now) = state.weakCompareExchange(
        expected: seen, desired: seen - 1, successOrdering: .acquiring, failureOrdering: .relaxed)
      if taken { return Int(UInt32(truncatingIfNeeded: seen)) - 1 }
      seen = now
    }
    return nil
  }

  private func perform(_ item: Int, as thread: Int) {
    call(item, as: thread)
    if unfinished.subtract(1, ordering: .sequentiallyConsistent).newValue == 0,
      callerSleeps.exchange(false, ordering: .sequentiallyConsistent)
    {
      done.signal()
    }
  }

  /// Not inlined: the body is let go of before the item counts as done, and with it whatever the body holds.
  @inline(never) private func call(_ item: Int, as thread: Int) { body!.pointee(item, thread) }

  /// Woken early by the end of an earlier job, it looks again.
  private func waitForOthers() {
    if look(until: { self.unfinished.load(ordering: .acquiring) == 0 }) { return }
    while true {
      callerSleeps.store(true, ordering: .sequentiallyConsistent)
      if unfinished.load(ordering: .sequentiallyConsistent) == 0 { break }
      done.wait()
    }
    callerSleeps.store(false, ordering: .relaxed)
  }

  // MARK: Workers

  private func serve(as thread: Int) {
    while !isStopping.load(ordering: .relaxed) {
      if let item = takeItem() {
        perform(item, as: thread)
      } else if !look(until: { self.hasWork }) {
        sleep()
      }
    }
  }

  private var hasWork: Bool {
    UInt32(truncatingIfNeeded: state.load(ordering: .sequentiallyConsistent)) > 0
      || isStopping.load(ordering: .sequentiallyConsistent)
  }

  private func look(until condition: () -> Bool) -> Bool {
    let deadline = ContinuousClock.now + Self.patience
    repeat { if condition() { return true } } while ContinuousClock.now < deadline
    return false
  }

  /// Either the worker sees a job that was published before it counted itself, or the caller sees the sleeper.
  private func sleep() {
    sleepers.add(1, ordering: .sequentiallyConsistent)
    // Where the caller has counted this sleeper already, its signal is on the way, and taken by nobody else.
    if hasWork && takeSleepers(atMost: 1) == 1 { return }
    work.wait()
  }

  private func wakeSleepers(atMost count: Int) {
    for _ in 0..<takeSleepers(atMost: count) { work.signal() }
  }

  private func takeSleepers(atMost count: Int) -> Int {
    var sleeping = sleepers.load(ordering: .sequentiallyConsistent)
    while true {
      let taken = min(sleeping, count)
      let (exchanged, now) = sleepers.weakCompareExchange(
        expected: sleeping, desired: sleeping - taken, ordering: .sequentiallyConsistent)
      if exchanged { return taken }
      sleeping = now
    }
  }
}
