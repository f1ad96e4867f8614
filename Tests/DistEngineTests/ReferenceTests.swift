import DistEngine
import Foundation
import TestSupport
import Testing

/// Per-example norms, factors and the clipped sum of random models, from PyTorch in float64 (Tests/Fixtures).
@Suite struct ReferenceTests {
  struct Reference: Sendable, CustomStringConvertible {
    let name: String
    let records: String
    let maxGradNorm: Double
    var description: String { name }

    var directory: String {
      URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures/\(name)").path(percentEncoded: false)
    }
  }

  static let references = [
    Reference(name: "gpt2-tiny", records: "records.txt", maxGradNorm: 5.8),
    Reference(name: "llama-tiny", records: "records.jsonl", maxGradNorm: 7),
    Reference(name: "llama-scaled-rope", records: "records.jsonl", maxGradNorm: 6),
    Reference(name: "qwen2-tiny", records: "records.jsonl", maxGradNorm: 6.5),
    Reference(name: "stories260K", records: "records.jsonl", maxGradNorm: 22),
  ]

  struct Way: Sendable, CustomStringConvertible {
    let mode: TrainingMode
    let microbatch: Int
    let recompute: Recomputation
    var description: String { "\(mode) b \(microbatch) recompute \(recompute)" }

    static let all = [TrainingMode.hooks, .ghost].flatMap { mode in
      [1, 4, 16].flatMap { b in Recomputation.allCases.map { Way(mode: mode, microbatch: b, recompute: $0) } }
    }
  }

  @Test(arguments: references, Way.all)
  func equalsPyTorch(reference: Reference, way: Way) throws {
    let expected = try TensorFile("\(reference.directory)/expected.safetensors")
    let source = try ModelSource.resolve("\(reference.directory)/model")
    let model = source.configuration
    let dataset = TokenizedDataset(
      try RecordReader.read("\(reference.directory)/\(reference.records)"), tokenizer: source.tokenizer, longestSequence: 64)
    let replica = try ModelReplica(
      ReplicaPlan(
        model: model, mode: way.mode, maxGradNorm: reference.maxGradNorm,
        capacity: Microbatch.Capacity(units: way.microbatch, rows: way.microbatch * 64, positions: 64), recompute: way.recompute,
        optimizer: nil))
    try ModelFile.readParameters(
      directory: "\(reference.directory)/model", layout: replica.plan.layout, into: replica.parameters)
    let (norms, losses, factors) = (expected["norms"], expected["losses"], expected["clip_factors"])
    var seen = 0
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset) { batch, clipping in
      for (example, unit) in batch.units.enumerated() {
        seen += 1
        #expect(abs(clipping!.norm(unit: example, group: 0) - norms[unit]) < 1e-5 * norms[unit])
        #expect(abs(Double(clipping!.factor(unit: example, group: 0)) - factors[unit]) < 1e-5)
        #expect(abs(batch.loss(ofUnit: example) - losses[unit]) < 1e-5 * losses[unit])
      }
    }
    #expect(seen == norms.count)
    let sum = replica.gradientSum.map(Double.init)
    var all: [Double] = []
    for tensor in replica.plan.layout {
      #expect(relativeDistance(sum[tensor.range], expected[tensor.name]) < 1e-4, "\(tensor.name)")
      all += expected[tensor.name]
    }
    #expect(relativeDistance(sum, all) < 1e-5)
  }
}
