import DistEngine
import Foundation
import TestSupport
import Testing

/// The float32 model against a naive one in Double, and its gradients against finite differences of that.
@Suite struct TransformerGradientTests {
  @Test(arguments: try SmallModels.all())
  func lossEqualsTheNaiveModels(model: ModelConfiguration) throws {
    let dataset = SmallModels.dataset()
    let replica = try SmallModels.replica(.standard, model)
    let naive = SmallModels.naive(model, replica.parameters)
    var losses: [Int: Double] = [:]
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset) { batch, _ in
      for (record, unit) in batch.units.enumerated() { losses[unit] = batch.loss(ofUnit: record) }
    }
    for unit in 0..<dataset.count {
      let expected = naive.loss(ids(of: unit, in: dataset))
      #expect(abs(losses[unit]! - expected) < 1e-5 * expected, "record \(unit)")
    }
  }

  /// Along a random direction in each tensor, `⟨∇, v⟩` is the derivative of the naive loss.
  @Test(arguments: try SmallModels.all(layers: 3), Recomputation.allCases)
  func everyTensorsGradientEqualsFiniteDifferences(model: ModelConfiguration, recompute: Recomputation) throws {
    let dataset = SmallModels.dataset()
    let replica = try SmallModels.replica(.standard, model, recompute: recompute)
    let units = [1, 3, 4, 9]
    _ = replica.accumulateGradients(of: units, in: dataset)
    let gradient = replica.gradientSum
    let naive = SmallModels.naive(model, replica.parameters)
    var generator = TestRandom(seed: 5)
    for tensor in model.parameterLayout {
      let direction = (0..<tensor.count).map { _ in Double.random(in: -1...1, using: &generator) }
      let along = zip(direction, gradient[tensor.range]).reduce(0) { $0 + $1.0 * Double($1.1) }
      let step = 1e-5
      let moved = { (sign: Double) -> Double in
        var model = naive
        for j in 0..<tensor.count { model.tensors[tensor.name]![j] += sign * step * direction[j] }
        return units.reduce(0) { $0 + model.loss(ids(of: $1, in: dataset)) }
      }
      let difference = (moved(1) - moved(-1)) / (2 * step)
      let scale = max(abs(difference), 1e-2 * (gradient[tensor.range].reduce(0) { $0 + Double($1 * $1) }).squareRoot())
      #expect(abs(along - difference) < 2e-4 * scale, "\(tensor.name): \(along) for \(difference)")
    }
  }

  @Test func gradientsInChunksOfLogitsAreTheSame() throws {
    for tied in [true, false] {
      let model = try SmallModels.configuration(tied: tied)
      let dataset = SmallModels.dataset()
      let whole = try SmallModels.replica(.standard, model, choices: .init(logits: .whole))
      let chunks = try SmallModels.replica(.standard, model, choices: .init(logits: .chunks(rows: 5)))
      for replica in [whole, chunks] { _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset) }
      let distance = relativeDistance(
        chunks.gradientSum.map(Double.init), whole.gradientSum.map(Double.init))
      #expect(distance < 1e-6)
    }
  }

  /// Blocks of queries: a record longer than a block, at lengths around its multiples.
  @Test(arguments: [127, 128, 129, 300], [true, false])
  func attentionOverSeveralBlocksEqualsTheNaiveModels(length: Int, isLlama: Bool) throws {
    let model =
      isLlama
      ? try SmallModels.llama(tied: true, layers: 1, width: 8, positions: 300)
      : try SmallModels.configuration(tied: true, layers: 1, width: 8, positions: 300)
    let text = String((0..<length - 1).map { Character(UnicodeScalar(UInt8(65 + $0 * 7 % 26))) })
    let dataset = TokenizedDataset(
      RecordStore([text, String(text.reversed())]), tokenizer: SmallModels.SmallTokenizer(), longestSequence: 300)
    let replica = try SmallModels.replica(.standard, model, microbatch: 2, positions: 300)
    var losses = [0.0, 0.0]
    _ = replica.accumulateGradients(of: [1, 0], in: dataset) { batch, _ in
      for (record, unit) in batch.units.enumerated() { losses[unit] = batch.loss(ofUnit: record) }
    }
    let naive = SmallModels.naive(model, replica.parameters)
    for unit in 0..<2 {
      #expect(abs(losses[unit] - naive.loss(ids(of: unit, in: dataset))) < 1e-5)
    }
    // The query, key and value gradients by finite differences, in a direction that touches every position.
    let gradient = replica.gradientSum
    for name in isLlama ? ["q_proj", "k_proj", "v_proj"].map({ "model.layers.0.self_attn.\($0).weight" }) : ["transformer.h.0.attn.c_attn.weight"] {
      let tensor = model.parameterLayout[name]
      var generator = TestRandom(seed: 9)
      let direction = (0..<tensor.count).map { _ in Double.random(in: -1...1, using: &generator) }
      let along = zip(direction, gradient[tensor.range]).reduce(0) { $0 + $1.0 * Double($1.1) }
      let moved = { (step: Double) -> Double in
        var model = naive
        for j in 0..<tensor.count { model.tensors[tensor.name]![j] += step * direction[j] }
        return [0, 1].reduce(0) { $0 + model.loss(ids(of: $1, in: dataset)) }
      }
      let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5
      #expect(abs(along - difference) < 1e-3 * max(abs(difference), 1e-2), "\(along) for \(difference)")
    }
  }

  private func ids(of unit: Int, in dataset: TokenizedDataset) -> [Int] {
    dataset.inputs(of: unit).map(Int.init) + [Int(dataset.targets(of: unit).last!)]
  }
}
