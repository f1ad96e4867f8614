import DistEngine
import Testing

@Suite struct MemoryBudgetTests {
  private static let optimizer = OptimizerConfiguration.adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0)

  private func plan(
    _ mode: TrainingMode = .ghost, _ preset: ModelPreset = .seedMedium, clipping: Clipping = .flat, examples: Int,
    positions: Int, budget: MemoryBudget, recompute: Recomputation = .none
  ) throws -> ReplicaPlan {
    var configuration = TrainingConfiguration()
    configuration.mode = mode
    configuration.clipping = clipping
    configuration.performance = PerformanceOptions(microbatch: examples, recompute: recompute, memoryBudget: budget)
    return try ReplicaPlan(
      fastestFor: configuration, model: preset.configuration,
      capacities: [Microbatch.Capacity(units: examples, rows: examples * positions, positions: positions)],
      optimizer: Self.optimizer)
  }

  /// Keeping the only record's gradient is for records whose activations are as large; the default is 15% over `standard`.
  @Test(arguments: [128, 512, 1024])
  func theDefaultKeepsGhostWithinFifteenPercentOfStandard(positions: Int) throws {
    let examples = max(1, 512 / positions)
    for preset in [ModelPreset.small, .seedMedium] {
      for examples in Set([1, examples]) {
        let ghost = try plan(.ghost, preset, examples: examples, positions: positions, budget: .standard)
        let standard = try plan(.standard, preset, examples: examples, positions: positions, budget: .standard)
        #expect(
          Double(ghost.byteCount) <= 1.15 * Double(standard.byteCount), "\(preset) at T \(positions), \(examples) records")
        #expect(standard.budgetBytes == nil && ghost.byteCount <= ghost.budgetBytes!)
      }
    }
  }

  /// A gradient that no longer lies where activations were counts in full.
  @Test(arguments: [128, 512, 1024])
  func theOnlyRecordsGradientIsKeptWithinTheBudgetOfRecomputation(positions: Int) throws {
    for preset in [ModelPreset.small, .seedMedium] {
      let ghost = try plan(.ghost, preset, examples: 1, positions: positions, budget: .standard, recompute: .blocks)
      let standard = try plan(.standard, preset, examples: 1, positions: positions, budget: .standard, recompute: .blocks)
      #expect(Double(ghost.byteCount) <= 1.15 * Double(standard.byteCount), "\(preset) at T \(positions)")
    }
  }

  @Test func theOnlyRecordsGradientIsKeptWhereTheBudgetAllowsIt() throws {
    let at = { (budget: MemoryBudget) in try plan(examples: 1, positions: 512, budget: budget) }
    #expect(try at(.standard).choices.keepsOnlyExample)
    #expect(try at(.overStandard(10)).choices.keepsOnlyExample)
    // A part can't be refused: the smallest way is taken, whichever it is.
    let least = try at(.overStandard(0))
    #expect(least.byteCount > least.budgetBytes!)
    for keeps in [true, false] {
      let model = ModelPreset.seedMedium.configuration
      let other = ReplicaPlan(
        model: model, mode: .ghost, capacity: least.capacity, optimizer: Self.optimizer,
        choices: .init(keepsOnlyExample: keeps))
      #expect(least.byteCount <= other.byteCount)
    }
  }

  /// With several records, logits that come in chunks are computed twice.
  @Test(arguments: Clipping.allCases)
  func severalRecordsLogitsAreHeldWhereTheBudgetAllowsIt(clipping: Clipping) throws {
    let at = { (budget: MemoryBudget) in try plan(.ghost, .small, clipping: clipping, examples: 8, positions: 512, budget: budget)
    }
    let large = try at(.overStandard(10))
    #expect(large.choices.logits == .whole)
    let whole = large.byteCount
    #expect(try at(.bytes(whole)).choices.logits == .whole)
    let small = try at(.bytes(whole - 1))
    #expect(small.choices.logits == nil && small.byteCount < whole)
  }

  @Test(arguments: TrainingMode.allCases)
  func whatCannotFitAnAbsoluteBudgetIsRefused(mode: TrainingMode) throws {
    let at = { (budget: MemoryBudget) in try plan(mode, examples: 2, positions: 128, budget: budget).byteCount }
    let smallest = try at(mode == .ghost ? .overStandard(0) : .standard)
    #expect(try at(.bytes(smallest)) == smallest)
    let error = try #require(throws: TrainingError.self) { try at(.bytes(smallest - 1)) }
    #expect(error == .overBudget(needed: smallest, budget: .bytes(smallest - 1)))
    #expect(error.exitStatus == ExitStatus.refused)
    #expect(error.description.contains("\((smallest + (1 << 20) - 1) >> 20)MB"), "\(error)")
  }

  /// `auto` is free to take less at a time; a number isn't.
  @Test(arguments: TrainingMode.allCases)
  func automaticMicrobatchesShrinkToFitASize(mode: TrainingMode) throws {
    var configuration = TrainingConfiguration()
    configuration.mode = mode
    let at = { (microbatch: Int?, budget: MemoryBudget) in
      configuration.performance = PerformanceOptions(microbatch: microbatch, memoryBudget: budget)
      return try ReplicaPlan(
        fastestFor: configuration, model: ModelPreset.tiny.configuration,
        capacities: [Microbatch.Capacity(units: 32, rows: 512, positions: 100)], optimizer: nil)
    }
    let size = try at(nil, .overStandard(10)).byteCount
    let smaller = try at(nil, .bytes(size / 2))
    #expect(smaller.byteCount <= size / 2 && smaller.capacity.rows < 512 && smaller.capacity.positions == 100)
    #expect(try at(nil, .bytes(size)).capacity.rows == 512)
    #expect(throws: TrainingError.self) { try at(32, .bytes(size / 2)).byteCount }
    let error = try #require(throws: TrainingError.self) { try at(nil, .bytes(1)).byteCount }
    guard case .overBudget(let needed, _) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(try at(nil, .bytes(needed)).capacity.rows == 100, "one record is the least that a microbatch holds")
  }

  @Test func sizesAndParts() {
    #expect(MemoryBudget(parsing: "3000MB") == .bytes(3000 << 20))
    #expect(MemoryBudget(parsing: "1.5GB") == .bytes(3 << 29))
    #expect(MemoryBudget(parsing: "15%") == .standard)
    #expect(MemoryBudget(parsing: "0%") == .overStandard(0))
    for text in ["", "MB", "3000", "-1GB", "nan%", "inf%", "1e300GB", "15 percent", "3000mb"] {
      #expect(MemoryBudget(parsing: text) == nil, "\(text)")
    }
    for text in ["3000MB", "15%", "7.5%", "0%"] { #expect(MemoryBudget(parsing: text)?.description == text) }
  }

  /// `auto` takes what keeps products efficient, whatever the batch: B isn't even asked for.
  @Test func aRunsBuffersDoNotGrowWithTheBatch() throws {
    let sizes = try [8, 64, 512].map { batch in
      var configuration = TrainingConfiguration()
      configuration.noise = .multiplier(1)
      configuration.batchSize = batch
      return try RunPlan(configuration, ranks: 1, ranksPerNode: 1).rankBytes
    }
    #expect(Set(sizes).count == 1)
  }
}
