/// Which records take part in a step: each on its own with probability q = expected batch size / N₀.
///
/// Whether unit i takes part in step s is a function of (key, s, i), with i the record's place in the whole data set. Every
/// rank that asks gets the same draw, whatever the number of ranks. A draw may be empty, and is never cut.
package struct PoissonSampler: Sendable {
  /// The numerator of q.
  package let expectedBatchSize: Int
  /// N₀, the public size of the data set: the denominator of q. The records that are drawn from may be more or fewer.
  package let datasetSize: Int
  /// A unit takes part if its word is below it: ⌊q·2⁶⁴⌋; nil for q = 1, where every unit does.
  ///
  /// The true rate is thus at most q, less than 2⁻⁶⁴ below it.
  private let threshold: UInt64?
  private let random: CounterRandom

  /// - Parameter random: keyed for sampling and nothing else.
  /// - Throws: ``SamplingError`` unless 1 ≤ expected batch size ≤ N₀.
  package init(expectedBatchSize: Int, datasetSize: Int, random: CounterRandom) throws(SamplingError) {
    try SamplingError.check(batchSize: expectedBatchSize, datasetSize: datasetSize)
    self.expectedBatchSize = expectedBatchSize
    self.datasetSize = datasetSize
    self.random = random
    threshold =
      expectedBatchSize == datasetSize
      ? nil : UInt64(datasetSize).dividingFullWidth((high: UInt64(expectedBatchSize), low: 0)).quotient
  }

  /// q.
  package var samplingRate: Double { Double(expectedBatchSize) / Double(datasetSize) }

  /// Overwrites `draw` with the units of `0 ..< unitCount` that take part in a step, ascending.
  package func draw(step: Int, unitCount: Int, into draw: inout [Int]) {
    draw.removeAll(keepingCapacity: true)
    guard let threshold else { return draw.append(contentsOf: 0..<unitCount) }
    random.forEachPiece(stream: UInt64(step), from: 0, count: unitCount) { words, offset in
      for i in 0..<min(words.count, unitCount - offset) where words[i] < threshold { draw.append(offset + i) }
    }
  }

  package func draw(step: Int, unitCount: Int) -> [Int] {
    var units: [Int] = []
    draw(step: step, unitCount: unitCount, into: &units)
    return units
  }
}

/// How the units of a step are shared out over ranks: in turn, so that shares differ by one unit at most, and so that data in
/// the order of their length or label spread evenly.
package enum EvenShare {
  /// Units of a rank out of `count`.
  package static func count(of count: Int, rank: Int, ranks: Int) -> Int {
    precondition(0 <= rank && rank < ranks, "rank \(rank) of \(ranks)")
    return (count - rank + ranks - 1) / ranks
  }

  /// Overwrites `share` with the rank's units: those at places `rank`, `rank + ranks`, … of the draw.
  package static func of(_ draw: [Int], rank: Int, ranks: Int, into share: inout [Int]) {
    precondition(0 <= rank && rank < ranks, "rank \(rank) of \(ranks)")
    share.removeAll(keepingCapacity: true)
    for place in stride(from: rank, to: draw.count, by: ranks) { share.append(draw[place]) }
  }

  package static func of(_ draw: [Int], rank: Int, ranks: Int) -> [Int] {
    var share: [Int] = []
    of(draw, rank: rank, ranks: ranks, into: &share)
    return share
  }
}

/// Why a batch size is refused.
public enum SamplingError: UserError, Equatable {
  case noBatch(size: Int)
  case noRecords(size: Int)
  case batchBeyondDataset(size: Int, datasetSize: Int)

  static func check(batchSize: Int, datasetSize: Int) throws(SamplingError) {
    guard batchSize >= 1 else { throw .noBatch(size: batchSize) }
    guard datasetSize >= 1 else { throw .noRecords(size: datasetSize) }
    guard batchSize <= datasetSize else { throw .batchBeyondDataset(size: batchSize, datasetSize: datasetSize) }
  }

  public var description: String {
    switch self {
    case .noBatch(let size): "--batch-size \(size): must be 1 or more"
    case .noRecords(let size): "--dataset-size \(size): must be 1 or more"
    case .batchBeyondDataset(let size, let datasetSize):
      "--batch-size \(size): must be at most the data set's size, \(datasetSize) "
        + "(--dataset-size, else the number of training records)"
    }
  }
}
