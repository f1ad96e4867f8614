import DistEngine
import Foundation
import TestSupport
import Testing

/// Completions: prompts carry no loss, and are what the loss is of all the same.
@Suite struct CompletionTests {
  private static let records = [
    (prompt: "the quick", text: " brown fox"), (prompt: "", text: "x"), (prompt: "aaaa", text: "aaaaaaaa"), (prompt: "zyxwvut", text: ""),
    (prompt: "0123456789012345678901234567890", text: "cut away"), (prompt: "abcdefghijklmnopqrstu", text: "vwxyz"), (prompt: "", text: ""),
  ]
  /// The one of which nothing but the prompt is left.
  private static let uncounted = 4

  private static func dataset(_ records: [(prompt: String, text: String)] = records) -> TokenizedDataset {
    TokenizedDataset(RecordStore(completions: records), tokenizer: SmallModels.SmallTokenizer(), longestSequence: 24)
  }

  private func ids(of record: Int, in dataset: TokenizedDataset) -> [Int] {
    dataset.inputs(of: record).map(Int.init) + [Int(dataset.targets(of: record).last!)]
  }

  private func naiveLoss(_ naive: any NaiveModel, _ record: Int, _ dataset: TokenizedDataset) -> Double {
    record == Self.uncounted ? 0 : naive.loss(ids(of: record, in: dataset), from: dataset.lossStart(of: record))
  }

