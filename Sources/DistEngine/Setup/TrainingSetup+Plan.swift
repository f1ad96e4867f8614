extension TrainingSetup {
  /// The plan of this rank, that every node has the memory for.
  ///
  /// Where nothing is asked of the sharding and ranks share a node, one copy of the model does; where /dev/shm has no room for it, as in
  /// containers that don't say otherwise, every rank has its own.
  static func plan(
    _ configuration: TrainingConfiguration, _ sources: Sources, topology: NodeTopology, threads: ThreadCounts,
    limits: [NodeLimit]
  ) throws -> ReplicaPlan {
    let request = PlanRequest(configuration, sources, topology: topology, threads: threads.largest, limits: limits)
    do {
      return try request.plan()
    } catch TrainingError.notEnoughMemory(let what) {
      var apart = request
      apart.configuration.performance.sharding = Sharding.none
      if configuration.performance.sharding == nil, let plan = try? apart.plan() { return plan }
      let alternatives = request.alternatives()
      throw TrainingError.notEnoughMemory(
        what + "; " + (alternatives.isEmpty ? "a smaller --model or --seq-len needs less" : "what would fit: " + alternatives.joined(separator: ", or ")))
    }
  }

  /// What a plan is made from, so that it can be made again with something changed.
  private struct PlanRequest {
    var configuration: TrainingConfiguration
    private let sources: Sources
    private let topology: NodeTopology
    private let threads: Int
    private let limits: [NodeLimit]

    init(
      _ configuration: TrainingConfiguration, _ sources: Sources, topology: NodeTopology, threads: Int, limits: [NodeLimit]
    ) {
      (self.configuration, self.sources, self.topology) = (configuration, sources, topology)
      (self.threads, self.limits) = (threads, limits)
    }

    /// A microbatch may hold any record, held-out ones included.
    func plan() throws -> ReplicaPlan {
      let (training, evaluation) = (sources.training, sources.evaluation)
      let most = configuration.unitField == nil ? 1 : configuration.maxRecordsPerUnit
      let largestUnit = configuration.unitField == nil ? 0 : training.largestUnit(ofRecords: most)
      let capacities = configuration.performance.capacities(
        mode: configuration.mode, clipping: configuration.clipping, positions: max(training.longestSequence, evaluation?.longestSequence ?? 1),
        lengths: training.unitLengths(ofRecords: most), largestUnit: largestUnit, model: sources.model, trainable: configuration.trainable)
      return try ReplicaPlan(
        fastestFor: configuration, model: sources.model, capacities: capacities, largestUnit: largestUnit, optimizer: configuration.optimizer,
        stored: sources.stored, threads: threads, shards: configuration.performance.shards(
          sources.model.parameterTable(trainable: configuration.trainable).trained, topology: topology),
        limits: limits)
    }

    /// Options that would make the run fit, each alone; where none does, the first that do together.
    func alternatives() -> [String] {
      let changes: [(String, (inout TrainingConfiguration) -> Void)] = [
        ("--microbatch auto", { $0.performance.microbatch = nil }),
        ("--recompute blocks", { $0.performance.recompute = .blocks }),
        ("--shard node", { $0.performance.sharding = .node }),
        ("--shard none", { $0.performance.sharding = Sharding.none }),
        ("--mode ghost", { $0.mode = .ghost }),
      ]
      let alone = changes.compactMap { option, change in
        var changed = self
        change(&changed.configuration)
        return (try? changed.plan()) == nil ? nil : option
      }
      if !alone.isEmpty { return alone }
      var together = self
      (together.configuration.mode, together.configuration.performance.microbatch) = (configuration.mode.isPrivate ? .ghost : .standard, nil)
      let mode = "--mode \(together.configuration.mode.rawValue) --microbatch auto"
      if (try? together.plan()) != nil { return [mode] }
      together.configuration.performance.recompute = .blocks
      return (try? together.plan()) == nil ? [] : [mode + " --recompute blocks"]
    }
  }
}
