import DistEngine
import Foundation
import TestSupport
import Testing

/// `hooks` and `ghost`, in every way that a plan can choose, against one example at a time.
@Suite struct ClippedSumTests {
  struct Case: Sendable, CustomStringConvertible {
    let mode: TrainingMode
    let clipping: Clipping
    let tied: Bool
    let microbatch: Int
    let logits: PassPolicy.LogitStorage?
    /// nil: either, by the length of the record.
    let normMethod: NormMethod?
    var keepsOnlyExample = false
    /// Targets from which on a record is alone in its microbatch, its gradient kept where the plan has it; others share one.
    var ownFrom: Int?
    var recompute = Recomputation.none
    var isLlama = false

    func model() throws -> ModelConfiguration {
      isLlama ? try SmallModels.llama(tied: tied) : try SmallModels.configuration(tied: tied)
    }

    var description: String {
      "\(isLlama ? "llama " : "")\(keepsOnlyExample ? "kept " : "")\(ownFrom.map { "alone from \($0) " } ?? "")\(mode) \(clipping) \(tied ? "tied" : "untied") b \(microbatch) logits \(logits.map { "\($0)" } ?? "-") norms \(normMethod.map { "\($0)" } ?? "mixed") recompute \(recompute)"
    }

    func replica(_ model: ModelConfiguration, maxGradNorm: Double) throws -> ModelReplica {
      try SmallModels.replica(
        mode, model, clipping: clipping, maxGradNorm: maxGradNorm, microbatch: microbatch, ownFrom: ownFrom, recompute: recompute,
        choices: .init(logits: logits, keepsOnlyExample: keepsOnlyExample),
        norms: normMethod.map { .always($0) } ?? SmallModels.mixedNorms(model))
    }
  }

  static let cases: [Case] = {
    var cases: [Case] = []
    for clipping in Clipping.allCases {
      for tied in [true, false] {
        for microbatch in [1, 3, 16] {
          for logits in [nil, PassPolicy.LogitStorage.whole, .chunks(rows: 1), .chunks(rows: 7)] {
            cases.append(
              Case(mode: .hooks, clipping: clipping, tied: tied, microbatch: microbatch, logits: logits, normMethod: nil))
            for method in [nil, NormMethod.gram, .instantiate] {
              cases.append(
                Case(mode: .ghost, clipping: clipping, tied: tied, microbatch: microbatch, logits: logits, normMethod: method))
              if microbatch == 1 && clipping == .flat {
                cases.append(
                  Case(
                    mode: .ghost, clipping: clipping, tied: tied, microbatch: 1, logits: logits, normMethod: method,
                    keepsOnlyExample: true))
              }
            }
          }
        }
      }
    }
    let recomputing = cases.map { test in
      var test = test
      test.recompute = .blocks
      return test
    }
    let mixed = cases.filter { $0.mode == .ghost && $0.clipping == .flat && $0.microbatch > 1 }.flatMap { test in
      // Every record alone; those of 10 targets or more; those that don't find room.
      [1, 10, nil].map { ownFrom in
        var test = test
        (test.keepsOnlyExample, test.ownFrom) = (true, ownFrom)
        return test
      }
    }
    return cases + recomputing + mixed
  }()

  static let llamaCases = cases.map { test in
    var test = test
    test.isLlama = true
    return test
  }

  /// Norms by group and the clipped sum, one example at a time by ordinary backward passes, in double.
  static func oneAtATime(
    _ clipping: Clipping, _ model: ModelConfiguration, _ maxGradNorm: Double, _ dataset: TokenizedDataset
  ) throws -> (norms: [[Double]], sum: [Double]) {
    let replica = try SmallModels.replica(.standard, model, microbatch: 1)
    var sum = [Double](repeating: 0, count: model.parameterCount)
    var norms: [[Double]] = []
    for unit in 0..<dataset.count {
      _ = replica.accumulateGradients(of: [unit], in: dataset)
      let gradient = replica.gradientSum.map(Double.init)
      let squares = model.parameterLayout.map { gradient[$0.range].reduce(0) { $0 + $1 * $1 } }
      norms.append((clipping == .flat ? [squares.reduce(0, +)] : squares).map { $0.squareRoot() })
      let bound = maxGradNorm / Double(norms[unit].count).squareRoot()
      for tensor in model.parameterLayout {
        let norm = norms[unit][clipping == .flat ? 0 : tensor.index]
        let factor = norm > bound ? bound / norm : 1
        for j in tensor.range { sum[j] += factor * gradient[j] }
      }
    }
    return (norms, sum)
  }

