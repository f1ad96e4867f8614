/// Steps on the same records over and over: for measurements, which need the same work in every step.
///
/// Every rank has as many records, the gradients are added up over ranks, rank 0 adds the noise, every rank makes the update.
///
/// NOT private: nothing is sampled, and every step's noise is drawn from a key that is known.
package struct FixedBatchRun {
  package var mode: TrainingMode { replica.plan.mode }
  private let replica: ModelReplica
  private let dataset: TokenizedDataset
  /// nil: this process alone, without MPI.
  private let communicator: Communicator?
  private let mechanism: GaussianMechanism
  private var optimizer: Optimizer

  /// A fresh model with AdamW in this process alone, and all of `dataset` as the batch.
  package init(
    model: ModelConfiguration, mode: TrainingMode, clipping: Clipping, microbatch: Int?, dataset: TokenizedDataset
  ) throws {
    let capacity = PerformanceOptions(microbatch: microbatch)
      .capacity(
        mode: mode, positions: dataset.longestSequence, typicalPositions: dataset.meanTargetCount,
        parameterCount: model.parameterCount)
    let plan = ReplicaPlan(
      model: model, mode: mode, clipping: clipping, capacity: capacity,
      optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01))
    self.init(try ModelReplica(plan), dataset: dataset, communicator: nil)
  }

  /// Fresh parameters for a replica, the same on every rank, and all of `dataset` as this rank's share of the batch.
  ///
  /// - Precondition: the replica's plan has an optimizer.
  package init(_ replica: ModelReplica, dataset: TokenizedDataset, communicator: Communicator?) {
    self.replica = replica
    self.dataset = dataset
    self.communicator = communicator
    let key = RandomKey(seed: 1)
    replica.plan.layout.initialise(
      replica.parameters, replica.plan.model, from: GaussianSource(key.subKey(for: .initialisation)))
    mechanism = GaussianMechanism(noiseMultiplier: 1, source: GaussianSource(key.subKey(for: .noise)))
    optimizer = replica.makeOptimizer()
  }

  package var plannedBytes: Int { replica.arena.layout.byteCount }

  /// Gradient, noise, sum over ranks and update. Collective.
  ///
  /// - Returns: seconds.
  package mutating func step(_ index: Int) throws -> Double {
    let start = ContinuousClock.now
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
    if let sum = replica.accumulator?.clippedSum, (communicator?.rank ?? 0) == 0 { mechanism.addNoise(to: sum, step: index) }
    try communicator?.allreduceSum(replica.gradientSum)
    optimizer.update(
      parameters: replica.parameters, gradient: replica.gradientSum,
      gradientScale: 1 / Double(dataset.count * (communicator?.size ?? 1)), learningRate: 1e-4)
    return (ContinuousClock.now - start).seconds
  }
}

extension TokenizedDataset {
  /// Records of `length` targets each, all different: for measurements.
  package static func synthetic(records: Int, length: Int) -> TokenizedDataset {
    let texts = (0..<records).map { record -> [UInt8] in
      (0..<length).map { place -> UInt8 in
        let letter: Int = (place * 7 + record * 13) % 90
        return UInt8(32 + letter)
      }
    }
    return TokenizedDataset(RecordStore(texts), tokenizer: ByteTokenizer(), longestSequence: length)
  }
}
