import DistEngine
import Foundation
import TestSupport
import Testing

@Suite struct ModelFileTests {
  let directory: TemporaryDirectory
  let configuration: ModelConfiguration
  let layout: ParameterLayout

  init() throws {
    directory = try TemporaryDirectory()
    configuration = try ModelFile.readConfiguration(directory: Fixtures.tiny).configuration
    layout = configuration.parameterLayout
  }

  private var weights: String { "\(directory.path)/model.safetensors" }

  private func refusal(_ tensors: Tensors, layout: ParameterLayout? = nil) throws -> String {
    try tensors.write(to: weights)
    let error = try #require(throws: ModelFileError.self) { try readParameters(directory.path, layout ?? self.layout) }
    return error.description.replacing(directory.path, with: "m")
  }

  @Test func aDirectoryIsWrittenAsTransformersWritesIt() throws {
    let parameters = try readParameters(Fixtures.tiny, layout)
    #expect(parameters.allSatisfy { $0.isFinite })
    let saved = "\(directory.path)/a/model"
    try parameters.withUnsafeBufferPointer { try ModelFile.write(directory: saved, configuration: configuration, parameters: $0) }
    #expect(try Fixtures.bytes("\(saved)/model.safetensors") == Fixtures.bytes("\(Fixtures.tiny)/model.safetensors"))
    #expect(try ModelFile.readConfiguration(directory: saved).configuration == configuration)
    #expect(try readParameters(saved, layout) == parameters)
    #expect(try FileManager.default.contentsOfDirectory(atPath: saved).sorted() == ["config.json", "model.safetensors"])
    // Over an older one.
    try parameters.withUnsafeBufferPointer { try ModelFile.write(directory: saved, configuration: configuration, parameters: $0) }
    #expect(try readParameters(saved, layout) == parameters)
  }

  @Test func namesCountWithoutTheirPrefix() throws {
    var tensors = try Tensors(readingFixture: layout)
    tensors.rename { String($0.dropFirst("transformer.".count)) }
    try tensors.write(to: weights)
    #expect(try readParameters(directory.path, layout) == readParameters(Fixtures.tiny, layout))
  }

  @Test func storedMasksArePassedOver() throws {
    var tensors = try Tensors(readingFixture: layout)
    tensors.add("transformer.h.0.attn.bias", [1, 1, 4, 4])
    tensors.add("h.1.attn.masked_bias", [])
    try tensors.write(to: weights)
    #expect(try readParameters(directory.path, layout) == readParameters(Fixtures.tiny, layout))
  }

