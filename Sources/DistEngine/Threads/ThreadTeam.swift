/// The threads that a rank computes with: the one that calls, and `count - 1` workers. There is no other pool: matrix products are split
/// here as everything else is, and OpenBLAS runs each part on the thread that calls it.
///
/// Kernels find their team in ``current``: that of the nearest ``use(_:)`` around them, so that neither layers nor models know of threads.
/// Within a part of a split, and outside any ``use(_:)``, a kernel has its own thread alone. How work is split depends on the number of
/// threads, but not on which of them is faster: a team of a given size always gives the same result.
///
/// Workers run kernels only; MPI is called by the thread that started it.
package final class ThreadTeam: Sendable {
  package static let alone = ThreadTeam(count: 1)
  @TaskLocal package static var current = ThreadTeam.alone

  package let count: Int
  /// nil for a team of one.
  private let workers: WorkerThreads?

  /// Starts the workers. They end with the team.
  package init(count: Int) {
    precondition(count >= 1, "a team of \(count) threads")
    self.count = count
    workers = count > 1 ? WorkerThreads(count: count - 1) : nil
  }

  deinit { workers?.stop() }

  /// Runs `body` with this team as the ``current`` one.
  package func use<Result>(_ body: () throws -> Result) rethrows -> Result {
    try Self.$current.withValue(self, operation: body)
  }

  /// Calls `body` for each of some items, in any order and at the same time.
  ///
  /// - Parameter body: gets the item and the number of the thread, below `count`: what it writes is the item's or the thread's own.
  package func forEach(_ items: Int, _ body: (_ item: Int, _ thread: Int) -> Void) {
    guard let workers, items > 1 else {
      for item in 0..<items { body(item, 0) }
      return
    }
    // Kernels within an item have its thread alone: the workers have no current team, and the caller none meanwhile.
    Self.alone.use {
      withoutActuallyEscaping(body) { workers.run(items: items, $0) }
    }
  }

  /// Calls `body` for parts of `0 ..< count` that cover it: as many as there are threads, fewer where they would be small.
  ///
  /// - Parameters:
  ///   - smallest: elements below which a part isn't worth a thread.
  ///   - alignment: parts start at multiples of it.
  package func split(_ count: Int, smallest: Int, alignment: Int = 1, _ body: (Range<Int>) -> Void) {
    let parts = parts(of: count, smallest: smallest)
    if parts <= 1 {
      if count > 0 { body(0..<count) }
      return
    }
    forEach(parts) { part, _ in
      let range = Self.range(part, of: parts, count: count, alignment: alignment)
      if !range.isEmpty { body(range) }
    }
  }

  /// As ``split(_:smallest:alignment:_:)``, and adds up what the parts give, in their order.
  package func sum(_ count: Int, smallest: Int, _ body: (Range<Int>) -> Double) -> Double {
    let parts = parts(of: count, smallest: smallest)
    if parts <= 1 { return count > 0 ? body(0..<count) : 0 }
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: parts) { sums in
      forEach(parts) { part, _ in
        sums.initializeElement(at: part, to: body(Self.range(part, of: parts, count: count, alignment: 1)))
      }
      return sums.reduce(0, +)
    }
  }

  /// How many parts are worth their threads.
  package func parts(of count: Int, smallest: Int) -> Int { min(self.count, count / max(1, smallest)) }

  /// Part `part` of `0 ..< count` cut into `parts` that differ by less than two alignments.
  package static func range(_ part: Int, of parts: Int, count: Int, alignment: Int) -> Range<Int> {
    let blocks = (count + alignment - 1) / alignment
    let bound = { (part: Int) in min(count, blocks * part / parts * alignment) }
    return bound(part)..<bound(part + 1)
  }
}
