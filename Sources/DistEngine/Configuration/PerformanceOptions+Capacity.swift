/// What microbatches may hold, chosen by what the units' lengths would cost.
extension PerformanceOptions {
  /// Rows that keep matrix products efficient: with more, their speed hardly grows.
  static let efficientRows = 512
  /// Bytes that `auto` lets `hooks` spend on the examples' gradients.
  static let automaticHookBytes = 256 << 20

  /// What a microbatch may hold: `b` records of T positions, or by default as many as fit in a number of rows that keeps matrix products
  /// efficient, so that memory doesn't grow with the batch. The one that should take the least time first; one behind it is for plans
  /// whose budget the first exceeds.
  ///
  /// - Parameters:
  ///   - lengths: of the units that may be drawn.
  ///   - largestUnit: targets of the largest unit; 0 where a unit is one record. One that doesn't fit is taken in parts.
  package func capacities(
    mode: TrainingMode, clipping: Clipping = .flat, positions: Int, lengths: UnitLengths, largestUnit: Int = 0, model: ModelConfiguration,
    trainable: TrainableParameters = .all
  ) -> [Microbatch.Capacity] {
    func capacity(units: Int, rows: Int, ownFrom: Int? = nil) -> Microbatch.Capacity {
      Microbatch.Capacity(
        units: units, rows: rows, positions: positions, unitRows: max(positions, min(largestUnit, rows)),
        unitsAreRecords: largestUnit == 0, ownMicrobatchRows: ownFrom)
    }
    if let microbatch { return [capacity(units: microbatch, rows: microbatch * positions)] }
    let rows = max(positions, Self.efficientRows)
    let single = capacity(units: 1, rows: max(positions, min(largestUnit, rows)))
    // No two fit one microbatch.
    if let shortest = lengths.shortest, 2 * shortest > rows { return [single] }
    if mode == .hooks {
      let units = max(1, min(rows, Self.automaticHookBytes / (4 * max(1, model.parameterCount))))
      return [capacity(units: units, rows: min(rows, units * max(positions, min(largestUnit, rows))))]
    }
    let packed = capacity(units: rows, rows: rows)
    guard mode == .ghost && clipping == .flat else { return [packed] }
    let cost = MicrobatchCost(model, trainable: trainable, rows: rows)
    let ownFrom = cost.ownMicrobatchFrom
    let allSingle = cost.ofOwnMicrobatches(lengths)
    let other = allSingle < cost.ofSharedMicrobatches(lengths) ? single : packed
    // With recomputed blocks book-keeping and a kept gradient don't go together in one plan.
    guard recompute == .none, lengths.counts.contains(where: { $0.targets >= ownFrom }) else { return [other] }
    let mixed = cost.of(lengths, ownFrom: ownFrom)
    // Where nearly all would be alone anyway, the smaller plan.
    if allSingle <= Self.nearlyTheSame * mixed { return [single] }
    return [capacity(units: rows, rows: rows, ownFrom: ownFrom), other]
  }

  private static let nearlyTheSame = 1.02
}

/// What flat `ghost` pays beyond the products that any microbatches cost, in flops: a closed form, not a timing, so that ranks, and runs
/// with one seed, divide batches alike.
///
/// A microbatch of its own: the unit's gradient is made, measured and added, and all matrices are read for few rows. A shared one: the same
/// passes once for all of its rows, and each unit's norms (``NormMethod``).
package struct MicrobatchCost {
  /// Of the blocks' trained layers.
  private let layers: [LinearShape]
  private let passes: Double
  private let rows: Double

  /// - Parameter rows: of a shared microbatch.
  package init(_ model: ModelConfiguration, trainable: TrainableParameters, rows: Int) {
    let shapes = model.linearLayers(trainable: trainable)
    layers = shapes.trainedInBlocks
    self.rows = Double(rows)
    let trained = layers.reduce(0) { $0 + $1.inputs * $1.outputs }
    passes = Self.flopsOfFloat * Double(2 * shapes.elements + Self.floatsOfKept * trained)
  }

  /// Floats read or written for an element of a kept gradient: written, measured, added to the sum.
  private static let floatsOfKept = 6
  /// Flops of matrix products in the time that a float takes to or from memory: 90 GFLOP/s beside 22 GB/s, a core's here (docs/performance.md).
  private static let flopsOfFloat = 16.0

  /// The cheaper way to the norms of a unit of so many rows.
  private func norms(_ targets: Int) -> Double {
    let T = Double(targets)
    return layers.reduce(0) { $0 + min(T * T * Double($1.inputs + $1.outputs), 2 * T * Double($1.inputs) * Double($1.outputs)) }
  }

  /// The shortest unit that costs less in a microbatch of its own.
  package var ownMicrobatchFrom: Int {
    (1...max(1, Int(rows))).first { norms($0) > passes * (1 - Double($0) / rows) } ?? Int(rows)
  }

  package func of(_ lengths: UnitLengths, ownFrom: Int) -> Double {
    lengths.counts.reduce(0) { cost, length in
      let own = length.targets >= ownFrom ? passes : passes * Double(length.targets) / rows + norms(length.targets)
      return cost + Double(length.count) * own
    }
  }

  package func ofOwnMicrobatches(_ lengths: UnitLengths) -> Double { of(lengths, ownFrom: 0) }
  package func ofSharedMicrobatches(_ lengths: UnitLengths) -> Double { of(lengths, ownFrom: .max) }
}
