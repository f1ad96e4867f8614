import DistEngine
import TestSupport
import Testing

@Suite struct MemoryPlanTests {
  @Test(arguments: [UInt64](1...50))
  func buffersThatAreAliveTogetherNeverShareAByte(seed: UInt64) {
    var random = TestRandom(seed: seed)
    var plan = MemoryPlan()
    let lifetimes = (0..<40).map { _ -> ClosedRange<Int> in
      let start = Int.random(in: 0...20, using: &random)
      return start...Int.random(in: start...20, using: &random)
    }
    for (index, lifetime) in lifetimes.enumerated() {
      _ = plan.add("\(index)", .workspace, count: Int.random(in: 0...1000, using: &random), lifetime: lifetime)
    }
    let layout = plan.layout()
    var fullest = 0
    for point in 0...20 {
      fullest = max(fullest, plan.buffers.filter { $0.lifetime.contains(point) }.reduce(0) { $0 + $1.byteCount })
    }
    #expect(layout.byteCount >= fullest)
    for (i, a) in plan.buffers.enumerated() {
      #expect(layout.offsets[i] % 64 == 0 && layout.offsets[i] + a.byteCount <= layout.byteCount)
      for (j, b) in plan.buffers.enumerated() where j < i && a.lifetime.overlaps(b.lifetime) {
        guard a.byteCount > 0 && b.byteCount > 0 else { continue }
        let (first, second) = layout.offsets[i] < layout.offsets[j] ? (i, j) : (j, i)
        #expect(layout.offsets[first] + plan.buffers[first].byteCount <= layout.offsets[second])
      }
    }
  }

  /// Each course for itself, at its own fullest point.
  @Test(arguments: [UInt64](1...50))
  func buffersOfTwoCoursesShareAByteOnlyWhereTheyMeetOnNeither(seed: UInt64) {
    var random = TestRandom(seed: seed)
    var plan = MemoryPlan()
    func lifetime() -> ClosedRange<Int>? {
      guard Int.random(in: 0..<4, using: &random) > 0 else { return nil }
      let start = Int.random(in: 0...20, using: &random)
      return start...Int.random(in: start...20, using: &random)
    }
    for index in 0..<40 {
      let (several, only) = (lifetime(), lifetime())
      guard several != nil || only != nil else { continue }
      _ = plan.add("\(index)", .workspace, count: Int.random(in: 1...1000, using: &random), courses: .init(several: several, only: only))
    }
    let layout = plan.layout()
    var fullest = 0
    for point in 0...20 {
      for alive in [plan.buffers.filter { $0.courses.several?.contains(point) ?? false }, plan.buffers.filter { $0.courses.only?.contains(point) ?? false }] {
        fullest = max(fullest, alive.reduce(0) { $0 + $1.byteCount })
        let places = plan.buffers.indices.filter { i in alive.contains { $0.name == plan.buffers[i].name } }
          .map { layout.offsets[$0]..<layout.offsets[$0] + plan.buffers[$0].byteCount }.sorted { $0.lowerBound < $1.lowerBound }
        #expect(zip(places, places.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound })
      }
    }
    #expect(layout.byteCount >= fullest)
    #expect(plan.bytesByCategoryAtPeak().reduce(0) { $0 + $1.byteCount } == fullest)
  }

  @Test func buffersThatNeverMeetShareAPlace() {
    var plan = MemoryPlan()
    _ = plan.add("first", .activations, count: 1000, lifetime: 0...1)
    _ = plan.add("second", .workspace, count: 900, lifetime: 2...3)
    _ = plan.add("whole run", .parameters, count: 10)
    #expect(plan.layout().byteCount == 4032 + 64)
    #expect(plan.bytesByCategoryAtPeak().map(\.byteCount) == [4000, 40])
  }

  @Test func buffersOfTheBlocksAreToldTogether() {
    var plan = MemoryPlan()
    for l in [0, 1, 10] { _ = plan.add("h.\(l) inner", .activations, count: 100) }
    _ = plan.add("the gradient of h.10", .perExampleGradients, count: 60)
    _ = plan.add("the gradient of h.2", .perExampleGradients, count: 0)
    _ = plan.add("parameters", .parameters, count: 200)
    let groups = plan.bufferGroups()
    #expect(groups.map(\.name) == ["h.* inner", "parameters", "the gradient of h.*"])
    #expect(groups.map(\.count) == [3, 1, 2])
    #expect(groups.map(\.byteCount) == [1200, 800, 240])
    #expect(groups.map(\.category) == [.activations, .parameters, .perExampleGradients])
  }

  @Test func anEmptyPlanIsAllocated() throws {
    let arena = try MemoryArena(MemoryPlan())
    #expect(arena.layout.byteCount == 0)
  }

