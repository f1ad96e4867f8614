import DistEngine
import Foundation
import TestSupport
import Testing

/// Norms, factors and the clipped sum of adapters, from PyTorch and PEFT in float64 (Tests/Fixtures).
@Suite struct AdapterReferenceTests {
  struct Reference: Sendable, CustomStringConvertible {
    let name: String
    let maxGradNorm: Double
    var isClassifier = false
    var description: String { name }

    var directory: String {
      URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures/\(name)").path(percentEncoded: false)
    }

    func source() throws -> ModelSource {
      try ModelSource.resolve(
        "\(directory)/model", task: isClassifier ? .classification(labels: nil, allowsNewHead: false) : .language,
        adapter: try AdapterRequest(directory: "\(directory)/adapter"))
    }

    func dataset(_ source: ModelSource) throws -> TokenizedDataset {
      guard isClassifier else {
        return TokenizedDataset(try RecordReader.read("\(directory)/records.jsonl"), tokenizer: source.tokenizer, longestSequence: 64)
      }
      let fields = RecordFields(texts: ["text"], label: "label", labels: try LabelSet(source.configuration.labels ?? []), unit: nil)
      return TokenizedDataset(
        try RecordReader.read("\(directory)/records.jsonl", fields: fields), tokenizer: source.tokenizer, format: .classification, longestSequence: 64)
    }
  }

  static let references = [
    Reference(name: "gpt2-tiny-lora", maxGradNorm: 2.4), Reference(name: "llama-tiny-lora", maxGradNorm: 3.5),
    Reference(name: "bert-tiny-lora", maxGradNorm: 4.6, isClassifier: true),
  ]

  /// With the model stored in 16 bits, and PyTorch's float64 of the same rounded numbers.
  static let narrowReferences = [Reference(name: "llama-tiny-lora-bf16", maxGradNorm: 5.2), Reference(name: "gpt2-tiny-lora-f16", maxGradNorm: 2.1)]

