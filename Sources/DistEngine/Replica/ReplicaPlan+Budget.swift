extension ReplicaPlan {
  /// The fastest of the plans that stay within the configuration's memory budget. Where that is a part of what `standard` needs and none
  /// does, the smallest.
  ///
  /// Ranks choose alike, whatever the slices that they own: choices are made for rank 0's.
  ///
  /// - Parameters:
  ///   - configuration: with its precision decided.
  ///   - capacities: of a microbatch, the one that takes the least time first; with `auto`, the most: a size that all of them exceed makes
  ///     microbatches smaller.
  ///   - largestUnit: targets of the largest unit that may be drawn.
  ///   - threads: of the largest team that uses the replica.
  ///   - shards: what of the model's state this rank holds; nil: all of it.
  ///   - stored: matrices that may stay in the model's files.
  ///   - limits: of the nodes of the job; a plan that one of them has no memory for is no plan.
  /// - Throws: ``TrainingError/overBudget(needed:budget:)``, ``TrainingError/notEnoughMemory(_:)``
  package init(
    fastestFor configuration: TrainingConfiguration, model: ModelConfiguration, capacities: [Microbatch.Capacity],
    largestUnit: Int = 0, optimizer: OptimizerConfiguration?, stored: StoredTensors = StoredTensors(), threads: Int = 1, shards: ShardPlan? = nil, limits: [NodeLimit] = []
  ) throws {
    let products = LayerProducts(configuration.precision ?? .f32)
    let layout = model.parameterTable(trainable: configuration.trainable).trained
    let own = shards ?? ShardPlan(layout)
    let first = own.ofFirstRank(layout)
    let (mode, performance) = (configuration.mode, configuration.performance)
    let plan = { (mode: TrainingMode, capacity: Microbatch.Capacity, choices: Choices, shards: ShardPlan) in
      ReplicaPlan(
        model: model, mode: mode, clipping: configuration.clipping, maxGradNorm: configuration.maxGradNorm,
        capacity: capacity, recompute: performance.recompute, optimizer: optimizer, trainable: configuration.trainable, stored: stored,
        hasLargeUnits: largestUnit > capacity.rows, threads: threads, products: products, choices: choices, shards: shards)
    }
    func budget(_ capacity: Microbatch.Capacity) -> Int? {
      switch performance.memoryBudget {
      case .bytes(let count): count
      case .overStandard(let part): mode == .ghost ? Int((1 + part) * Double(plan(.standard, capacity, Choices(), first).byteCount)) : nil
      }
    }
    guard let last = capacities.last else { preconditionFailure("a plan without a microbatch") }
    let smaller = performance.microbatch == nil ? last.halvings.dropFirst() : []
    var smallest: ReplicaPlan?
    for (place, capacity) in (capacities + smaller).enumerated() {
      let budget = budget(place < capacities.count ? capacity : last)
      var smallestOfCapacity: ReplicaPlan?
      for choices in Choices.fastestFirst(mode: mode, clipping: configuration.clipping, model: model, capacity: capacity) {
        let candidate = plan(mode, capacity, choices, first)
        if candidate.byteCount < smallestOfCapacity?.byteCount ?? .max { smallestOfCapacity = candidate }
        if candidate.byteCount <= budget ?? .max && candidate.fits(limits) {
          self = plan(mode, capacity, choices, own)
          budgetBytes = budget
          return
        }
      }
      smallest = smallestOfCapacity
      // A part over `standard` isn't worth smaller microbatches.
      if place >= capacities.count - 1, case .overStandard = performance.memoryBudget, let smallest, smallest.fits(limits) {
        self = plan(mode, capacity, smallest.choices, own)
        budgetBytes = budget
        return
      }
    }
    if let smallest, let refusal = limits.lazy.compactMap({ $0.refusal(of: smallest) }).first {
      throw TrainingError.notEnoughMemory(refusal)
    }
    throw TrainingError.overBudget(needed: smallest?.byteCount ?? 0, budget: performance.memoryBudget)
  }

  /// The plan of rank 0: what all ranks can reckon with.
  package var ofFirstRank: ReplicaPlan {
    ReplicaPlan(
      model: configuration, mode: mode, clipping: clipping, maxGradNorm: maxGradNorm, capacity: capacity, recompute: recompute,
      optimizer: optimizer, trainable: trainable, stored: stored, hasLargeUnits: hasLargeUnits, computesGradients: computesGradients, threads: threads, products: products, choices: choices, shards: shards.ofFirstRank(layout))
  }

  private func fits(_ limits: [NodeLimit]) -> Bool { limits.allSatisfy { $0.refusal(of: self) == nil } }

  /// Bytes of a rank's own: its slab, and its part of the window.
  package var byteCount: Int { memory.layout().byteCount + memory.byteCount(in: .window) }
}

extension ReplicaPlan.Choices {
  /// All that differ in time, the fastest first. Each is followed by one that may need less memory.
  fileprivate static func fastestFirst(
    mode: TrainingMode, clipping: Clipping, model: ModelConfiguration, capacity: Microbatch.Capacity
  ) -> [Self] {
    guard mode == .ghost else { return [Self()] }
    if capacity.units == 1 {
      // Book-keeping's norms are left out.
      return clipping == .flat ? [Self(keepsOnlyExample: true), Self()] : [Self()]
    }
    // Units are apart so that their gradients are kept.
    let keeps = capacity.ownMicrobatchRows != nil
    // Where several records' factors are known last, logits that come in chunks are computed twice, and so is the head's gradient.
    return model.labels == nil && (clipping == .flat || model.tiedEmbeddings) ? [Self(logits: .whole, keepsOnlyExample: keeps), Self(keepsOnlyExample: keeps)] : [Self(keepsOnlyExample: keeps)]
  }
}

extension Microbatch.Capacity {
  /// This one, one of half as many units and rows, and so on to a single unit.
  fileprivate var halvings: [Self] {
    guard units > 1 || rows > positions else { return [self] }
    let half = Self(units: max(1, units / 2), rows: max(positions, rows / 2), positions: positions, unitRows: max(positions, min(unitRows, rows / 2)),
      unitsAreRecords: unitsAreRecords)
    return [self] + half.halvings
  }
}
