import DistEngine
import Testing

/// Recomputed blocks against kept ones: the same operations on the same numbers, so the same bits.
@Suite struct RecomputationTests {
  struct Case: Sendable, CustomStringConvertible {
    let mode: TrainingMode
    let clipping: Clipping
    let tied: Bool
    let layers: Int
    let microbatch: Int
    let logits: PassPolicy.LogitStorage
    let keepsOnlyExample: Bool
    var isLlama = false

    var description: String {
      "\(isLlama ? "llama " : "")\(mode) \(clipping) \(tied ? "tied" : "untied") \(layers) blocks b \(microbatch) logits \(logits)\(keepsOnlyExample ? " kept" : "")"
    }
  }

  static let cases: [Case] = {
    var cases: [Case] = []
    for (mode, clipping, keeps) in [
      (TrainingMode.standard, Clipping.flat, false), (.hooks, .flat, false), (.hooks, .perLayer, false),
      (.ghost, .perLayer, false), (.ghost, .flat, false), (.ghost, .flat, true),
    ] {
      for tied in [true, false] {
        for layers in [1, 2, 3] {
          for microbatch in keeps ? [1] : [1, 3, 16] {
            for logits in [PassPolicy.LogitStorage.whole, .chunks(rows: 7)] {
              cases.append(
                Case(
                  mode: mode, clipping: clipping, tied: tied, layers: layers, microbatch: microbatch, logits: logits,
                  keepsOnlyExample: keeps))
            }
          }
        }
      }
    }
    return cases
      + cases.filter { $0.layers == 2 }.map { test in
        var test = test
        test.isLlama = true
        return test
      }
  }()

  @Test(arguments: cases)
  func resultsAreTheSameBitForBit(_ test: Case) throws {
    let model =
      test.isLlama
      ? try SmallModels.llama(tied: test.tied, layers: test.layers) : try SmallModels.configuration(tied: test.tied, layers: test.layers)
    let dataset = SmallModels.dataset()
    let results = try Recomputation.allCases.map { recompute in
      let replica = try SmallModels.replica(
        test.mode, model, clipping: test.clipping, maxGradNorm: 12, microbatch: test.microbatch, recompute: recompute,
        choices: .init(logits: test.logits, keepsOnlyExample: test.keepsOnlyExample))
      let totals = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
      return (totals: totals, sum: Array(replica.gradientSum))
    }
    #expect(results[0].totals == results[1].totals)
    let different = model.parameterLayout.filter { !results[0].sum[$0.range].elementsEqual(results[1].sum[$0.range]) }
    #expect(different.map(\.name) == [], "\(test)")
    #expect(results[0].sum.contains { $0 != 0 })
  }
}
