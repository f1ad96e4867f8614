import DistEngine
import Foundation
import TestSupport
import Testing

/// Frozen tensors: no gradient, noise, moment, slice or clip factor for them.
@Suite struct FrozenTests {
  static let configurations: [(TrainingMode, Clipping)] = [(.standard, .flat), (.hooks, .flat), (.hooks, .perLayer), (.ghost, .flat), (.ghost, .perLayer)]

  private func replica(
    _ mode: TrainingMode, _ clipping: Clipping, _ model: ModelConfiguration, _ trainable: TrainableParameters, recompute: Recomputation = .none,
    microbatch: Int = 3, chunked: Bool = false
  ) throws -> ModelReplica {
    let plan = ReplicaPlan(
      model: model, mode: mode, clipping: clipping, maxGradNorm: 3,
      capacity: Microbatch.Capacity(units: microbatch, rows: microbatch * 24, positions: 24), recompute: recompute,
      optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1), trainable: trainable,
      choices: .init(logits: chunked ? .chunks(rows: 5) : .whole))
    let replica = try ModelReplica(plan)
    let whole = AlignedBuffer<Float>(count: model.parameterCount)
    SmallModels.fill(whole.elements, model)
    for entry in plan.table.whole { _ = replica.values(of: entry).update(fromContentsOf: whole.elements[entry.range]) }
    return replica
  }

  /// The trained part's gradient is that of the whole model, restricted and clipped by its own norm.
  @Test(arguments: [TrainableParameters.bias, .head], try SmallModels.all().filter { $0.biases != .none })
  func theSumIsTheWholeModelsRestricted(trainable: TrainableParameters, model: ModelConfiguration) throws {
    let dataset = SmallModels.dataset()
    let single = try SmallModels.replica(.standard, model, microbatch: 1)
    let layout = model.parameterLayout
    let trained = model.parameterTable(trainable: trainable).trained
    for (mode, clipping) in Self.configurations {
      var expected = [Double](repeating: 0, count: trained.totalCount)
      for unit in 0..<dataset.count {
        _ = single.accumulateGradients(of: [unit], in: dataset)
        let gradients = trained.map { entry in single.gradientSum[layout[entry.name].range].map(Double.init) }
        let squares = gradients.map { $0.reduce(0) { $0 + $1 * $1 } }
        let whole = squares.reduce(0, +).squareRoot()
        for (entry, gradient) in zip(trained, gradients) {
          let norm = clipping == .flat ? whole : squares[entry.index].squareRoot()
          let bound = clipping == .flat ? 3 : 3 / Double(trained.count).squareRoot()
          let factor = mode == .standard || norm <= bound ? 1 : bound / norm
          for (j, value) in zip(entry.range, gradient) { expected[j] += factor * value }
        }
      }
      for recompute in Recomputation.allCases {
        for (microbatch, chunked) in [(1, false), (3, true), (16, false)] {
          let own = try replica(mode, clipping, model, trainable, recompute: recompute, microbatch: microbatch, chunked: chunked)
          #expect(own.tensorsWithoutGradient() == [])
          _ = own.accumulateGradients(of: 0..<dataset.count, in: dataset)
          let distance = relativeDistance(own.gradientSum.map(Double.init), expected)
          #expect(distance < 1e-5, "\(trainable) \(mode) \(clipping) \(recompute) b \(microbatch): \(distance)")
        }
      }
    }
  }

  @Test(arguments: [TrainableParameters.bias, .head]) func frozenBytesStayAndTrainedTensorsMove(trainable: TrainableParameters) throws {
    let model = try SmallModels.configuration(tied: true)
    let dataset = SmallModels.dataset()
    let replica = try replica(.ghost, .flat, model, trainable)
    let (frozen, before) = (Array(replica.frozen), Array(replica.parameters))
    #expect(frozen.count + before.count == model.parameterCount && !frozen.isEmpty && !before.isEmpty)
    var optimizer = replica.makeOptimizer()
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
    optimizer.update(replica.updatedParts, gradientScale: 0.1, learningRate: 0.1)
    #expect(replica.frozen.elementsEqual(frozen))
    for entry in replica.plan.layout { #expect(!replica.parameters[entry.range].elementsEqual(before[entry.range]), "\(entry.name)") }
  }

  /// What the plan holds beside parameters is of the trained ones alone; nothing is kept for a backward pass that doesn't run.
  @Test func thePlanHasNoStateForWhatIsFrozen() {
    let model = ModelPreset.small.configuration
    func bytes(_ trainable: TrainableParameters, _ category: MemoryPlan.Category) -> Int {
      let plan = ReplicaPlan(
        model: model, mode: .ghost, capacity: Microbatch.Capacity(units: 4, rows: 512, positions: 128),
        optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0), trainable: trainable)
      return plan.memory.buffers.filter { $0.category == category }.reduce(0) { $0 + $1.byteCount }
    }
    let biases = model.parameterTable(trainable: .bias).trained.totalCount
    #expect(bytes(.bias, .gradients) == 4 * biases && bytes(.bias, .optimizerState) == 8 * biases)
    #expect(bytes(.bias, .parameters) == bytes(.all, .parameters))
    let untied = ModelPreset.seedMedium.configuration
    let plan = ReplicaPlan(
      model: untied, mode: .ghost, capacity: Microbatch.Capacity(units: 4, rows: 512, positions: 128), optimizer: nil, trainable: .head)
    let kept = plan.memory.buffers.filter { $0.name.hasPrefix("h.") && $0.byteCount > 0 && $0.lifetime.count > 1 }
    #expect(kept.map(\.name) == [], "the head alone is trained: no block keeps anything")
  }
}
