import DistEngine
import Foundation
import TestSupport
import Testing

/// How microbatches are filled where records are of mixed length. That sums are those of one record at a time: ``ClippedSumTests`` and
/// ``UnitTests``, whose plans fill microbatches in each of these ways.
@Suite struct MixedLengthTests {
  static let positions = 48

  /// Records of 1, 2, an odd number and any other number of targets, up to the row limit.
  static func dataset(_ count: Int, seed: UInt64) -> TokenizedDataset {
    var random = TestRandom(seed: seed)
    let lengths = [1, 2, 7, positions] + (0..<count).map { _ in Int(exp(Double.random(in: 0...log(Double(positions)), using: &random))) }
    return TokenizedDataset(
      RecordStore(lengths.map { String(repeating: "a", count: $0 - 1) }), tokenizer: SmallModels.SmallTokenizer(), longestSequence: positions)
  }

  @Test(arguments: [(1, nil), (5, nil), (96, nil), (5, 20), (96, 1), (96, 20)] as [(Int, Int?)])
  func everyUnitIsTakenOnceWithinTheLimits(units: Int, ownFrom: Int?) throws {
    let model = try SmallModels.configuration(tied: true, layers: 1, positions: Self.positions)
    for seed in UInt64(1)...20 {
      let dataset = Self.dataset(Int(seed) * 7, seed: seed)
      let replica = try SmallModels.replica(.ghost, model, microbatch: units, positions: Self.positions, rows: 96, ownFrom: ownFrom)
      let groups = replica.batches(of: 0..<dataset.count, in: dataset).microbatches.map { $0.map(\.unit) }
      #expect(groups.joined().sorted() == Array(0..<dataset.count))
      for group in groups {
        let lengths = group.map(dataset.targetCount)
        #expect(!group.isEmpty && group.count <= units && lengths.reduce(0, +) <= 96)
        if let ownFrom { #expect(group.count == 1 || lengths.allSatisfy { $0 < ownFrom }) }
      }
      // By rows alone two microbatches are never both at most half full, so that there are fewer than twice as many as the rows fill.
      if units == 96 && ownFrom == nil {
        #expect(groups.count <= 1 || (groups.count - 1) * 48 < dataset.totalTargetCount)
      }
      // The order of the draw changes nothing.
      let shuffled = replica.batches(of: (0..<dataset.count).reversed(), in: dataset).microbatches.map { $0.map(\.unit) }
      #expect(shuffled == groups)
    }
  }

  /// 257 targets on average, of which most records have 40.
  @Test func mostRecordsShareMicrobatchesWhereAFewAreLong() {
    let lengths = UnitLengths([Int](repeating: 40, count: 889) + [Int](repeating: 2000, count: 111))
    let performance = PerformanceOptions()
    let capacities = performance.capacities(mode: .ghost, positions: 2000, lengths: lengths, model: ModelPreset.small.configuration)
    #expect(capacities.count == 2)
    #expect(capacities[0].units == 2000 && capacities[0].rows == 2000)
    #expect((41...2000).contains(capacities[0].ownMicrobatchRows!))
    #expect(capacities[1].ownMicrobatchRows == nil)
    // Where no gradient is kept microbatches are filled.
    for (mode, clipping) in [(TrainingMode.standard, Clipping.flat), (.ghost, .perLayer)] {
      let all = performance.capacities(mode: mode, clipping: clipping, positions: 2000, lengths: lengths, model: ModelPreset.small.configuration)
      #expect(all == [Microbatch.Capacity(units: 2000, rows: 2000, positions: 2000, unitsAreRecords: true)])
    }
    var recomputing = performance
    recomputing.recompute = .blocks
    #expect(
      recomputing.capacities(mode: .ghost, positions: 2000, lengths: lengths, model: ModelPreset.small.configuration).map(\.ownMicrobatchRows) == [nil])
  }