  /// What the project was started for: ghost clipping on a CPU must not cost the examples' gradients.
  @Test func ghostNeedsLessThanHooksAndLittleMoreThanStandard() throws {
    let bytes = { (mode: TrainingMode, microbatch: Int) throws -> Int in
      let model = ModelPreset.small.configuration
      return ReplicaPlan(
        model: model, mode: mode,
        capacity: Microbatch.Capacity(units: microbatch, rows: microbatch * 128, positions: 128),
        optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0)
      ).memory.layout().byteCount
    }
    for microbatch in [1, 4, 8] {
      let parameters = 4 * ModelPreset.small.configuration.parameterCount
      #expect(try bytes(.hooks, microbatch) >= bytes(.standard, microbatch) + microbatch * parameters)
      #expect(try bytes(.ghost, microbatch) < bytes(.standard, microbatch) + parameters)
    }
  }

  /// A block keeps 14·R·d floats for its backward pass, and in the book of flat `ghost` 4·R·d more; of recomputed blocks only the
  /// inputs are as many as there are blocks.
  @Test func recomputingBlocksKeepsTheirInputsAlone() {
    let model = ModelPreset.small.configuration
    let (L, examples, T) = (model.layers, 8, 128)
    let capacity = Microbatch.Capacity(units: examples, rows: examples * T, positions: T)
    let stream = 4 * capacity.rows * model.width
    for (mode, clipping, perBlock) in [
      (TrainingMode.standard, Clipping.flat, 14), (.hooks, .flat, 14), (.ghost, .perLayer, 14), (.ghost, .flat, 18),
    ] {
      let plans = Recomputation.allCases.map {
        ReplicaPlan(
          model: model, mode: mode, clipping: clipping, capacity: capacity, recompute: $0,
          optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0)
        ).memory
      }
      let saved = plans[0].layout().byteCount - plans[1].layout().byteCount
      // All blocks' activations, less one block's, less the inputs.
      let expected = ((L - 1) * perBlock - L) * stream
      #expect(abs(saved - expected) < expected / 20, "\(mode) \(clipping): \(saved) bytes saved for \(expected)")
    }
  }

  /// Factors are known at the end: until then nothing may lie where the final norm's gradient is taken from, kept gradients of blocks
  /// included.
  @Test(arguments: [true, false], [(1, 128), (1, 512), (8, 512)])
  func whatTheFinalNormsSumNeedsIsThereUntilTheFactorsAre(keeps: Bool, shape: (units: Int, positions: Int)) {
    let model = ModelPreset.small.configuration
    let plan = ReplicaPlan(
      model: model, mode: .ghost, capacity: Microbatch.Capacity(units: shape.units, rows: shape.positions, positions: shape.positions),
      optimizer: nil, choices: .init(keepsOnlyExample: keeps))
    let needed = plan.memory.buffers.filter { ["ln_f normalized", "head input gradient"].contains($0.name) }
    #expect(needed.count == 2)
    for buffer in needed {
      let end = Timeline(blocks: model.layers).weightedSum
      #expect(buffer.courses.several!.upperBound >= end && buffer.courses.only!.upperBound >= end, "\(buffer.name)")
    }
  }

  /// Every thread has scratch of its own, and nothing else grows with their number.
  @Test func threadsCostScratchAlone() {
    for (mode, examples) in [(TrainingMode.standard, 1), (.ghost, 1), (.ghost, 8), (.hooks, 8)] {
      let plan = { (threads: Int) in
        ReplicaPlan(
          model: ModelPreset.small.configuration, mode: mode,
          capacity: Microbatch.Capacity(units: examples, rows: examples * 64, positions: 64), optimizer: nil,
          threads: threads
        ).memory
      }
      let (one, four) = (plan(1).buffers, plan(4).buffers)
      #expect(one.map(\.name) == four.map(\.name))
      let grown = zip(one, four).filter { $0.byteCount != $1.byteCount }
      #expect(grown.allSatisfy { $1.byteCount == 4 * $0.byteCount })
      let scratch = ["attention scores", "attention score gradients", "key gradient", "value gradient"]
      let norms = [
        "Gram matrix of inputs", "Gram matrix of output gradients", "strip of one example's gradient", "column sums",
        "last position by token", "previous position",
      ]
      #expect(grown.map(\.0.name) == scratch + (mode == .ghost && examples > 1 ? norms : []), "\(mode), \(examples)")
    }
  }

  /// No buffer of a ghost plan is b examples' gradients of a layer in disguise.
  @Test(arguments: [ModelPreset.small, .smolLM2])
  func noGhostBufferHoldsTheMicrobatchsGradientsOfALayer(preset: ModelPreset) throws {
    for clipping in Clipping.allCases {
      let model = preset.configuration
      let b = 8
      let plan = ReplicaPlan(
        model: model, mode: .ghost, clipping: clipping,
        capacity: Microbatch.Capacity(units: b, rows: b * 128, positions: 128), optimizer: nil)
      let gradients = plan.memory.buffers.filter { $0.category == .perExampleGradients }
      let largest = model.parameterLayout.map { 4 * $0.count }.max()!
      #expect(gradients.reduce(0) { $0 + $1.byteCount } <= 2 * largest)
      #expect(gradients.allSatisfy { $0.byteCount <= largest })
    }
  }
}
