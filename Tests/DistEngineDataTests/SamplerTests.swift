import DistEngine
import Testing

/// Draws come from fixed seeds; the bounds are those of a fresh key: six standard deviations, a false alarm in 5·10⁸ tests.
@Suite struct SamplerTests {
  private func random(_ seed: UInt64, _ purpose: RandomPurpose = .sampling) -> CounterRandom {
    CounterRandom(RandomKey(seed: seed).subKey(for: purpose))
  }

  private func sampler(_ expected: Int, of size: Int, seed: UInt64 = 1) throws -> PoissonSampler {
    try PoissonSampler(expectedBatchSize: expected, datasetSize: size, random: random(seed))
  }

  /// Whether `count` of `trials` is within six standard deviations of what rate q gives.
  private func agrees(_ count: Int, of trials: Int, rate q: Double) -> Bool {
    let deviation = (Double(trials) * q * (1 - q)).squareRoot()
    return abs(Double(count) - Double(trials) * q) <= 6 * deviation
  }

  @Test func unitsTakePartAtTheStatedRate() throws {
    let (units, steps) = (10_007, 200)
    let sampler = try sampler(300, of: units)
    let counts = (0..<steps).map { sampler.draw(step: $0, unitCount: units).count }
    let total = counts.reduce(0, +)
    #expect(agrees(total, of: units * steps, rate: sampler.samplingRate))
    for wrong in [0.95, 1.05, 2.0 / 3, 1.5] {
      #expect(!agrees(total, of: units * steps, rate: sampler.samplingRate * wrong), "a rate of \(wrong) q passes")
    }
    // Binomial, not of fixed size: the variance of the counts is N q (1 − q), to six deviations of a sample variance.
    let mean = Double(total) / Double(steps)
    let variance = counts.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(steps - 1)
    let expected = Double(units) * sampler.samplingRate * (1 - sampler.samplingRate)
    #expect(abs(variance / expected - 1) < 6 * (2 / Double(steps - 1)).squareRoot())
  }

  @Test func everyUnitTakesPartAtTheSameRate() throws {
    let (units, steps) = (2003, 400)
    let sampler = try sampler(501, of: units, seed: 3)
    var taken = [Int](repeating: 0, count: units)
    for step in 0..<steps { for unit in sampler.draw(step: step, unitCount: units) { taken[unit] += 1 } }
    let (q, n) = (sampler.samplingRate, Double(steps))
    let chiSquared = taken.reduce(0.0) { $0 + (Double($1) - n * q) * (Double($1) - n * q) / (n * q * (1 - q)) }
    #expect(abs(chiSquared - Double(units)) < 6 * (2 * Double(units)).squareRoot())
  }

  /// Correlation of one unit's part in a draw with that of another unit or step, in standard deviations.
  private func correlation(_ first: [[Double]], _ second: [[Double]], rate q: Double) -> Double {
    var sum = 0.0
    var terms = 0.0
    for (a, b) in zip(first, second) {
      for (x, y) in zip(a, b) {
        sum += (x - q) * (y - q)
        terms += 1
      }
    }
    return sum / (q * (1 - q) * terms.squareRoot())
  }

  @Test func unitsAndStepsAreIndependent() throws {
    let (units, steps) = (5000, 100)
    let sampler = try sampler(1250, of: units, seed: 4)
    let parts = (0...steps).map { step in
      var part = [Double](repeating: 0, count: units)
      for unit in sampler.draw(step: step, unitCount: units) { part[unit] = 1 }
      return part
    }
    let q = sampler.samplingRate
    let now = Array(parts.dropLast())
    for distance in [1, 2, 625, 1250, 2500] {
      #expect(abs(correlation(now, now.map { Array($0.dropFirst(distance)) }, rate: q)) < 6, "units \(distance) apart")
    }
    #expect(abs(correlation(now, Array(parts.dropFirst()), rate: q)) < 6, "steps")
    let other = try self.sampler(1250, of: units, seed: 5)
    let others = (0..<steps).map { step in
      var part = [Double](repeating: 0, count: units)
      for unit in other.draw(step: step, unitCount: units) { part[unit] = 1 }
      return part
    }
    #expect(abs(correlation(now, others, rate: q)) < 6, "keys")
    #expect(correlation(now, now, rate: q) > 100, "the test does not see equal draws")
  }

