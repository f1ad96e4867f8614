import DistEngine
import Foundation
import TestSupport
import Testing

@Suite struct LlamaFileTests {
  private let directory: TemporaryDirectory
  private let source = "\(Fixtures.directory)/llama-scaled-rope/model"
  private let layout: ParameterLayout

  init() throws {
    directory = try TemporaryDirectory()
    layout = try ModelFile.readConfiguration(directory: source).configuration.parameterLayout
  }

  private func tensors() throws -> Tensors {
    let values = try readParameters(source, layout)
    var tensors = Tensors()
    for entry in layout { tensors.add(entry.name, entry.shape, Array(values[entry.range])) }
    return tensors
  }

  @Test func namesCountWithoutTheirPrefix() throws {
    var tensors = try tensors()
    tensors.rename { String($0.dropFirst("model.".count)) }
    try tensors.write(to: "\(directory.path)/model.safetensors")
    #expect(try readParameters(directory.path, layout) == readParameters(source, layout))
  }

  @Test func storedFrequenciesArePassedOver() throws {
    var tensors = try tensors()
    tensors.add("model.layers.0.self_attn.rotary_emb.inv_freq", [8])
    tensors.add("layers.1.self_attn.rotary_emb.inv_freq", [8])
    try tensors.write(to: "\(directory.path)/model.safetensors")
    #expect(try readParameters(directory.path, layout) == readParameters(source, layout))
  }

  @Test func shardsAreReadTogether() throws {
    let tensors = try tensors()
    let isFirst = { (name: String) in name.contains("layers.0") }
    try tensors.filtered(isFirst).write(to: "\(directory.path)/model-00001-of-00002.safetensors")
    try tensors.filtered { !isFirst($0) }.write(to: "\(directory.path)/model-00002-of-00002.safetensors")
    let map = layout.map { #""\#($0.name)": "model-0000\#(isFirst($0.name) ? 1 : 2)-of-00002.safetensors""# }.joined(separator: ",")
    _ = try directory.file("model.safetensors.index.json", #"{"metadata": {}, "weight_map": {\#(map)}}"#)
    #expect(try readParameters(directory.path, layout) == readParameters(source, layout))
  }

  @Test func whatDoesNotFitIsNamed() throws {
    func refusal(_ change: (inout Tensors) -> Void) throws -> String {
      var tensors = try tensors()
      change(&tensors)
      try tensors.write(to: "\(directory.path)/model.safetensors")
      let error = try #require(throws: ModelFileError.self) { try readParameters(directory.path, layout) }
      return error.description.replacing(directory.path, with: "m")
    }
    #expect(
      try refusal { $0.remove("model.layers.1.self_attn.k_proj.weight") }
        == "m: tensor model.layers.1.self_attn.k_proj.weight [32, 64] is missing")
    #expect(
      try refusal {
        $0.remove("model.norm.weight")
        $0.add("model.norm.weight", [65])
      } == "m/model.safetensors: tensor model.norm.weight has shape [65]: config.json makes it [64]")
    #expect(
      try refusal { $0.add("model.layers.0.self_attn.k_proj.bias", [32]) }
        == "m/model.safetensors: tensor model.layers.0.self_attn.k_proj.bias [32] is no part of the model that config.json describes")
    #expect(
      try refusal { $0.add("lm_head.weight", [257, 64]) }
        == "m/model.safetensors: tensor lm_head.weight differs from the token embedding that config.json ties it to")
  }

  @Test func aDirectoryIsWrittenAsTransformersWritesIt() throws {
    for fixture in ["llama-tiny", "llama-scaled-rope", "qwen2-tiny"] {
      let source = "\(Fixtures.directory)/\(fixture)/model"
      let configuration = try ModelFile.readConfiguration(directory: source).configuration
      let parameters = try readParameters(source, configuration.parameterLayout)
      let saved = "\(directory.path)/\(fixture)"
      try parameters.withUnsafeBufferPointer { try ModelFile.write(directory: saved, configuration: configuration, parameters: $0) }
      #expect(try Fixtures.bytes("\(saved)/model.safetensors") == Fixtures.bytes("\(source)/model.safetensors"))
      #expect(try ModelFile.readConfiguration(directory: saved).configuration == configuration)
    }
  }
}
