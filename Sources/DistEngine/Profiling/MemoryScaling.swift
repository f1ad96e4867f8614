/// Memory scaling runs: every combination of a configuration, one after the other, over all ranks.
///
/// NOT private: records are synthetic, all of full length, and every step has the same ones.
public enum MemoryScaling {
  /// Refuses what can't be, then measures; collective. A combination that doesn't fit, or that the system refuses, is a record
  /// that says so, and the run goes on.
  ///
  /// - Parameters:
  ///   - output: a directory for the report's files; refused where it holds any.
  ///   - earlier: reports of earlier runs, whose records come first.
  ///   - observe: sees each new record on rank 0, as soon as it's made.
  /// - Returns: the report, on rank 0; the others' has no earlier records.
  public static func run(
    _ configuration: MemoryScalingConfiguration, output: String?, merging earlier: [String], environment: MPIEnvironment,
    observe: (MemoryRecord) -> Void
  ) throws -> MemoryReport {
    let world = environment.world
    try world.agree("configuration") { try configuration.validate() }
    let models = try world.agree("models") { try shapes(configuration) }
    try world.requireEqual("options", Array("\(configuration) \(models)".utf8))
    var report = try world.agree("output") {
      guard world.rank == 0 else { return MemoryReport() }
      if let output { try MemoryReport.prepare(directory: output) }
      return try MemoryReport(merging: earlier)
    }
    var precisions: [String: Precision] = [:]
    for name in configuration.models {
      let precision = try world.decidedPrecision(configuration.precision, models[name]!)
      precisions[name] = precision
      if precision != .f32 { report.note("\(name): products of \(precision.rawValue), by \(BFloat16Probe.description())") }
    }
    let peaksAreReset = try canResetPeaks(&report, environment)
    try warmUp(environment)
    let threads = try ThreadCounts(PerformanceOptions(), in: environment)
    for combination in configuration.combinations(environment.topology) {
      let record = try MemoryTrial(
        combination: combination, model: models[combination.model]!, precision: precisions[combination.model]!, optimizer: configuration.optimizer,
        steps: configuration.steps, memoryBudget: configuration.memoryBudgetMb.map { $0 * MemoryMeter.megabyte },
        peaksAreReset: peaksAreReset, threads: threads, environment: environment
      ).run()
      report.records.append(record)
      if world.rank == 0 { observe(record) }
    }
    try world.agree("output") {
      if world.rank == 0, let output { try report.write(to: output) }
    }
    return report
  }

  private static func shapes(_ configuration: MemoryScalingConfiguration) throws -> [String: ModelConfiguration] {
    var shapes: [String: ModelConfiguration] = [:]
    for name in configuration.models {
      let shape = try ModelSource.resolve(name, task: .anything).configuration
      if let length = configuration.sequenceLengths.first(where: { $0 > shape.positions }) {
        throw TrainingError.badOption(
          option: "--seq-lens", value: "\(length)", allowed: "at most \(shape.positions), the positions of \(name)")
      }
      shapes[name] = shape
    }
    return shapes
  }

  /// Asks the kernels whether a process may reset its peak, and notes where not.
  private static func canResetPeaks(_ report: inout MemoryReport, _ environment: MPIEnvironment) throws -> Bool {
    let refusals = try environment.world.allgather(MemoryMeter.resetPeak() ?? "")
    for (rank, refusal) in refusals.enumerated() where !refusal.isEmpty {
      let host = environment.topology.hosts[environment.topology.nodeOfRank[rank]]
      report.note(
        "rank \(rank) on \(host): /proc/self/clear_refs: \(refusal): peaks are those of the process's whole life, earlier "
          + "combinations included")
    }
    return refusals.allSatisfy(\.isEmpty)
  }

  /// One step of the smallest model, so that what the libraries set up at their first use is not taken for the first combination's.
  private static func warmUp(_ environment: MPIEnvironment) throws {
    let model = ModelPreset.tiny.configuration
    let plan = ReplicaPlan(
      model: model, mode: .ghost, capacity: Microbatch.Capacity(units: 2, rows: 16, positions: 8),
      optimizer: .sgd(momentum: 0, weightDecay: 0),
      shards: ShardPlan(model.parameterLayout, sharding: .none, noise: .rank0, topology: environment.topology))
    let exchange = try ModelStateExchange(plan.shards, parameterCount: plan.layout.totalCount, environment: environment)
    let replica = try environment.world.agree("memory") { try ModelReplica(plan) }
    var run = try FixedBatchRun(replica, dataset: .synthetic(records: 2, length: 8), exchange: exchange)
    _ = try run.step(0)
  }
}