  @Test func aTiedHeadMayBeStoredAgainIfItIsEqual() throws {
    var tensors = try Tensors(readingFixture: layout)
    var head = try #require(tensors["transformer.wte.weight"])
    tensors.add("lm_head.weight", [257, 64], head)
    try tensors.write(to: weights)
    #expect(try readParameters(directory.path, layout) == readParameters(Fixtures.tiny, layout))

    tensors.remove("transformer.wte.weight")
    try tensors.write(to: weights)
    #expect(try readParameters(directory.path, layout) == readParameters(Fixtures.tiny, layout))

    tensors = try Tensors(readingFixture: layout)
    head[257 * 64 - 1] += 1
    tensors.add("lm_head.weight", [257, 64], head)
    #expect(
      try refusal(tensors)
        == "m/model.safetensors: tensor lm_head.weight differs from the token embedding that config.json ties it to")
    tensors.remove("lm_head.weight")
    tensors.add("lm_head.weight", [64, 257], head)
    #expect(
      try refusal(tensors) == "m/model.safetensors: tensor lm_head.weight has shape [64, 257]: config.json makes it [257, 64]")
  }

  @Test func anUntiedHeadIsAParameter() throws {
    let untied = try ModelConfiguration(
      vocabularySize: 257, positions: 96, width: 64, layers: 2, heads: 4, tiedEmbeddings: false
    ).parameterLayout
    var tensors = try Tensors(readingFixture: layout)
    #expect(try refusal(tensors, layout: untied) == "m: tensor lm_head.weight [257, 64] is missing")
    tensors.add("lm_head.weight", [257, 64])
    try tensors.write(to: weights)
    let values = try readParameters(directory.path, untied)
    #expect(Array(values[untied["lm_head.weight"].range]) == tensors["lm_head.weight"])
    #expect(Array(values[untied["transformer.wte.weight"].range]) == tensors["transformer.wte.weight"])
  }

  @Test func tensorsThatDoNotFitAreNamed() throws {
    let whole = try Tensors(readingFixture: layout)
    var tensors = whole
    tensors.remove("transformer.h.1.ln_2.bias")
    #expect(try refusal(tensors) == "m: tensor transformer.h.1.ln_2.bias [64] is missing")
    tensors.remove("transformer.wpe.weight")
    #expect(try refusal(tensors) == "m: tensor transformer.h.1.ln_2.bias [64] is missing, and so is 1 other")
    #expect(try refusal(Tensors()).hasSuffix("is missing, and so are 27 others"))

    tensors.add("transformer.wpe.weight", [64, 96])
    tensors.add("transformer.h.1.ln_2.bias", [64])
    #expect(
      try refusal(tensors)
        == "m/model.safetensors: tensor transformer.wpe.weight has shape [64, 96]: config.json makes it [96, 64]")

    tensors = whole
    tensors.add("h.2.ln_1.weight", [64])
    #expect(
      try refusal(tensors)
        == "m/model.safetensors: tensor h.2.ln_1.weight [64] is no part of the model that config.json describes")
    tensors.add("score.weight", [2, 64])
    #expect(try refusal(tensors).hasSuffix(", and so is 1 other"))

    tensors = whole
    tensors.add("ln_f.bias", [64])
    #expect(try refusal(tensors) == "m/model.safetensors: tensor transformer.ln_f.bias is stored twice")

    tensors = whole
    var values = try #require(tensors["transformer.ln_f.bias"])
    values[63] = .nan
    tensors.remove("transformer.ln_f.bias")
    tensors.add("transformer.ln_f.bias", [64], values)
    #expect(try refusal(tensors) == "m/model.safetensors: tensor transformer.ln_f.bias has values that are not finite")
  }

  // MARK: Shards

  @Test func shardsAreReadAsOneModel() throws {
    let whole = try Tensors(readingFixture: layout)
    let isFirst = { (name: String) in name.contains(".h.0.") }
    try whole.filtered(isFirst).write(to: "\(directory.path)/model-00001-of-00002.safetensors")
    try whole.filtered { !isFirst($0) }.write(to: "\(directory.path)/model-00002-of-00002.safetensors")
    let map = Dictionary(
      uniqueKeysWithValues: whole.all.map { ($0.name, "model-0000\(isFirst($0.name) ? 1 : 2)-of-00002.safetensors") })
    let index = try JSONSerialization.data(withJSONObject: ["metadata": ["total_size": 1], "weight_map": map])
    _ = try directory.file("model.safetensors.index.json", index)
    #expect(try readParameters(directory.path, layout) == readParameters(Fixtures.tiny, layout))

    try FileManager.default.removeItem(atPath: "\(directory.path)/model-00002-of-00002.safetensors")
    #expect(throws: FileError(path: "\(directory.path)/model-00002-of-00002.safetensors", action: "read", code: ENOENT)) {
      try readParameters(directory.path, layout)
    }
  }

  @Test(arguments: ["_orig_mod.", "module.", "module._orig_mod."])
  func namesOfWrappedModelsAreUnwrapped(prefix: String) throws {
    var wrapped = Tensors()
    for tensor in try Tensors(readingFixture: layout).all { wrapped.add(prefix + tensor.name, tensor.shape, tensor.values) }
    try wrapped.write(to: "\(directory.path)/model.safetensors")
    #expect(try readParameters(directory.path, layout) == readParameters(Fixtures.tiny, layout))
  }

  @Test func shapesAreComparedBeforeAnythingIsAllocated() throws {
    let shape = { (layers: Int, positions: Int) in
      try ModelConfiguration(vocabularySize: 257, positions: positions, width: 64, layers: layers, heads: 4)
    }
    try ModelFile.checkShapes(directory: Fixtures.tiny, configuration: shape(2, 96))
    for wrong in try [shape(4096, 96), shape(1, 96), shape(2, 1 << 30)] {
      #expect(throws: ModelFileError.self) { try ModelFile.checkShapes(directory: Fixtures.tiny, configuration: wrong) }
    }
    try ModelFile.checkShapes(directory: directory.path, configuration: shape(3, 96))
  }

  @Test func aBadIndexIsNamed() throws {
    let index = try directory.file("model.safetensors.index.json", #"{"weight_map": {"a": "../x.safetensors"}}"#)
    #expect(throws: ModelFileError.malformedIndex(path: index, reason: #""../x.safetensors" is not a file of the directory"#)) {
      try readParameters(directory.path, layout)
    }
    _ = try directory.file("model.safetensors.index.json", "{")
    #expect(throws: ModelFileError.self) { try readParameters(directory.path, layout) }
  }

  // MARK: Files

  @Test func whatIsMissingIsNamed() throws {
    #expect(throws: FileError(path: "\(directory.path)/config.json", action: "read", code: ENOENT)) {
      try ModelFile.readConfiguration(directory: directory.path)
    }
    let error = try #require(throws: ModelFileError.self) { try readParameters(directory.path, layout) }
    #expect(error.description == "\(directory.path): holds no model.safetensors")
    _ = try directory.file("pytorch_model.bin", "")
    let other = try #require(throws: ModelFileError.self) { try readParameters(directory.path, layout) }
    #expect(
      other.description.hasPrefix("\(directory.path): holds no model.safetensors but pytorch_model.bin, which is not read here"))
    let path = try directory.file("config.json", #"{"model_type": "bart"}"#)
    let refused = try #require(throws: ModelConfigurationError.self) {
      try ModelFile.readConfiguration(directory: directory.path)
    }
    #expect(refused.description == #"\#(path): model_type "bart" is not supported: must be \#(ModelTypes.all)"#)
  }

  @Test func aTruncatedModelIsRefused() throws {
    let whole = try Fixtures.bytes("\(Fixtures.tiny)/model.safetensors")
    _ = try directory.file("model.safetensors", whole.dropLast(1))
    let error = try #require(throws: SafetensorsError.self) { try readParameters(directory.path, layout) }
    #expect(
      error.description
        == "\(weights): truncated: tensor transformer.wte.weight ends at byte 490752 of the data, which has 490751")
  }

  @Test func aDirectoryThatCannotBeWrittenIsNamed() throws {
    let file = try directory.file("a", "x")
    let parameters = try readParameters(Fixtures.tiny, layout)
    #expect(throws: FileError(path: "\(file)/model", action: "made a directory", code: ENOTDIR)) {
      try parameters.withUnsafeBufferPointer {
        try ModelFile.write(directory: "\(file)/model", configuration: configuration, parameters: $0)
      }
    }
  }
}
