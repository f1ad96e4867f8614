/// Seconds of a microbatch, forward and backward pass with norms and sums, by its rows: as timed at some, on straight lines between them.
package struct MicrobatchTimes: Sendable, Equatable {
  package struct Point: Sendable, Equatable {
    package let rows: Int
    package let seconds: Double

    package init(rows: Int, seconds: Double) { (self.rows, self.seconds) = (rows, seconds) }
  }

  /// How a plan takes a microbatch.
  package enum Course: CaseIterable, Sendable {
    /// As any other.
    case several
    /// Of one unit, whose gradient is kept.
    case only
  }

  private var points: [Course: [Point]] = [:]
  private let keepsOnlyUnit: Bool
  /// Of a microbatch's time, by course: from where the first part of its sum is begun to its end.
  package let finalPart: [Course: Double]

  /// - Parameters:
  ///   - keepsOnlyUnit: whether the plan takes microbatches of one unit in a way of their own.
  ///   - finalPart: nothing said is 0.
  package init(keepsOnlyUnit: Bool, finalPart: [Course: Double] = [:]) { (self.keepsOnlyUnit, self.finalPart) = (keepsOnlyUnit, finalPart) }

  /// Of a plan, by how many of its products there are: a third forward, a third for gradients at inputs, a third for the sum.
  package init(_ plan: ReplicaPlan) {
    let several: Double =
      switch (plan.mode, plan.clipping) {
      // Factors are known behind the whole backward pass, and what was kept is added.
      case (.hooks, _): 0
      // The sum's products follow behind it; where blocks are computed twice, with a second forward and backward pass.
      case (.ghost, .flat): plan.recompute == .blocks ? 1.0 / 2 : 1.0 / 3
      // Within the backward pass.
      default: 2.0 / 3
      }
    self.init(keepsOnlyUnit: plan.choices.keepsOnlyExample, finalPart: [.several: several, .only: 0])
  }

  package func course(units: Int) -> Course { keepsOnlyUnit && units <= 1 ? .only : .several }

  package subscript(course: Course) -> [Point] {
    get { points[course] ?? [] }
    set { points[course] = newValue.sorted { $0.rows < $1.rows } }
  }

  func seconds(of units: [DrawnUnit], in dataset: TokenizedDataset) -> Double {
    seconds(rows: units.reduce(0) { $0 + dataset.targetCount(of: $1) }, units: units.count)
  }

  /// 0 for no rows. Beyond what was timed the nearest line goes on; below it never falls under the first time's part for as many rows.
  package func seconds(rows: Int, units: Int) -> Double {
    let own = self[course(units: units)]
    // Of a course that the sampled steps don't have, the other one's.
    let points = own.isEmpty ? Course.allCases.lazy.map { self[$0] }.first { !$0.isEmpty } ?? [] : own
    guard rows > 0, let first = points.first else { return 0 }
    guard points.count > 1 else { return first.seconds * Double(rows) / Double(first.rows) }
    let after = points.firstIndex { $0.rows >= rows } ?? points.count - 1
    let (low, high) = (points[max(0, after - 1)], points[max(1, after)])
    let line = low.seconds + (high.seconds - low.seconds) * Double(rows - low.rows) / Double(high.rows - low.rows)
    return max(line, first.seconds * min(1, Double(rows) / Double(first.rows)))
  }
}
