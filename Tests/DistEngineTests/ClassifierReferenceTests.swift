import DistEngine
import Foundation
import TestSupport
import Testing

/// Norms, factors and the clipped sum of random classifiers, from PyTorch in float64 (Tests/Fixtures).
@Suite struct ClassifierReferenceTests {
  struct Reference: Sendable, CustomStringConvertible {
    let name: String
    let length: Int
    let maxGradNorm: Double
    var texts = ["text"]
    var unit: String?
    var description: String { name }

    var directory: String {
      URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures/\(name)").path(percentEncoded: false)
    }
  }

  static let references = [
    Reference(name: "bert-tiny-pairs", length: 40, maxGradNorm: 6, texts: ["text", "second"]),
    Reference(name: "bert-tiny-units", length: 40, maxGradNorm: 6.3, texts: ["text", "second"], unit: "author"),
    Reference(name: "roberta-tiny", length: 64, maxGradNorm: 8.3),
    Reference(name: "distilbert-tiny", length: 24, maxGradNorm: 6.2),
    Reference(name: "gpt2-tiny-labels", length: 40, maxGradNorm: 18),
    Reference(name: "llama-tiny-labels", length: 40, maxGradNorm: 12.4),
  ]

  @Test(arguments: references, ReferenceTests.Way.all)
  func equalsPyTorch(reference: Reference, way: ReferenceTests.Way) throws {
    let expected = try TensorFile("\(reference.directory)/expected.safetensors")
    let directory = "\(reference.directory)/model"
    let source = try ModelSource.resolve(directory, task: .classification(labels: nil, allowsNewHead: false))
    let model = source.configuration
    let fields = RecordFields(texts: reference.texts, label: "label", labels: try LabelSet(try #require(model.labels)), unit: reference.unit)
    let dataset = TokenizedDataset(
      try RecordReader.read("\(reference.directory)/records.jsonl", fields: fields), tokenizer: source.tokenizer, format: .classification,
      longestSequence: reference.length)
    let largest = max(reference.length, reference.unit == nil ? 0 : dataset.largestUnit(ofRecords: .max))
    let replica = try ModelReplica(
      ReplicaPlan(
        model: model, mode: way.mode, maxGradNorm: reference.maxGradNorm,
        capacity: Microbatch.Capacity(
          units: way.microbatch, rows: way.microbatch * largest, positions: reference.length, unitRows: largest, unitsAreRecords: reference.unit == nil),
        recompute: way.recompute, optimizer: nil))
    try ModelFile.readParameters(directory: directory, layout: replica.plan.layout, into: replica.parameters)
    let (norms, losses, factors) = (expected["norms"], expected["losses"], expected["clip_factors"])
    var seen = 0
    _ = replica.accumulateGradients(of: 0..<dataset.unitCount, in: dataset) { batch, clipping in
      for (own, unit) in batch.units.enumerated() {
        seen += 1
        #expect(abs(clipping!.norm(unit: own, group: 0) - norms[unit]) < 1e-5 * norms[unit])
        #expect(abs(Double(clipping!.factor(unit: own, group: 0)) - factors[unit]) < 1e-5)
      }
      for (own, record) in batch.records.enumerated() {
        #expect(abs(batch.loss(ofSequence: own) - losses[record]) < 1e-5 * losses[record])
      }
    }
    #expect(seen == norms.count)
    let sum = replica.gradientSum.map(Double.init)
    let all = replica.plan.layout.flatMap { expected[$0.name] }
    for (name, distance) in SmallClassifiers.distances(sum, all, replica.plan.layout) { #expect(distance < 1e-4, "\(name) differs by \(distance)") }
    #expect(relativeDistance(sum, all) < 1e-5)
  }
}
