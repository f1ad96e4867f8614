/// Steps on the same records over and over, on one rank: for benchmarks, which need the same work in every step.
///
/// NOT private: nothing is sampled, and every step's noise is drawn from a key that is known.
package struct FixedBatchRun {
  package let mode: TrainingMode
  package let recompute: Recomputation
  private let replica: ModelReplica
  private let dataset: TokenizedDataset
  private let mechanism: GaussianMechanism
  private var optimizer: Optimizer

  /// A fresh model with AdamW, and all of `dataset` as the batch.
  package init(
    model: ModelConfiguration, mode: TrainingMode, clipping: Clipping, microbatch: Int?, recompute: Recomputation,
    dataset: TokenizedDataset
  ) throws {
    self.mode = mode
    self.recompute = recompute
    self.dataset = dataset
    var configuration = TrainingConfiguration()
    configuration.mode = mode
    configuration.clipping = clipping
    configuration.performance.microbatch = microbatch
    configuration.performance.recompute = recompute
    let capacity = configuration.performance.capacity(
      mode: mode, positions: dataset.longestSequence, typicalPositions: dataset.meanTargetCount,
      parameterCount: model.parameterCount)
    let plan = try ReplicaPlan(
      fastestFor: configuration, model: model, capacity: capacity, optimizer: configuration.optimizer)
    replica = try ModelReplica(plan, norms: .timed(plan.timeNorms()))
    let key = RandomKey(seed: 1)
    replica.plan.layout.initialise(
      replica.parameters, model, from: GaussianSource(key.subKey(for: .initialisation)))
    mechanism = GaussianMechanism(noiseMultiplier: 1, source: GaussianSource(key.subKey(for: .noise)))
    optimizer = replica.makeOptimizer()
  }

  package var plannedBytes: Int { replica.arena.layout.byteCount }

  /// Gradient, noise and update.
  ///
  /// - Returns: seconds.
  package mutating func step(_ index: Int) -> Double {
    let start = ContinuousClock.now
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
    if let sum = replica.accumulator?.clippedSum { mechanism.addNoise(to: sum, step: index) }
    optimizer.update(replica.updatedParts, gradientScale: 1 / Double(dataset.count), learningRate: 1e-4)
    return (ContinuousClock.now - start).seconds
  }
}