  @Test(arguments: TrainingMode.allCases)
  func recordsOfOneLengthAreAloneWhereNoTwoFit(mode: TrainingMode) {
    for length in [257, 512, 1000] {
      let all = PerformanceOptions().capacities(mode: mode, positions: length, lengths: UnitLengths([length, length]), model: ModelPreset.small.configuration)
      #expect(all == [Microbatch.Capacity(units: 1, rows: length, positions: length, unitsAreRecords: true)])
    }
  }

  @Test func shortRecordsAreNeverAlone() {
    for model in [ModelPreset.small, .seedMedium].map(\.configuration) {
      let all = PerformanceOptions().capacities(mode: .ghost, positions: 64, lengths: UnitLengths([1, 2, 64, 64]), model: model)
      #expect(all.map(\.ownMicrobatchRows) == [nil] && all[0].units == 512 && all[0].rows == 512)
    }
    // Nobody's records.
    let none = PerformanceOptions().capacities(mode: .ghost, positions: 1, lengths: UnitLengths([]), model: ModelPreset.tiny.configuration)
    #expect(none.map(\.rows) == [512])
    let chosen = PerformanceOptions(microbatch: 3).capacities(mode: .ghost, positions: 64, lengths: UnitLengths([64]), model: ModelPreset.tiny.configuration)
    #expect(chosen == [Microbatch.Capacity(units: 3, rows: 192, positions: 64, unitsAreRecords: true)])
  }

  /// Where a unit is better alone nothing cheaper is left: no other bound costs less, of any lengths.
  @Test func theBoundIsTheOneThatCostsLeast() {
    var random = TestRandom(seed: 4)
    for preset in [ModelPreset.tiny, .seedMedium, .small] {
      let cost = MicrobatchCost(preset.configuration, trainable: .all, rows: 1024)
      let lengths = UnitLengths((0..<200).map { _ in Int.random(in: 1...1024, using: &random) })
      let best = cost.of(lengths, ownFrom: cost.ownMicrobatchFrom)
      for other in stride(from: 0, through: 1100, by: 25) { #expect(cost.of(lengths, ownFrom: other) >= best * (1 - 1e-12), "\(preset) \(other)") }
    }
  }

  /// What is kept lies where an only unit's activations were: the plan for both stays within what it may cost over `standard`.
  @Test func bothWaysInOnePlanFitTheBudget() throws {
    let lengths = UnitLengths([Int](repeating: 40, count: 90) + [Int](repeating: 800, count: 10))
    for preset in [ModelPreset.small, .seedMedium] {
      let capacities = PerformanceOptions().capacities(mode: .ghost, positions: 1024, lengths: lengths, model: preset.configuration)
      let plan = try ReplicaPlan(
        fastestFor: TrainingConfiguration(), model: preset.configuration, capacities: capacities,
        optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0))
      #expect(plan.choices.keepsOnlyExample && plan.capacity == capacities[0])
      #expect(plan.byteCount <= plan.budgetBytes!)
    }
    var tight = TrainingConfiguration()
    tight.performance.memoryBudget = .overStandard(0)
    let capacities = PerformanceOptions().capacities(mode: .ghost, positions: 1024, lengths: lengths, model: ModelPreset.small.configuration)
    let plan = try ReplicaPlan(fastestFor: tight, model: ModelPreset.small.configuration, capacities: capacities, optimizer: nil)
    #expect(plan.capacity == capacities[1])
  }

  @Test func lengthsOfUnitsCountTheRecordsThatTakePart() {
    let dataset = TokenizedDataset(
      RecordStore([(unit: "a", text: "xxx"), (unit: "b", text: "x"), (unit: "a", text: "xxxxx"), (unit: "a", text: "x")]),
      tokenizer: SmallModels.SmallTokenizer(), longestSequence: 24)
    // 4, 6 and 2 targets of a; 2 of b.
    #expect(dataset.unitLengths(ofRecords: .max) == UnitLengths([12, 2]))
    #expect(dataset.unitLengths(ofRecords: 2) == UnitLengths([8, 2]))
    #expect(dataset.unitLengths(ofRecords: 1) == UnitLengths([4, 2]))
  }
}
