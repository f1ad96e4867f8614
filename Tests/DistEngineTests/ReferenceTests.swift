import DistEngine
import Foundation
import TestSupport
import Testing

/// Per-example norms, factors and the clipped sum of a random GPT-2, from PyTorch in float64 (Tests/Fixtures/gpt2-tiny).
@Suite struct ReferenceTests {
  static let fixture = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures/gpt2-tiny").path(percentEncoded: false)

  @Test(arguments: [TrainingMode.hooks, .ghost], [1, 4, 16])
  func equalsPyTorch(mode: TrainingMode, microbatch: Int) throws {
    let expected = try SafetensorsFile(path: "\(Self.fixture)/expected.safetensors")
    let read = { (name: String) -> [Double] in
      let tensor = expected.tensor(named: name)!
      let values = AlignedBuffer<Float>(count: tensor.shape.reduce(1, *))
      try expected.read(tensor, into: values.elements)
      return values.elements.map(Double.init)
    }
    let model = try ModelFile.readConfiguration(directory: "\(Self.fixture)/model").configuration
    let dataset = TokenizedDataset(
      try RecordReader.read("\(Self.fixture)/records.txt"), tokenizer: ByteTokenizer(), longestSequence: 64)
    let replica = try ModelReplica(
      ReplicaPlan(
        model: model, mode: mode, maxGradNorm: 5.8,
        capacity: Microbatch.Capacity(units: microbatch, rows: microbatch * 64, positions: 64), optimizer: nil))
    try ModelFile.readParameters(
      directory: "\(Self.fixture)/model", layout: replica.plan.layout, into: replica.parameters)
    let (norms, losses, factors) = (try read("norms"), try read("losses"), try read("clip_factors"))
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset) { batch, clipping in
      for (example, unit) in batch.units.enumerated() {
        #expect(abs(clipping!.norm(unit: example, group: 0) - norms[unit]) < 1e-5 * norms[unit])
        #expect(abs(Double(clipping!.factor(unit: example, group: 0)) - factors[unit]) < 1e-5)
        #expect(abs(batch.loss(ofUnit: example) - losses[unit]) < 1e-5 * losses[unit])
      }
    }
    let sum = replica.gradientSum.map(Double.init)
    var all: [Double] = []
    for tensor in replica.plan.layout {
      let reference = try read(tensor.name)
      #expect(relativeDistance(sum[tensor.range], reference) < 1e-4, "\(tensor.name)")
      all += reference
    }
    #expect(relativeDistance(sum, all) < 1e-5)
  }
}
