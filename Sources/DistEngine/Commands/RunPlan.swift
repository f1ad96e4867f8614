import PrivacyAccounting

/// What a training run would need and cost, found out without starting it: no rank is asked and no buffer allocated. What
/// `dp-mpirun plan` prints.
public struct RunPlan: Sendable {
  /// Bytes of one category where the step's timeline is fullest.
  public struct CategorySize: Sendable {
    public let category: MemoryPlan.Category
    /// Of one rank.
    public let byteCount: Int
    /// Of the ranks of the fullest node.
    public let nodeByteCount: Int
  }

  public let mode: TrainingMode
  public let clipping: Clipping
  public let model: String
  public let parameters: Int
  public let ranks: Int
  public let ranksPerNode: Int
  /// Records and targets as in a run: B, N₀ and T, and what a microbatch may hold.
  public let trainingRecords: Int
  /// What privacy protects and a step draws; each record is one unless --unit names them.
  public let trainingUnits: Int
  /// Whether the largest unit doesn't fit a microbatch: its gradient is then summed part by part, and clipped as one.
  public let takesUnitsInParts: Bool
  public let datasetSize: Int
  public let batchSize: Int
  public let longestRecord: Int
  public let steps: Int
  public let microbatchExamples: Int
  public let microbatchRows: Int
  /// Targets from which on a unit gets a microbatch of its own; nil: it shares one where others fit.
  public let ownMicrobatchRows: Int?
  /// Of the linear layers' products, as decided.
  public let precision: Precision
  public let sharding: Sharding
  /// Bytes of a rank's buffers, as they are laid out, those included that its node shares.
  public let rankBytes: Int
  /// Bytes that all ranks of a node have in common.
  public let sharedBytes: Int
  /// Bytes of the records as ids, with where each begins, which a node's ranks share. They come on top of the buffers.
  public let dataBytes: Int
  /// Bytes that the memory budget allows a rank for its own; nil where it sets no limit.
  public let budgetBytes: Int?
  public let categories: [CategorySize]
  public let largestBuffers: [MemoryPlan.BufferGroup]
  /// Rows of logits held at a time; nil holds those of the whole microbatch.
  public let logitChunkRows: Int?
  public let keepsOnlyExample: Bool
  /// Of each shape of layer whose norms are taken; empty with a seed, where nothing hangs on timings.
  public let norms: [NormTiming]
  public let noiseMultiplier: Double
  public let epsilon: ExtendedReal
  /// nil in `standard`.
  public let delta: Double?
  public let accountant: AccountantKind?
  public let isPrivate: Bool
  /// What a run with `--output` writes.
  public let checkpointBytes, checkpointCount, diskBytes: Int
  /// The model's own matrix products, expected over the draw of a step, and for one target on average.
  public let flopsPerStep: Double
  public let flopsPerTarget: Double
  /// nil where nobody asks.
  public let time: TimePlan?

  /// Reads the data, calibrates the noise and times the norms, as a run does.
  ///
  /// - Parameters:
  ///   - ranks: of the whole job.
  ///   - ranksPerNode: on the fullest node.
  ///   - predictsTime: times, within seconds, what a step does, too.
  ///   - link: between nodes, for that; nil: there is one node.
  /// - Throws: what a run would refuse, and what can't be predicted.
  public init(_ configuration: TrainingConfiguration, ranks: Int, ranksPerNode: Int, predictsTime: Bool = false, link: Link? = nil) throws {
    let nodes = (0..<ranks).map { $0 / ranksPerNode }
    let topology = NodeTopology(
      rank: 0, nodeOfRank: nodes, hosts: (0...nodes[ranks - 1]).map { "node \($0)" })
    let setup = try TrainingSetup(alone: configuration, topology: topology, ranksPerNode: ranksPerNode)
    let plan = setup.plan
    precision = setup.configuration.precision ?? .f32
    sharding = plan.shards.sharding
    mode = configuration.mode
    clipping = configuration.clipping
    model = configuration.model
    parameters = setup.model.parameterCount
    self.ranks = ranks
    self.ranksPerNode = ranksPerNode
    trainingRecords = setup.training.count
    trainingUnits = setup.training.unitCount
    takesUnitsInParts = plan.hasLargeUnits
    datasetSize = setup.datasetSize
    batchSize = configuration.batchSize
    longestRecord = setup.training.longestSequence
    steps = setup.steps
    microbatchExamples = plan.capacity.units
    microbatchRows = plan.capacity.rows
    ownMicrobatchRows = plan.capacity.ownMicrobatchRows
    rankBytes = plan.memory.byteCountOfRank
    sharedBytes = plan.memory.sharedByteCount()
    dataBytes = setup.training.byteCount + (setup.evaluation?.byteCount ?? 0)
    budgetBytes = plan.budgetBytes
    categories = plan.memory.bytesByCategoryAtPeak().map { category, byteCount in
      let shared = plan.memory.sharedByteCount(category: category)
      return CategorySize(
        category: category, byteCount: byteCount, nodeByteCount: ranksPerNode * (byteCount - shared) + shared)
    }
    largestBuffers = Array(plan.memory.bufferGroups().prefix(Self.buffersShown))
    logitChunkRows = plan.logitChunkRows
    keepsOnlyExample = plan.choices.keepsOnlyExample
    norms = setup.timesNorms ? plan.timeNorms() : []
    let statement = try PrivacyStatement(setup, steps: setup.mostCharges)
    (epsilon, delta, isPrivate) = (statement.epsilon, statement.delta, statement.isPrivate)
    noiseMultiplier = statement.noiseMultiplier
    accountant = setup.privacy?.accountant
    let disk = DiskNeed(setup)
    (checkpointBytes, checkpointCount, diskBytes) = (disk.checkpoint, disk.checkpointCount, disk.all)
    if let output = configuration.output {
      try DiskRoom.check(disk.all - CheckpointDirectory(path: "\(output)/checkpoints").byteCount(), in: output)
    }
    let work = setup.training.work(of: setup.model, trainable: configuration.trainable)
    flopsPerStep = work.flops * Double(configuration.batchSize) / Double(setup.datasetSize)
    flopsPerTarget = work.flops / Double(work.targets)
    time = predictsTime ? try TimePlan(setup, norms: norms, ranks: ranks, ranksPerNode: ranksPerNode, link: link) : nil
  }

  private static let buffersShown = 10

  /// Bytes on the fullest node.
  public var nodeBytes: Int { ranksPerNode * (rankBytes - sharedBytes) + sharedBytes }
}

extension TokenizedDataset {
  /// The model's own products for one pass over all records.
  fileprivate func work(of model: ModelConfiguration, trainable: TrainableParameters) -> (flops: Double, targets: Int) {
    // Every length once: a declaration of the model stands behind each.
    var flopsOfLength: [Int: Double] = [:]
    let flops = (0..<count).reduce(0.0) { sum, record in
      let targets = targetCount(of: record)
      let own = flopsOfLength[targets] ?? model.trainingFlops(targets: targets, trainable: trainable)
      flopsOfLength[targets] = own
      return sum + own
    }
    return (flops, totalTargetCount)
  }
}
