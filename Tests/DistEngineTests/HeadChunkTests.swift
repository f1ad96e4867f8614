import DistEngine
import Foundation
import TestSupport
import Testing

/// Where logits come in chunks and several records share a microbatch, the head's gradients are made twice: for the norms, and for the sum.
@Suite struct HeadChunkTests {
  /// What is added is what was measured, however large the logits are: their last bits hang on where a row stands in a product, and softmax makes
  /// more than last bits of them.
  @Test(arguments: [3, 7, 24], [Float(1), 40, 400])
  func theSumIsOfTheGradientsThatWereMeasured(chunk: Int, scale: Float) throws {
    let model = try SmallModels.configuration(tied: false, layers: 1, width: 96)
    let head = try #require(model.parameterLayout.first { $0.name == "lm_head.weight" }).range
    let dataset = SmallModels.dataset()
    func sum(of records: [Int]) throws -> [Double] {
      // Nothing is clipped: a record's part is its gradient.
      let replica = try SmallModels.replica(.ghost, model, maxGradNorm: 1e12, microbatch: 16, choices: .init(logits: .chunks(rows: chunk)))
      // Blocks that add nothing, so that the head's input is the record's own to the bit, whoever is beside it.
      for tensor in model.parameterLayout where tensor.name.contains(".h.") { replica.parameters[tensor.range].update(repeating: 0) }
      // Tokens in pairs whose logits are large and alike: both are likely, and the smallest error tells in how likely each is.
      let table = Matrix(replica.parameters.baseAddress! + head.lowerBound, rows: SmallModels.vocabularySize, columns: model.width)
      for pair in stride(from: 0, to: table.rows, by: 2) {
        for i in 0..<model.width {
          table[pair, i] *= scale
          table[pair + 1, i] += table[pair, i]
        }
      }
      _ = replica.accumulateGradients(of: records, in: dataset)
      return replica.gradientSum[head].map(Double.init)
    }
    var expected = [Double](repeating: 0, count: head.count)
    for record in 0..<dataset.count {
      for (i, value) in try sum(of: [record]).enumerated() { expected[i] += value }
    }
    let distance = try relativeDistance(sum(of: Array(0..<dataset.count)), expected)
    #expect(distance < 2e-6, "\(distance)")
  }
}
