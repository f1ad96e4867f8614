/// Steps on the same records over and over: for measurements, which need the same work in every step.
///
/// Every rank has as many records, and they divide the model's state as the plan says.
///
/// NOT private: nothing is sampled, and every step's noise is drawn from a key that is known.
package struct FixedBatchRun {
  package var mode: TrainingMode { replica.plan.mode }
  package var recompute: Recomputation { replica.plan.recompute }
  package var products: LayerProducts { replica.plan.products }
  private let replica: ModelReplica
  private let dataset: TokenizedDataset
  /// nil: this process alone, without MPI.
  private let exchange: ModelStateExchange?
  private let mechanism: GaussianMechanism
  private var optimizer: Optimizer

  /// A fresh model with AdamW in this process alone, and all of `dataset` as the batch.
  ///
  /// - Parameters:
  ///   - capacity: of a microbatch; nil: as a run with these options has it.
  ///   - threads: of the largest team that steps run in.
  package init(
    model: ModelConfiguration, mode: TrainingMode, clipping: Clipping, microbatch: Int?, recompute: Recomputation,
    dataset: TokenizedDataset, capacity: Microbatch.Capacity? = nil, threads: Int = 1, precision: Precision = .f32
  ) throws {
    var configuration = TrainingConfiguration()
    configuration.mode = mode
    configuration.clipping = clipping
    configuration.performance.microbatch = microbatch
    configuration.performance.recompute = recompute
    configuration.precision = try Optional(precision).decided(model, refusal: BFloat16Probe.refusal())
    let capacities = capacity.map { [$0] } ?? configuration.performance.capacities(
      mode: mode, clipping: clipping, positions: dataset.longestSequence, lengths: dataset.unitLengths(ofRecords: 1), model: model)
    let plan = try ReplicaPlan(
      fastestFor: configuration, model: model, capacities: capacities, optimizer: configuration.optimizer, threads: threads)
    let replica = try ModelReplica(plan, norms: .timed(plan.timeNorms()))
    self.init(replica, dataset: dataset)
  }

  /// Fresh parameters for a replica in this process alone.
  package init(_ replica: ModelReplica, dataset: TokenizedDataset) {
    replica.plan.table.initialise(
      trained: replica.parameters, frozen: replica.frozen, from: GaussianSource(Self.key.subKey(for: .initialisation)))
    self.init(replica, dataset: dataset, exchange: nil)
  }

  /// Fresh parameters for a replica, the same on every rank, and all of `dataset` as this rank's share of the batch. Collective.
  ///
  /// - Precondition: the replica's plan has an optimizer.
  package init(_ replica: ModelReplica, dataset: TokenizedDataset, exchange: ModelStateExchange) throws {
    try replica.loadParameters(from: nil, key: Self.key, communicator: exchange.world, exchange: exchange)
    self.init(replica, dataset: dataset, exchange: Optional(exchange))
  }

  private init(_ replica: ModelReplica, dataset: TokenizedDataset, exchange: ModelStateExchange?) {
    self.replica = replica
    self.dataset = dataset
    self.exchange = exchange
    mechanism = GaussianMechanism(noiseMultiplier: 1, expectedBatchSize: dataset.count, source: GaussianSource(Self.key.subKey(for: .noise)))
    optimizer = replica.makeOptimizer()
  }

  private static let key = RandomKey(seed: 1)

  package var plannedBytes: Int { replica.arena.layout.byteCount }
  /// What a microbatch may hold.
  package var capacity: Microbatch.Capacity { replica.plan.capacity }
  /// The most records that a microbatch has.
  package var microbatchRecords: Int { replica.plan.capacity.units }

  /// Gradient, noise, sum over ranks and update. Collective.
  ///
  /// - Parameters:
  ///   - team: no larger than planned; nil takes the replica's own.
  ///   - overlaps: false: sums over hosts are made when all of it is there.
  /// - Returns: seconds.
  package mutating func step(_ index: Int, team: ThreadTeam? = nil, overlaps: Bool = true) throws -> Double {
    let start = ContinuousClock.now
    try (team ?? replica.team).use { try compute(index, overlaps ? exchange : exchange?.atOnce) }
    return (ContinuousClock.now - start).seconds
  }

  /// What the last step has spent in collectives when its gradients and noise were there.
  package private(set) var exposedSeconds = 0.0

  private mutating func compute(_ index: Int, _ exchange: ModelStateExchange?) throws {
    let batches = replica.batches(of: 0..<dataset.count, in: dataset)
    _ = replica.accumulateGradients(of: batches, in: dataset, exchange: exchange) { elements in
      guard let sum = replica.accumulator?.clippedSum else { return }
      mechanism.addNoise(to: sum, step: index, elements: (exchange?.plan.noiseElements ?? 0..<Int.max).clamped(to: elements))
    }
    let before = exchange?.world.activity.seconds ?? 0
    defer { exposedSeconds = (exchange?.world.activity.seconds ?? 0) - before }
    try replica.update(
      by: &optimizer, exchange: exchange, gradientScale: 1 / Double(dataset.count * (exchange?.world.size ?? 1)), learningRate: 1e-4)
  }
}

extension TokenizedDataset {
  /// Records of `length` targets each, all different: for measurements.
  ///
  /// - Parameter labels: how many a classifier has; nil: for a language model.
  package static func synthetic(records: Int, length: Int, labels: Int? = nil) -> TokenizedDataset {
    synthetic(lengths: [Int](repeating: length, count: records), labels: labels)
  }

  /// A record of so many targets each.
  package static func synthetic(lengths: [Int], labels: Int? = nil) -> TokenizedDataset {
    let longest = lengths.max() ?? 1
    let texts = lengths.enumerated().map { record, length -> [UInt8] in
      // One id more stands before or behind, and is a language model's first input.
      (0..<(labels == nil ? length - 1 : length)).map { place -> UInt8 in
        let letter: Int = (place * 7 + record * 13) % 90
        return UInt8(32 + letter)
      }
    }
    guard let labels else { return TokenizedDataset(RecordStore(texts), tokenizer: ByteTokenizer(), longestSequence: longest) }
    return TokenizedDataset(
      RecordStore(texts.map { $0[...] }, labels: texts.indices.map { Int32($0 % labels) }), tokenizer: ByteTokenizer(), format: .classification,
      longestSequence: longest)
  }
}