  @Test(arguments: cases + llamaCases)
  func equalsOneExampleAtATime(_ test: Case) throws {
    let model = try test.model()
    let dataset = SmallModels.dataset()
    // Between the examples' norms: some are clipped, some are not.
    let maxGradNorm = 12.0
    let expected = try Self.oneAtATime(test.clipping, model, maxGradNorm, dataset)
    let replica = try test.replica(model, maxGradNorm: maxGradNorm)
    var seen: Set<Int> = []
    let totals = replica.accumulateGradients(of: 0..<dataset.count, in: dataset) { batch, factors in
      for (example, unit) in batch.units.enumerated() {
        seen.insert(unit)
        let whole = expected.norms[unit].reduce(0) { $0 + $1 * $1 }.squareRoot()
        for group in 0..<factors!.groups {
          let norm = factors!.norm(unit: example, group: group)
          // A group's norm may be far below the whole's, and is then compared on the whole's scale.
          #expect(
            abs(norm - expected.norms[unit][group]) < 1e-5 * max(expected.norms[unit][group], 1e-2 * whole),
            "\(test): record \(unit), group \(group)")
        }
      }
    }
    #expect(seen.count == dataset.count)
    #expect(totals.clipping.clipped > 0 && (test.clipping == .perLayer || totals.clipping.clipped < dataset.count))
    let sum = replica.gradientSum.map(Double.init)
    #expect(relativeDistance(sum, expected.sum) < 1e-5, "\(test)")
    for tensor in model.parameterLayout {
      #expect(relativeDistance(sum[tensor.range], expected.sum[tensor.range]) < 1e-4, "\(test): \(tensor.name)")
    }
  }

  /// The bound holds for what is really added: one example's contribution has norm C at most.
  @Test(arguments: [TrainingMode.hooks, .ghost], Clipping.allCases)
  func noExampleContributesMoreThanTheBound(mode: TrainingMode, clipping: Clipping) throws {
    let model = try SmallModels.configuration(tied: true)
    let dataset = SmallModels.dataset()
    let maxGradNorm = 0.25
    let replica = try SmallModels.replica(mode, model, clipping: clipping, maxGradNorm: maxGradNorm)
    for unit in 0..<dataset.count {
      _ = replica.accumulateGradients(of: [unit], in: dataset)
      let norm = replica.gradientSum.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(norm <= maxGradNorm * (1 + ClippedGradientSum.roundingMargin(expectedBatchSize: 1)), "record \(unit)")
      #expect(norm > 0.9 * maxGradNorm, "record \(unit) is clipped to the bound, not below it")
    }
  }

  /// In the order of the draw the two long records would part the short ones.
  @Test(arguments: TrainingMode.allCases)
  func shortRecordsShareMicrobatchesWhereverTheyStand(mode: TrainingMode) throws {
    let model = try SmallModels.configuration(tied: true)
    let long = String(repeating: "long", count: 6)
    let dataset = TokenizedDataset(
      RecordStore(["a", long, "bc", long, "d"]), tokenizer: SmallModels.SmallTokenizer(), longestSequence: 24)
    let replica = try SmallModels.replica(mode, model, microbatch: 3, positions: 24, rows: 24)
    var units: [[Int]] = []
    let totals = replica.accumulateGradients(of: [4, 0, 1, 2, 3], in: dataset) { batch, _ in units.append(batch.units) }
    #expect(units == [[1], [3], [2, 0, 4]])
    #expect(totals.microbatches == 3 && totals.units == 5)
  }

  @Test(arguments: [TrainingMode.hooks, .ghost])
  func anEmptyShareIsASumOfZero(mode: TrainingMode) throws {
    let model = try SmallModels.configuration(tied: true)
    let dataset = SmallModels.dataset()
    let replica = try SmallModels.replica(mode, model)
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
    let totals = replica.accumulateGradients(of: [], in: dataset)
    #expect(totals == ModelReplica.Totals())
    #expect(replica.gradientSum.allSatisfy { $0 == 0 })
  }

  /// 0 · NaN is NaN: an example that isn't finite must not be read, in any of the ways a sum is made.
  @Test(arguments: cases.filter { $0.microbatch != 3 })
  func aNonFiniteExampleContributesZeroAndTheOthersThemselves(_ test: Case) throws {
    let model = try SmallModels.configuration(tied: test.tied)
    let dataset = SmallModels.dataset()
    let poisoned = 15
    let reached = (0..<dataset.count).filter { dataset.targetCount(of: $0) > poisoned }
    let sound = (0..<dataset.count).filter { !reached.contains($0) }
    #expect(!reached.isEmpty && !sound.isEmpty)
    let sums = try [Array(0..<dataset.count), sound].map { units in
      let replica = try test.replica(model, maxGradNorm: 1)
      replica.parameters[model.parameterLayout["transformer.wpe.weight"].offset + poisoned * model.width] = .infinity
      let totals = replica.accumulateGradients(of: units, in: dataset)
      #expect(totals.clipping.nonFinite == (units.count == sound.count ? 0 : reached.count), "\(test)")
      return replica.gradientSum.map(Double.init)
    }
    #expect(relativeDistance(sums[0], sums[1]) < 1e-6, "\(test)")
  }

  /// A part of the norm that overflows to -infinity must not pass for a gradient of 0.
  @Test(arguments: [Double.infinity, -.infinity, .nan])
  func aNormThatIsNotFiniteHasFactorZero(part: Double) throws {
    for clipping in Clipping.allCases {
      var plan = MemoryPlan()
      let buffers = ClipFactors.Buffers(units: 2, tensors: 2, clipping: clipping, in: &plan)
      let arena = try MemoryArena(plan)
      var factors = ClipFactors(clipping: clipping, maxGradNorm: 1, tensors: 2, buffers: buffers, in: arena)
      factors.begin(units: 2)
      factors.add(4, unit: 0, tensor: 0)
      factors.add(part, unit: 0, tensor: 0)
      factors.add(4, unit: 1, tensor: 0)
      if clipping == .flat { factors.setFactors() } else { for tensor in 0..<2 { factors.setFactors(tensor: tensor) } }
      #expect(factors.factor(unit: 0, group: 0) == 0)
      #expect(!factors.norm(unit: 0, group: 0).isFinite)
      #expect(factors.factor(unit: 1, group: 0) > 0)
      #expect(factors.statistics().nonFinite == 1)
    }
  }

  /// Positions that cancel: what a float Gram matrix leaves of their sum is rounding, and the norm must not come out too small.
  @Test(arguments: [2, 64, 200])
  func cancellingPositionsDoNotEscapeTheBound(positions: Int) throws {
    let (inputs, outputs) = (48, 80)
    var random = TestRandom(seed: 6)
    let a = AlignedBuffer<Float>(count: positions * inputs)
    let g = AlignedBuffer<Float>(count: positions * outputs)
    let direction = random.floats(inputs)
    // Equal inputs, and output gradients whose sum is all but 0.
    for t in 0..<positions {
      for i in 0..<inputs { a.base[t * inputs + i] = direction[i] }
      let values = t % 2 == 0 ? random.floats(outputs) : (0..<outputs).map { -g.base[(t - 1) * outputs + $0] * (1 + 0x1p-14) }
      for j in 0..<outputs { g.base[t * outputs + j] = values[j] }
    }
    let gradient = LinearGradient(
      primary: 0, secondary: nil, layout: .inputByOutput,
      input: .stored(Matrix(a.base, rows: positions, columns: inputs)),
      outputGradient: Matrix(g.base, rows: positions, columns: outputs))
    var sums = [Double](repeating: 0, count: inputs * outputs)
    for t in 0..<positions {
      for i in 0..<inputs {
        for j in 0..<outputs { sums[i * outputs + j] += Double(a.base[t * inputs + i]) * Double(g.base[t * outputs + j]) }
      }
    }
    let exact = sums.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let scratch = (0..<5).map { _ in AlignedBuffer<Float>(count: max(positions * positions, inputs * 16, 2 * outputs, positions * outputs)) }
    let places = AlignedBuffer<Int32>(count: positions)
    let workspace = GradientWorkspace(
      rows: scratch[0].elements, gramOfInputs: scratch[1].elements, gramOfGradients: scratch[2].elements,
      gramRows: positions, exampleGradient: scratch[3].elements, columnSums: scratch[4].elements,
      lastPosition: places.elements, previousPosition: places.elements, norms: .always(.gram))
    let norm = gradient.squaredGradientNorms(rows: 0..<positions, workspace: workspace).primary.squareRoot()
    withExtendedLifetime((a, g, scratch, places)) {
      #expect(abs(norm - exact) < 2e-3 * exact, "\(norm) for \(exact)")
    }
  }

  /// A tied table whose two uses all but cancel: rounding must not take what is reported below the true norm.
  @Test func cancellingUsesOfATiedTableDoNotEscapeTheBound() throws {
    let (width, vocabulary) = (16, 5)
    var random = TestRandom(seed: 12)
    let buffers = (0..<7).map { _ in AlignedBuffer<Float>(count: 256) }
    let chain = (0..<2).map { _ in AlignedBuffer<Int32>(count: vocabulary) }
    chain[0].elements.update(repeating: -1)
    let workspace = GradientWorkspace(
      rows: buffers[0].elements, gramOfInputs: buffers[1].elements, gramOfGradients: buffers[2].elements, gramRows: 1,
      exampleGradient: buffers[3].elements, columnSums: buffers[4].elements, lastPosition: chain[0].elements,
      previousPosition: chain[1].elements, norms: .always(.gram))
    let (input, atInput) = (Matrix(buffers[5].base, rows: 1, columns: width), Matrix(buffers[6].base, rows: 1, columns: width))
    let logits = AlignedBuffer<Float>(count: vocabulary)
    let token: [Int32] = [3]
    try token.withUnsafeBufferPointer { tokens in
      for _ in 0..<500 {
        let factor = random.floats(1)[0]
        let h = random.floats(width)
        logits.elements.update(repeating: 0)
        logits.base[3] = factor
        for i in 0..<width {
          input.base[i] = h[i]
          atInput.base[i] = -factor * h[i]
        }
        let exact = (0..<width).reduce(0.0) { sum, i in
          let rest = Double(factor) * Double(h[i]) + Double(atInput.base[i])
          return sum + rest * rest
        }
        let whole = LinearGradient(
          primary: 0, secondary: nil, layout: .outputByInput, input: .stored(input),
          outputGradient: Matrix(logits.base, rows: 1, columns: vocabulary))
        let used = TableGradient(
          primary: 0, indices: tokens, outputGradient: atInput,
          tiedHead: TiedHead(input: input, gradientAtTokens: Matrix(logits.base + 3, rows: 1, columns: 1)))
        let reported =
          whole.squaredGradientNorms(rows: 0..<1, workspace: workspace).primary
          + used.squaredGradientNorms(rows: 0..<1, workspace: workspace).primary
        try #require(reported >= exact, "\(reported) for \(exact)")
      }
    }
    withExtendedLifetime((buffers, chain, logits)) {}
  }

  @Test func clipFactorIsOneAtNormZeroAndNeverRoundsUp() {
    #expect(ClipFactors.factor(norm: 0, bound: 1) == 1)
    #expect(ClipFactors.factor(norm: 1, bound: 1) == 1)
    var random = TestRandom(seed: 1)
    for _ in 0..<10_000 {
      let norm = Double.random(in: 1...1e6, using: &random)
      let factor = ClipFactors.factor(norm: norm, bound: 0.7)
      #expect(Double(factor) * norm <= 0.7 * (1 + 1e-15) && Double(factor) * norm > 0.7 * (1 - 2e-7))
    }
  }
}
