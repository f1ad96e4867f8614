import DistEngine
import Foundation
import TestSupport
import Testing

/// Units of several records: one gradient, the mean of the records', clipped once.
@Suite struct UnitTests {
  struct Case: Sendable, CustomStringConvertible {
    let mode: TrainingMode
    let clipping: Clipping
    let tied: Bool
    let microbatch: Int
    let recompute: Recomputation
    let chunked: Bool
    /// Rows of a microbatch: units that don't fit are taken in parts.
    let rows: Int
    var keepsOnlyUnit = false
    var ownFrom: Int?

    var description: String {
      "\(mode) \(clipping) \(tied ? "tied" : "untied") b \(microbatch) rows \(rows) recompute \(recompute) \(chunked ? "chunked" : "whole")\(keepsOnlyUnit ? " kept" : "")\(ownFrom.map { " alone from \($0)" } ?? "")"
    }

    func replica(_ model: ModelConfiguration, _ dataset: TokenizedDataset, maxGradNorm: Double) throws -> ModelReplica {
      let largest = dataset.largestUnit(ofRecords: .max)
      let plan = ReplicaPlan(
        model: model, mode: mode, clipping: clipping, maxGradNorm: maxGradNorm,
        capacity: Microbatch.Capacity(units: microbatch, rows: rows, positions: 24, unitRows: max(24, min(largest, rows)), ownMicrobatchRows: ownFrom), recompute: recompute,
        optimizer: nil, hasLargeUnits: largest > rows,
        choices: .init(logits: chunked ? .chunks(rows: 7) : .whole, keepsOnlyExample: keepsOnlyUnit))
      let replica = try ModelReplica(plan)
      SmallModels.fill(replica.parameters, model)
      return replica
    }
  }

  static let cases: [Case] = {
    var cases: [Case] = []
    for (mode, clipping) in [(TrainingMode.standard, Clipping.flat), (.hooks, .flat), (.hooks, .perLayer), (.ghost, .flat), (.ghost, .perLayer)] {
      for tied in [true, false] {
        for recompute in Recomputation.allCases {
          for chunked in [true, false] {
            for (microbatch, rows) in [(1, 24), (1, 128), (3, 72), (16, 128)] {
              cases.append(
                Case(mode: mode, clipping: clipping, tied: tied, microbatch: microbatch, recompute: recompute, chunked: chunked, rows: rows))
              if mode == .ghost && clipping == .flat && microbatch > 1 && recompute == .none {
                var test = cases[cases.count - 1]
                (test.keepsOnlyUnit, test.ownFrom) = (true, 12)
                cases.append(test)
              }
              if mode == .ghost && clipping == .flat && microbatch == 1 {
                cases.append(
                  Case(
                    mode: mode, clipping: clipping, tied: tied, microbatch: 1, recompute: recompute, chunked: chunked, rows: rows,
                    keepsOnlyUnit: true))
              }
            }
          }
        }
      }
    }
    return cases
  }()

  /// Repeated texts, empty ones, one byte, the same record twice; a unit of one record; one larger than any microbatch but the largest.
  static let records: [(unit: String, text: String)] = [
    ("ann", "abab"), ("bo", ""), ("ann", "abab"), ("cy", "the quick brown fox jumps"), ("ann", ""), ("di", "x"), ("bo", "hello"),
    ("ed", "zyxwvutsrqponmlkjihgfedc"), ("ed", "zyxwvutsrqponmlkjihgfedc"), ("ed", "abcdefghijklmnopqrstuv"), ("di", "x"), ("ed", "aaaaaaaaaaaaaaaa"),
  ]

  static func dataset(_ records: [(unit: String, text: String)] = records) -> TokenizedDataset {
    TokenizedDataset(RecordStore(records), tokenizer: SmallModels.SmallTokenizer(), longestSequence: 24)
  }

  /// Gradients record by record, in Double: the mean over a unit's, its norms by group, and the clipped sum over units.
  static func oneAtATime(
    _ clipping: Clipping?, _ model: ModelConfiguration, _ maxGradNorm: Double, _ dataset: TokenizedDataset
  ) throws -> (norms: [[Double]], sum: [Double]) {
    let replica = try SmallModels.replica(.standard, model, microbatch: 1)
    let single = TokenizedDataset(RecordStore(records.map(\.text)), tokenizer: SmallModels.SmallTokenizer(), longestSequence: 24)
    var sum = [Double](repeating: 0, count: model.parameterCount)
    var norms: [[Double]] = []
    for unit in 0..<dataset.unitCount {
      let records = dataset.units.records(of: unit)
      var gradient = [Double](repeating: 0, count: model.parameterCount)
      for record in records {
        _ = replica.accumulateGradients(of: [record], in: single)
        for (j, value) in replica.gradientSum.enumerated() { gradient[j] += Double(value) / Double(records.count) }
      }
      let squares = model.parameterLayout.map { gradient[$0.range].reduce(0) { $0 + $1 * $1 } }
      norms.append((clipping == .perLayer ? squares : [squares.reduce(0, +)]).map { $0.squareRoot() })
      let bound = maxGradNorm / Double(norms[unit].count).squareRoot()
      for tensor in model.parameterLayout {
        let norm = norms[unit][clipping == .perLayer ? tensor.index : 0]
        let factor = clipping != nil && norm > bound ? bound / norm : 1
        for j in tensor.range { sum[j] += factor * gradient[j] }
      }
    }
    return (norms, sum)
  }