  @Test(arguments: references + narrowReferences, ReferenceTests.Way.all)
  func equalsPEFT(reference: Reference, way: ReferenceTests.Way) throws {
    let expected = try TensorFile("\(reference.directory)/expected.safetensors")
    let source = try reference.source()
    let dataset = try reference.dataset(source)
    let replica = try ModelReplica(
      ReplicaPlan(
        model: source.configuration, mode: way.mode, maxGradNorm: reference.maxGradNorm,
        capacity: Microbatch.Capacity(units: way.microbatch, rows: way.microbatch * 64, positions: 64, unitsAreRecords: true), recompute: way.recompute,
        optimizer: nil, trainable: .lora, stored: source.stored))
    #expect((replica.mapped != nil) == Self.narrowReferences.contains { $0.name == reference.name })
    try replica.readParameters(from: "\(reference.directory)/model", adapter: source.adapter)
    let (norms, losses, factors) = (expected["norms"], expected["losses"], expected["clip_factors"])
    var seen = 0
    _ = replica.accumulateGradients(of: 0..<dataset.unitCount, in: dataset) { batch, clipping in
      for (own, unit) in batch.units.enumerated() {
        seen += 1
        #expect(abs(clipping!.norm(unit: own, group: 0) - norms[unit]) < 1e-5 * norms[unit])
        #expect(abs(Double(clipping!.factor(unit: own, group: 0)) - factors[unit]) < 1e-5)
        #expect(abs(batch.loss(ofUnit: own) - losses[unit]) < 1e-5 * losses[unit])
      }
    }
    #expect(seen == norms.count)
    #expect(replica.plan.layout.map(\.name) == expected.names.filter { !["norms", "losses", "clip_factors"].contains($0) }.sorted())
    let sum = replica.gradientSum.map(Double.init)
    for tensor in replica.plan.layout { #expect(relativeDistance(sum[tensor.range], expected[tensor.name]) < 1e-4, "\(tensor.name)") }
    #expect(relativeDistance(sum, replica.plan.layout.flatMap { expected[$0.name] }) < 1e-5)
  }

  /// What is written is what is read: tensors, targets, scale, what is trained whole.
  @Test(arguments: references) func writtenAdaptersAreReadAgain(reference: Reference) throws {
    let source = try reference.source()
    let plan = ReplicaPlan(
      model: source.configuration, mode: .standard, capacity: Microbatch.Capacity(units: 1, rows: 64, positions: 64), optimizer: nil,
      trainable: .lora)
    let replica = try ModelReplica(plan)
    try replica.readParameters(from: "\(reference.directory)/model", adapter: source.adapter)
    let directory = try TemporaryDirectory()
    let adapter = "\(directory.path)/adapter"
    try AdapterFile.write(directory: adapter, configuration: source.configuration, model: "base", layout: plan.table.whole) {
      UnsafeBufferPointer(replica.values(of: $0))
    }
    let (before, after) = (try TensorFile("\(reference.directory)/adapter/adapter_model.safetensors"), try TensorFile("\(adapter)/adapter_model.safetensors"))
    #expect(before.names.sorted() == after.names.sorted())
    for name in before.names { #expect(before[name] == after[name], "\(name)") }
    try replica.checkAdapter(savedIn: adapter, tokenizer: source.tokenizer)
    // A byte of a tensor.
    let path = "\(adapter)/adapter_model.safetensors"
    var bytes = try Data(contentsOf: URL(filePath: path))
    bytes[bytes.count - 2] ^= 0x40
    try bytes.write(to: URL(filePath: path))
    #expect(throws: AdapterError.self) { try replica.checkAdapter(savedIn: adapter, tokenizer: source.tokenizer) }
  }

  /// Adapters that were written here and loaded in PEFT, with the losses that it computes (scripts/peft-losses): they are still written so, byte for byte.
  @Test(arguments: references) func whatPEFTLoadedIsWhatIsWritten(reference: Reference) throws {
    let written = "\(reference.directory)/written"
    let source = try ModelSource.resolve(
      "\(reference.directory)/model", task: reference.isClassifier ? .classification(labels: nil, allowsNewHead: false) : .language,
      adapter: try AdapterRequest(directory: written))
    let dataset = try reference.dataset(source)
    let replica = try ModelReplica(
      ReplicaPlan(
        model: source.configuration, mode: .standard, capacity: Microbatch.Capacity(units: 4, rows: 256, positions: 64, unitsAreRecords: true),
        optimizer: nil, trainable: .lora))
    try replica.readParameters(from: "\(reference.directory)/model", adapter: source.adapter)
    let json = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: "\(written)/losses.json")))
    let losses = try #require((json as? [String: [Double]])?["losses"])
    #expect(losses.count == dataset.count)
    for (record, loss) in losses.enumerated() {
      let own = replica.loss(of: record..<record + 1, in: dataset)
      #expect(abs(own.sum / Double(own.targets) - loss) < 1e-5 * loss, "record \(record)")
    }
    let directory = try TemporaryDirectory()
    try AdapterFile.write(
      directory: "\(directory.path)/again", configuration: source.configuration, model: "\(reference.directory)/model", layout: replica.plan.table.whole
    ) { UnsafeBufferPointer(replica.values(of: $0)) }
    for name in [AdapterFile.configurationName, AdapterFile.weightsName] {
      #expect(try FileBytes.read("\(directory.path)/again/\(name)") == FileBytes.read("\(written)/\(name)"), "\(name)")
    }
  }

  /// The scale forgotten or halved shows, whatever the tensors.
  @Test func anotherScaleIsDamage() throws {
    let reference = Self.references[0]
    let source = try reference.source()
    let plan = ReplicaPlan(
      model: source.configuration, mode: .standard, capacity: Microbatch.Capacity(units: 1, rows: 64, positions: 64), optimizer: nil,
      trainable: .lora)
    let replica = try ModelReplica(plan)
    try replica.readParameters(from: "\(reference.directory)/model", adapter: source.adapter)
    let directory = try TemporaryDirectory()
    let adapter = "\(directory.path)/adapter"
    try AdapterFile.write(directory: adapter, configuration: source.configuration, model: "base", layout: plan.table.whole) {
      UnsafeBufferPointer(replica.values(of: $0))
    }
    let path = "\(adapter)/adapter_config.json"
    let text = try String(contentsOfFile: path, encoding: .utf8)
    try text.replacing("\"lora_alpha\" : 8", with: "\"lora_alpha\" : 4").write(toFile: path, atomically: true, encoding: .utf8)
    #expect(throws: AdapterError.self) { try replica.checkAdapter(savedIn: adapter, tokenizer: source.tokenizer) }
  }
}