  @Test(arguments: TrainingMode.allCases) func lossesAreOfTheCompletionsAlone(mode: TrainingMode) throws {
    let model = try SmallModels.configuration(tied: true)
    let dataset = Self.dataset()
    let replica = try SmallModels.replica(mode, model)
    let naive = SmallModels.naive(model, replica.parameters)
    var losses = [Double](repeating: .nan, count: dataset.count)
    let totals = replica.accumulateGradients(of: 0..<dataset.count, in: dataset) { batch, clipping in
      for (own, record) in batch.records.enumerated() {
        losses[record] = batch.loss(ofSequence: own)
        if record == Self.uncounted, let clipping { #expect(clipping.norm(unit: own, group: 0) == 0 && clipping.factor(unit: own, group: 0) == 1) }
      }
    }
    for record in 0..<dataset.count {
      let expected = naiveLoss(naive, record, dataset)
      #expect(abs(losses[record] - expected) <= 1e-5 * expected, "record \(record): \(losses[record]) for \(expected)")
    }
    #expect(totals.units == dataset.count && totals.finiteLosses == dataset.count && totals.clipping.nonFinite == 0)
  }

  /// Nats a target that counts.
  @Test func theMeanLossIsOverTheTargetsThatCount() throws {
    let model = try SmallModels.configuration(tied: true)
    let dataset = Self.dataset()
    let replica = try SmallModels.replica(.standard, model)
    let naive = SmallModels.naive(model, replica.parameters)
    let counted = (0..<dataset.count).map(dataset.countedTargetCount)
    #expect(counted == [11, 2, 9, 1, 0, 3, 1] && dataset.countedTargetCount == 27)
    let expected = (0..<dataset.count).reduce(0) { $0 + naiveLoss(naive, $1, dataset) * Double(counted[$1]) }
    let (sum, targets) = replica.loss(of: 0..<dataset.count, in: dataset)
    #expect(targets == 27 && abs(sum - expected) < 1e-5 * expected)
  }

  /// Every tensor's gradient, that of the tables at the prompts' own tokens and positions among them, by finite differences of the naive loss.
  @Test(arguments: [true, false]) func promptsGetTheirGradientThroughAttention(tied: Bool) throws {
    let model = try SmallModels.configuration(tied: tied)
    let dataset = Self.dataset()
    let replica = try SmallModels.replica(.standard, model)
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
    let gradient = replica.gradientSum.map(Double.init)
    let naive = SmallModels.naive(model, replica.parameters)
    var random = TestRandom(seed: 5)
    for tensor in model.parameterLayout {
      let direction = (0..<tensor.count).map { _ in Double.random(in: -1...1, using: &random) }
      let along = zip(direction, gradient[tensor.range]).reduce(0) { $0 + $1.0 * $1.1 }
      let moved = { (step: Double) -> Double in
        var model = naive
        for j in 0..<tensor.count { model.tensors[tensor.name]![j] += step * direction[j] }
        return (0..<dataset.count).reduce(0) { $0 + naiveLoss(model, $1, dataset) }
      }
      let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5
      let scale = max(abs(difference), 1e-2 * gradient[tensor.range].reduce(0) { $0 + $1 * $1 }.squareRoot())
      #expect(abs(along - difference) < 2e-4 * scale, "\(tensor.name): \(along) for \(difference)")
    }
    // A record of its own: its prompt's tokens are in no target that counts, and learn from the text behind them.
    let alone = Self.dataset([(prompt: "ab", text: "xyz")])
    _ = replica.accumulateGradients(of: [0], in: alone)
    let positions = model.parameterLayout["transformer.wpe.weight"]
    for position in 0..<5 {
      let row = replica.gradientSum[positions.range].dropFirst(position * model.width).prefix(model.width)
      #expect(row.contains { abs($0) > 1e-5 }, "position \(position)")
    }
  }

  @Test(arguments: [TrainingMode.hooks, .ghost], Clipping.allCases) func modesAgreeWithOneRecordAtATime(mode: TrainingMode, clipping: Clipping) throws {
    for (tied, chunked) in [(true, false), (true, true), (false, true)] {
      let model = try SmallModels.configuration(tied: tied)
      let dataset = Self.dataset()
      let alone = try SmallModels.replica(.standard, model, microbatch: 1)
      var expected = [Double](repeating: 0, count: model.parameterCount)
      for record in 0..<dataset.count {
        _ = alone.accumulateGradients(of: [record], in: dataset)
        let gradient = alone.gradientSum.map(Double.init)
        let groups = clipping == .flat ? [0..<gradient.count] : model.parameterLayout.map(\.range)
        for group in groups {
          let norm = gradient[group].reduce(0) { $0 + $1 * $1 }.squareRoot()
          let bound = 2 / Double(groups.count).squareRoot()
          for j in group { expected[j] += (norm > bound ? bound / norm : 1) * gradient[j] }
        }
      }
      for (microbatch, recompute) in [(1, Recomputation.none), (3, .blocks), (16, .none)] {
        let replica = try SmallModels.replica(
          mode, model, clipping: clipping, maxGradNorm: 2, microbatch: microbatch, recompute: recompute,
          choices: .init(logits: chunked ? .chunks(rows: 5) : .whole))
        _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
        #expect(relativeDistance(replica.gradientSum.map(Double.init), expected) < 1e-5, "\(mode) \(clipping) b \(microbatch), tied \(tied)")
      }
    }
  }

  /// A unit one of whose records was cut away altogether: the mean is over all of its records.
  @Test(arguments: [TrainingMode.standard, .hooks, .ghost]) func aRecordWithoutTargetsCountsInItsUnitsMean(mode: TrainingMode) throws {
    let model = try SmallModels.configuration(tied: true)
    let directory = try TemporaryDirectory()
    let file = try directory.file(
      "r.csv", "who,talk,note\nann,ab,cd\nann,\(String(repeating: "p", count: 30)),cut\nbo,\(String(repeating: "q", count: 24)),cut\n")
    let records = try RecordReader.read(file, fields: RecordFields(texts: ["note"], prompt: "talk", unit: "who"))
    let dataset = TokenizedDataset(records, tokenizer: SmallModels.SmallTokenizer(), longestSequence: 24)
    let single = Self.dataset([(prompt: "ab", text: "cd")])
    let alone = try SmallModels.replica(.standard, model, microbatch: 1)
    var loss = 0.0
    _ = alone.accumulateGradients(of: [0], in: single) { batch, _ in loss = batch.loss(ofUnit: 0) }
    let expected = alone.gradientSum.map { Double($0) / 2 }
    let replica = try ModelReplica(
      ReplicaPlan(
        model: model, mode: mode, maxGradNorm: 1000, capacity: Microbatch.Capacity(units: 2, rows: 96, positions: 24, unitRows: 48), optimizer: nil))
    SmallModels.fill(replica.parameters, model)
    var losses = [Double](repeating: .nan, count: 2)
    let totals = replica.accumulateGradients(of: 0..<2, in: dataset) { batch, _ in
      for (own, unit) in batch.units.enumerated() { losses[unit] = batch.loss(ofUnit: own) }
    }
    #expect(totals.units == 2 && totals.finiteLosses == 2)
    #expect(abs(losses[0] - loss / 2) < 1e-5 * loss && losses[1] == 0)
    #expect(relativeDistance(replica.gradientSum.map(Double.init), expected) < 1e-5)
  }

  /// A prompt's row has no target: infinite logits there are nobody's loss; a row that isn't finite below makes its record contribute nothing.
  @Test(arguments: [TrainingMode.hooks, .ghost]) func whatIsNotFiniteInAPromptStaysWithItsRecord(mode: TrainingMode) throws {
    let model = try SmallModels.configuration(tied: false)
    let dataset = Self.dataset([(prompt: "\u{5}", text: "ab"), (prompt: "\u{6}", text: "cd"), (prompt: "\u{7}", text: "")])
    var sums: [[Double]] = []
    for units in [[0, 1, 2], [1, 2]] {
      let replica = try SmallModels.replica(mode, model)
      let table = model.parameterLayout["transformer.wte.weight"]
      replica.parameters[table.offset + 5 * model.width] = .nan
      let totals = replica.accumulateGradients(of: units, in: dataset)
      #expect(totals.clipping.nonFinite == units.count - 2)
      sums.append(replica.gradientSum.map(Double.init))
    }
    #expect(sums[0].allSatisfy(\.isFinite) && relativeDistance(sums[0], sums[1]) < 1e-6)
  }
}
