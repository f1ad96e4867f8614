import Foundation

/// One combination in fresh state: planned, allocated, run for some steps, released, and measured all along. Collective.
struct MemoryTrial {
  let combination: MemoryCombination
  let model: ModelConfiguration
  let precision: Precision
  let optimizer: OptimizerConfiguration
  let steps: Int
  let memoryBudget: Int?
  let peaksAreReset: Bool
  let threads: ThreadCounts
  let environment: MPIEnvironment

  private var world: Communicator { environment.world }

  /// Every rank gets the same record.
  func run() throws -> MemoryRecord {
    let plan = plan(microbatch: combination.microbatch)
    let limits = try NodeLimit.ofAllNodes(budget: memoryBudget, environment: environment)
    let planned = try world.allgather(plan.memory.byteCountOfRank)
    let refusals = limits.compactMap { $0.refusal(of: plan.ofFirstRank) }
    var measured: Measurement?
    var reason = refusals.isEmpty ? nil : refusals.joined(separator: "; ")
    if refusals.isEmpty {
      do {
        measured = try measure(plan)
      } catch let failure as AgreedFailure {
        reason = failure.message
      }
    }
    return MemoryRecord(
      combination: combination, parameters: model.parameterCount,
      outcome: measured != nil ? .measured : refusals.isEmpty ? .failed : .skipped, reason: reason,
      byRank: try byRank(plan, planned: planned, measured: measured),
      byNode: limits.indices.map { group([$0], limits: limits, plan: plan, measured: measured) },
      total: group(Array(limits.indices), limits: limits, plan: plan, measured: measured),
      stepSecondsMedian: measured?.stepSeconds,
      largestMicrobatch: limits.compactMap { limit in
        limit.largestMicrobatch { limit.needed(by: self.plan(microbatch: $0).ofFirstRank) }
      }.min(), peakWasReset: peaksAreReset)
  }

  private func plan(microbatch: Int) -> ReplicaPlan {
    let length = combination.seqLen
    var options = PerformanceOptions(microbatch: microbatch)
    options.sharding = combination.sharding
    return ReplicaPlan(
      model: model, mode: combination.mode,
      capacity: options.capacities(
        mode: combination.mode, positions: length, lengths: UnitLengths([length]), model: model)[0],
      optimizer: optimizer, threads: threads.largest, products: LayerProducts(precision), shards: options.shards(model.parameterLayout, topology: environment.topology))
  }
}

// MARK: Measuring

extension MemoryTrial {
  /// Bytes that a rank holds at a moment.
  private struct Reading {
    /// Shared pages count in each rank.
    let resident = MemoryMeter.residentBytes
    /// Shared pages count by their share.
    let proportional = MemoryMeter.proportionalBytes
  }

  /// What a combination did: stages by rank, categories of this rank.
  private struct Measurement {
    var residentByCategory: [MemoryPlan.Category: Int]
    var stepSeconds: Double
    var resident: [MemoryStages]
    var proportional: [MemoryStages]
  }

  /// What is known before the release, of this rank.
  private struct Life {
    let allocated, afterStep: Reading
    let peak: Int
    let residentByCategory: [MemoryPlan.Category: Int]
    let stepSeconds: Double
  }

  /// - Throws: ``AgreedFailure`` where the system refuses some rank the memory.
  private func measure(_ plan: ReplicaPlan) throws -> Measurement {
    _ = MemoryMeter.resetPeak()
    let before = try read()
    let life = try live(plan)
    let afterRelease = try read()
    let (resident, proportional) = (\Reading.resident, \Reading.proportional)
    let stages = { (quantity: KeyPath<Reading, Int>, peak: Int) in
      MemoryStages(
        before: before[keyPath: quantity].megabytes, allocated: life.allocated[keyPath: quantity].megabytes, peak: peak.megabytes,
        afterStep: life.afterStep[keyPath: quantity].megabytes, afterRelease: afterRelease[keyPath: quantity].megabytes)
    }
    let highest = { (quantity: KeyPath<Reading, Int>) in
      [before, life.allocated, life.afterStep].map { $0[keyPath: quantity] }.max()!
    }
    return Measurement(
      residentByCategory: life.residentByCategory, stepSeconds: life.stepSeconds,
      // The kernel adds up its counters of the high-water mark now and then only.
      resident: try world.allgather(stages(resident, max(life.peak, highest(resident)))),
      proportional: try world.allgather(stages(proportional, highest(proportional))))
  }

