/// Batches of fixed size from a new order of all records in each epoch. For `standard` alone: no accountant here models it.
///
/// Step s takes places s·B ..< (s+1)·B of the epochs' orders laid end to end, so that a batch may hold the end of one epoch and
/// the beginning of the next. The order of an epoch is a function of (key, epoch).
package struct ShuffleSampler: Sendable {
  package let batchSize: Int
  package let unitCount: Int
  private let random: CounterRandom
  private var epoch = -1
  private var order: [Int] = []

  /// - Parameter random: keyed for shuffling and nothing else.
  /// - Throws: ``SamplingError`` unless 1 ≤ batch size ≤ units.
  package init(batchSize: Int, unitCount: Int, random: CounterRandom) throws(SamplingError) {
    try SamplingError.check(batchSize: batchSize, datasetSize: unitCount)
    self.batchSize = batchSize
    self.unitCount = unitCount
    self.random = random
  }

  /// Overwrites `draw` with a step's units, in the order of the shuffle.
  package mutating func draw(step: Int, into draw: inout [Int]) {
    draw.removeAll(keepingCapacity: true)
    for place in (step * batchSize)..<((step + 1) * batchSize) {
      let (placeEpoch, placeInEpoch) = place.quotientAndRemainder(dividingBy: unitCount)
      if placeEpoch != epoch { shuffle(epoch: placeEpoch) }
      draw.append(order[placeInEpoch])
    }
  }

  package mutating func draw(step: Int) -> [Int] {
    var units: [Int] = []
    draw(step: step, into: &units)
    return units
  }

  private mutating func shuffle(epoch: Int) {
    self.epoch = epoch
    order = Array(0..<unitCount)
    var stream = RandomStream(random, stream: UInt64(epoch))
    stream.shuffle(&order)
  }
}