  @Test(arguments: cases) func aUnitsGradientIsTheMeanOfItsRecordsClippedOnce(_ test: Case) throws {
    let model = try SmallModels.configuration(tied: test.tied)
    let dataset = Self.dataset()
    let expected = try Self.oneAtATime(test.mode == .standard ? nil : test.clipping, model, 5, dataset)
    let replica = try test.replica(model, dataset, maxGradNorm: 5)
    var seen: Set<Int> = []
    let totals = replica.accumulateGradients(of: 0..<dataset.unitCount, in: dataset) { batch, factors in
      guard let factors else { return }
      for (own, unit) in batch.units.enumerated() {
        seen.insert(unit)
        let whole = expected.norms[unit].reduce(0) { $0 + $1 * $1 }.squareRoot()
        for group in 0..<factors.groups {
          let norm = factors.norm(unit: own, group: group)
          #expect(
            abs(norm - expected.norms[unit][group]) < 1e-5 * max(expected.norms[unit][group], 1e-2 * whole), "\(test): unit \(unit), group \(group)")
        }
      }
    }
    #expect(totals.units == dataset.unitCount && totals.targets == dataset.totalTargetCount)
    #expect(test.mode == .standard || seen.count == dataset.unitCount)
    let sum = replica.gradientSum.map(Double.init)
    #expect(relativeDistance(sum, expected.sum) < 1e-5, "\(test)")
    for tensor in model.parameterLayout {
      #expect(relativeDistance(sum[tensor.range], expected.sum[tensor.range]) < 1e-4, "\(test): \(tensor.name)")
    }
  }

  /// The bound holds for what is really added, whatever a unit's records share: equal texts, equal positions, nothing at all.
  @Test(arguments: [TrainingMode.hooks, .ghost], Clipping.allCases) func noUnitContributesMoreThanTheBound(mode: TrainingMode, clipping: Clipping) throws {
    let model = try SmallModels.configuration(tied: true, layers: 1)
    var random = TestRandom(seed: 8)
    let alphabet = Array("abcdefghij")
    for trial in 0..<Self.trials {
      let count = Int.random(in: 1...6, using: &random)
      var texts: [String] = []
      for _ in 0..<count {
        switch Int.random(in: 0..<4, using: &random) {
        case 0: texts.append("")
        case 1 where !texts.isEmpty: texts.append(texts[0])
        case 2: texts.append(String(alphabet.randomElement(using: &random)!))
        default: texts.append(String((0..<Int.random(in: 2...23, using: &random)).map { _ in alphabet.randomElement(using: &random)! }))
        }
      }
      let dataset = Self.dataset(texts.map { ("one", $0) })
      let test = Case(
        mode: mode, clipping: clipping, tied: true, microbatch: 2, recompute: .none, chunked: trial.isMultiple(of: 2),
        rows: trial.isMultiple(of: 3) ? 48 : 160)
      let replica = try test.replica(model, dataset, maxGradNorm: 0.01)
      _ = replica.accumulateGradients(of: 0..<1, in: dataset)
      let norm = replica.gradientSum.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(norm <= 0.01 * (1 + ClippedGradientSum.roundingMargin(expectedBatchSize: 1)), "trial \(trial), \(texts)")
      #expect(clipping == .perLayer || norm > 0.009, "trial \(trial): clipped to the bound, not below it")
    }
  }

  /// 1,000 over the four combinations.
  private static let trials = 250

  @Test func recordsOfAUnitAreChosenByKeyAndStep() {
    let units = UnitIndex({
      var names = UnitNames()
      for record in 0..<40 { names.append(Array("\(record % 3)".utf8)) }
      return names
    }())
    func choice(_ seed: UInt64) -> RecordChoice { RecordChoice(most: 4, random: CounterRandom(RandomKey(seed: seed).subKey(for: .records))) }
    var counts = [Int](repeating: 0, count: 40)
    for step in 0..<2000 {
      let chosen = Array(choice(1).records(of: 1, step: step, in: units))
      #expect(chosen.count == 4 && chosen == chosen.sorted() && Set(chosen).count == 4 && chosen.allSatisfy { $0 % 3 == 1 })
      #expect(chosen == Array(choice(1).records(of: 1, step: step, in: units)), "a function of key and step")
      for record in chosen { counts[record] += 1 }
    }
    // 13 records, 4 of them a step: 615 expected of each, 5 standard deviations are 103 (false alarms: 1 in 130,000).
    for record in stride(from: 1, to: 40, by: 3) { #expect(abs(counts[record] - 615) < 103, "record \(record): \(counts[record])") }
    #expect((0..<20).contains { Array(choice(1).records(of: 1, step: $0, in: units)) != Array(choice(2).records(of: 1, step: $0, in: units)) })
    #expect(Array(RecordChoice.all.records(of: 2, step: 0, in: units)).count == 13)
  }

  @Test func aHoldOutHoldsAllOfAUnit() {
    let records = RecordStore((0..<400).map { (unit: "author \($0 % 60)", text: "text \($0)") })
    let split = HoldOut(oneIn: 3).split(records)
    func names(_ store: RecordStore) -> Set<[UInt8]> { Set(store.unitNames!.names) }
    #expect(!split.heldOut.isEmpty && !split.training.isEmpty)
    #expect(names(split.heldOut).isDisjoint(with: names(split.training)))
    #expect(names(split.heldOut).count + names(split.training).count == 60)
  }
}