  /// Allocates, steps, reads. What it allocated is released when it returns.
  private func live(_ plan: ReplicaPlan) throws -> Life {
    let exchange = try ModelStateExchange(plan.shards, parameterCount: model.parameterCount, environment: environment)
    let life: Life
    do {
      life = try live(plan, exchange)
    } catch let failure as AgreedFailure {
      // Of all ranks: the next combination is tried.
      try exchange.free()
      throw failure
    }
    try exchange.free()
    return life
  }

  private func live(_ plan: ReplicaPlan, _ exchange: ModelStateExchange) throws -> Life {
    let replica = try world.agree("memory") {
      try plan.checkAddressSpace(threads: threads.own)
      return try ModelReplica(plan, windows: exchange.windows, threads: threads.own)
    }
    defer { withExtendedLifetime(replica) {} }
    var run = try FixedBatchRun(
      replica, dataset: .synthetic(records: combination.microbatch, length: combination.seqLen, labels: model.labels?.count), exchange: exchange)
    let allocated = try read()
    var seconds: [Double] = []
    for step in 0..<steps { seconds.append(try run.step(step)) }
    let timed = seconds.dropFirst(steps > 1 ? 1 : 0).sorted()
    return Life(
      allocated: allocated, afterStep: try read(), peak: MemoryMeter.peakResidentBytes,
      residentByCategory: replica.arena.residentBytesByCategory(),
      stepSeconds: try world.allreduceMax(timed[timed.count / 2]))
  }

  /// Reads when all ranks are at the same point, and lets none go on before all have read: a rank's part of shared pages
  /// depends on what the others hold.
  private func read() throws -> Reading {
    try world.barrier()
    let reading = Reading()
    try world.barrier()
    return reading
  }
}

// MARK: Reporting

extension MemoryTrial {
  private func byRank(_ plan: ReplicaPlan, planned: [Int], measured: Measurement?) throws -> [RankMemory] {
    let categories = { (bytes: [(MemoryPlan.Category, Int)]) in
      Dictionary(uniqueKeysWithValues: bytes.map { ($0.0.key, $0.1.megabytes) })
    }
    let rank = world.rank
    let own = RankMemory(
      host: environment.host, plannedMb: planned[rank].megabytes,
      plannedByCategoryMb: categories(plan.memory.bytesByCategoryAtPeak().map { ($0.category, $0.byteCount) }),
      residentByCategoryMb: measured.map { categories(Array($0.residentByCategory)) },
      rssMb: measured?.resident[rank])
    let texts = try world.allgather(bytes: Array(JSONEncoder().encode(own)))
    return try texts.map { try JSONDecoder().decode(RankMemory.self, from: Data($0)) }
  }

  private func group(_ nodes: [Int], limits: [NodeLimit], plan: ReplicaPlan, measured: Measurement?) -> NodeMemory {
    let ranks = nodes.flatMap(environment.topology.ranks(onNode:))
    let available = nodes.compactMap { limits[$0].availableBytes }
    return NodeMemory(
      hosts: nodes.map { limits[$0].host }, ranks: ranks.count,
      plannedMb: nodes.reduce(0) { $0 + limits[$1].needed(by: plan.ofFirstRank) }.megabytes,
      availableMb: available.count == nodes.count ? available.reduce(0, +).megabytes : nil,
      pssMb: measured.map { measured in MemoryStages(sumOf: ranks.map { measured.proportional[$0] }) })
  }
}

extension MemoryStages {
  /// Of several ranks at the same points; the peak is that of the sum.
  init(sumOf stages: [MemoryStages]) {
    let sum = { (stage: KeyPath<MemoryStages, Double>) in stages.reduce(0) { $0 + $1[keyPath: stage] } }
    self.init(
      before: sum(\.before), allocated: sum(\.allocated), peak: 0, afterStep: sum(\.afterStep), afterRelease: sum(\.afterRelease))
    peak = max(before, allocated, afterStep)
  }
}