  @Test func aDrawIsThatOfTheWordsBelowTheRate() throws {
    for (expected, size) in [(1, 3), (2, 3), (1, 1000), (999, 1000), (1, 2), (37, 101)] {
      let sampler = try sampler(expected, of: size, seed: 9)
      let words = random(9).words(stream: 12, from: 0, count: 10_000)
      // word < q·2⁶⁴ in exact integers: word·N < expected·2⁶⁴.
      let included = words.indices.filter { words[$0].multipliedFullWidth(by: UInt64(size)).high < UInt64(expected) }
      #expect(sampler.draw(step: 12, unitCount: words.count) == included)
    }
  }

  @Test func aUnitsPartDoesNotDependOnTheOthers() throws {
    let sampler = try sampler(10, of: 100)
    for step in 0..<20 {
      let whole = sampler.draw(step: step, unitCount: 30_001)
      for count in [0, 1, 2, 99, 8191, 8192, 8193, 16_385] {
        #expect(sampler.draw(step: step, unitCount: count) == whole.filter { $0 < count })
      }
    }
  }

  @Test func aRateOfOneTakesAll() throws {
    #expect(try sampler(7, of: 7).draw(step: 0, unitCount: 9) == Array(0..<9))
    #expect(try sampler(7, of: 7).draw(step: 0, unitCount: 0) == [])
    #expect(try sampler(1, of: 1).samplingRate == 1)
  }

  @Test func drawsMayBeEmpty() throws {
    let sampler = try sampler(1, of: 50)
    let empty = (0..<1000).count { sampler.draw(step: $0, unitCount: 50).isEmpty }
    // (1 − 1/50)⁵⁰ = 0.364
    #expect(agrees(empty, of: 1000, rate: 0.3642))
    #expect(try self.sampler(3, of: 10).draw(step: 0, unitCount: 0).isEmpty)
  }

  @Test func aReusedDrawHoldsNothingOfTheOneBefore() throws {
    let sampler = try sampler(10, of: 100)
    var draw = [-1, -2]
    for step in 0..<5 {
      sampler.draw(step: step, unitCount: 100, into: &draw)
      #expect(draw == sampler.draw(step: step, unitCount: 100))
    }
  }

  @Test(arguments: 1...7, [0, 1, 2, 3, 5, 6, 7, 8, 1003])
  func sharesAreAnEvenPartitionOfTheDraw(ranks: Int, count: Int) {
    let draw = (0..<count).map { 3 * $0 + 1 }
    let shares = (0..<ranks).map { EvenShare.of(draw, rank: $0, ranks: ranks) }
    #expect(shares.flatMap { $0 }.sorted() == draw)
    #expect(shares.map(\.count).max()! - shares.map(\.count).min()! <= 1)
    #expect(shares.map(\.count) == (0..<ranks).map { EvenShare.count(of: count, rank: $0, ranks: ranks) })
  }

  @Test func impossibleBatchSizesAreRefused() {
    #expect(throws: SamplingError.noBatch(size: 0)) { try sampler(0, of: 10) }
    #expect(throws: SamplingError.noRecords(size: 0)) { try sampler(1, of: 0) }
    #expect(throws: SamplingError.batchBeyondDataset(size: 11, datasetSize: 10)) { try sampler(11, of: 10) }
    #expect(SamplingError.noBatch(size: 0).description == "--batch-size 0: must be 1 or more")
    #expect(
      SamplingError.batchBeyondDataset(size: 11, datasetSize: 10).description
        == "--batch-size 11: must be at most the data set's size, 10 (--dataset-size, else the number of training records)")
  }

  @Test(arguments: [(1, 1), (1, 5), (3, 7), (7, 7), (4, 1003)])
  func shufflingVisitsEachUnitOnceAnEpoch(batch: Int, units: Int) throws {
    var sampler = try ShuffleSampler(batchSize: batch, unitCount: units, random: random(2, .shuffle))
    let epochs = batch * 2
    // batch · (2 · units) places are 2 · batch epochs.
    let visited = (0..<(2 * units)).flatMap { sampler.draw(step: $0) }
    #expect(visited.count == epochs * units)
    var orders: Set<[Int]> = []
    for epoch in 0..<epochs {
      let order = Array(visited[(epoch * units)..<((epoch + 1) * units)])
      #expect(order.sorted() == Array(0..<units))
      orders.insert(order)
    }
    if units == 1003 { #expect(orders.count == epochs) }
    var other = try ShuffleSampler(batchSize: batch, unitCount: units, random: random(2, .shuffle))
    #expect(other.draw(step: 2 * units - 1) == Array(visited.suffix(batch)))
  }
}
