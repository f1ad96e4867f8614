import DistEngine
import Foundation
import TestSupport
import Testing

/// Passes whose products are of bfloat16, made everywhere by float32 products of rounded operands.
@Suite struct PrecisionTests {
  private static let bf16 = LayerProducts.bfloat16(.emulated)

  private static func distance(_ a: some Collection<Float>, _ b: some Collection<Float>) -> Double {
    let difference = zip(a, b).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }
    return (difference / b.reduce(0.0) { $0 + Double($1) * Double($1) }).squareRoot()
  }

  private static func sum(_ replica: ModelReplica, _ dataset: TokenizedDataset) -> [Float] {
    replica.team.use { _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset) }
    return Array(replica.gradientSum)
  }

  /// The modes differ in the order of sums alone; float32 differs by rounding: more than by the order, and by a few hundredths at most.
  @Test(arguments: [true, false], [Clipping.flat, .perLayer]) func hooksAndGhostAgree(tied: Bool, clipping: Clipping) throws {
    let dataset = SmallModels.dataset()
    for model in [try SmallModels.configuration(tied: tied), try SmallModels.llama(tied: tied)] {
      let hooks = Self.sum(try SmallModels.replica(.hooks, model, clipping: clipping, products: Self.bf16), dataset)
      for recompute in Recomputation.allCases {
        for threads in [1, 3] {
          let ghost = Self.sum(
            try SmallModels.replica(.ghost, model, clipping: clipping, recompute: recompute, threads: threads, products: Self.bf16), dataset)
          #expect(Self.distance(ghost, hooks) < 1e-5, "\(model) \(recompute) \(threads)")
        }
      }
      let float32 = Self.sum(try SmallModels.replica(.hooks, model, clipping: clipping), dataset)
      let rounding = Self.distance(hooks, float32)
      #expect(rounding > 1e-4 && rounding < 0.05, "\(model): \(rounding)")
    }
  }

  /// Blocks computed again are the same to the bit, in whatever chunks the logits come.
  @Test(arguments: [PassPolicy.LogitStorage.whole, .chunks(rows: 7)]) func recomputedBlocksAreTheSame(logits: PassPolicy.LogitStorage) throws {
    let dataset = SmallModels.dataset()
    for model in try SmallModels.all(layers: 3) {
      let sums = try Recomputation.allCases.map {
        Self.sum(try SmallModels.replica(.ghost, model, recompute: $0, choices: .init(logits: logits), products: Self.bf16), dataset)
      }
      #expect(sums[0] == sums[1], "\(model)")
    }
  }

  /// The norm of each record, to the bit, whoever is beside it in a microbatch. Threads may take the sum of a norm's squares in another order, but no
  /// more: an activation that was rounded the other way would show a thousand times larger.
  @Test(arguments: [1, 3]) func aRecordsGradientHangsOnItAlone(threads: Int) throws {
    let dataset = SmallModels.dataset()
    for model in try SmallModels.all() {
      func norms(of records: [Int], microbatch: Int) throws -> [Int: [Double]] {
        // The way to the head's norm hangs on whether logits come in chunks, and so its rounding.
        let replica = try SmallModels.replica(
          .ghost, model, clipping: .perLayer, maxGradNorm: 1e6, microbatch: microbatch, threads: threads, choices: .init(logits: .whole), products: Self.bf16)
        var found: [Int: [Double]] = [:]
        replica.team.use {
          _ = replica.accumulateGradients(of: records, in: dataset) { batch, factors in
            for (place, unit) in batch.units.enumerated() {
              found[unit] = (0..<replica.plan.layout.count).map { factors!.norm(unit: place, group: $0) }
            }
          }
        }
        return found
      }
      let all = try norms(of: Array(0..<dataset.count), microbatch: 16)
      let others = try [norms(of: [3, 1, 7], microbatch: 3), norms(of: Array(0..<dataset.count), microbatch: 2)]
        + (0..<dataset.count).map { try norms(of: [$0], microbatch: 16) }
      for other in others {
        for (record, values) in other {
          let expected = try #require(all[record])
          if threads == 1 {
            let others = model.parameterLayout.filter { values[$0.index] != expected[$0.index] }
            #expect(others.isEmpty, "\(model), record \(record): \(others.map(\.name))")
          }
          for (value, norm) in zip(values, expected) { #expect(abs(value - norm) <= 2e-6 * norm, "\(model), record \(record)") }
        }
      }
    }
  }

  /// A record's contribution to the sum, alone in a step: within C and the margin, also of records whose positions nearly cancel, and with
  /// parameters that make huge and subnormal gradients.
  @Test(arguments: [Clipping.flat, .perLayer]) func contributionsAreWithinTheBound(clipping: Clipping) throws {
    let dataset = SmallModels.dataset()
    for scale: Float in [1, 1e-20, 30, 1e4] {
      for model in try SmallModels.all() {
        for mode in [TrainingMode.ghost, .hooks] {
          for bound in [1e-3, 1e-9] {
            let replica = try SmallModels.replica(mode, model, clipping: clipping, maxGradNorm: bound, products: Self.bf16)
            for i in replica.parameters.indices { replica.parameters[i] *= scale }
            for record in 0..<dataset.count {
              _ = replica.accumulateGradients(of: [record], in: dataset)
              let norm = replica.gradientSum.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
              #expect(norm <= bound * (1 + ClippedGradientSum.roundingMargin(expectedBatchSize: 1)), "\(model) \(mode) scale \(scale), record \(record): \(norm) of \(bound)")
            }
          }
        }
      }
    }
  }

  /// A record that isn't finite leaves nothing in the operands' tiles that the others would meet.
  @Test(arguments: [1, 3, 16]) func aNonFiniteRecordContributesZeroAndTheOthersThemselves(microbatch: Int) throws {
    let model = try SmallModels.configuration(tied: true)
    let dataset = SmallModels.dataset()
    let poisoned = 15
    let sound = (0..<dataset.count).filter { dataset.targetCount(of: $0) <= poisoned }
    let sums = try [Array(0..<dataset.count), sound].map { records in
      let replica = try SmallModels.replica(.ghost, model, microbatch: microbatch, products: Self.bf16)
      replica.parameters[model.parameterLayout["transformer.wpe.weight"].offset + poisoned * model.width] = .infinity
      let totals = replica.accumulateGradients(of: records, in: dataset)
      #expect(totals.clipping.nonFinite == records.count - sound.count)
      return Array(replica.gradientSum)
    }
    #expect(sound.count < dataset.count && Self.distance(sums[0], sums[1]) < 1e-6)
  }

  @Test func thePlanHasTheOperands() throws {
    let model = try SmallModels.configuration(tied: true)
    let plans = [LayerProducts.float32, Self.bf16].map {
      ReplicaPlan(
        model: model, mode: .ghost, capacity: Microbatch.Capacity(units: 4, rows: 96, positions: 24), optimizer: nil, threads: 2, products: $0)
    }
    let more = plans[1].byteCount - plans[0].byteCount
    #expect(more == 4 * BFloat16Products.floatCount(rows: 96, threads: 2), "\(more) bytes")
  }

  @Test func whatIsDecided() throws {
    let small = try SmallModels.configuration(tied: true)
    let large = ModelPreset.small.configuration
    let oneHead = try ModelConfiguration(
      vocabularySize: 50_000, positions: 24, width: 256, layers: 1, heads: 1, innerWidth: 512, tiedEmbeddings: true, initializerRange: 0.1)
    let automatic: Precision? = nil
    #expect(try automatic.decided(small, refusal: nil) == .f32 && automatic.decided(large, refusal: nil) == .bf16)
    #expect(try automatic.decided(large, refusal: "none") == .f32 && automatic.decided(oneHead, refusal: nil) == .f32)
    let stated: Precision? = .bf16
    #expect(try stated.decided(small, refusal: nil) == .bf16)
    #expect(throws: TrainingError.self) { try stated.decided(large, refusal: "none") }
    #expect(throws: TrainingError.self) { try stated.decided(oneHead, refusal: nil) }
  }
}
