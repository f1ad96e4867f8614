import DistEngine
import Foundation
import TestSupport
import Testing

/// `adapter_config.json` beside a model: what it means, and how it is written.
@Suite struct AdapterFileTests {
  private static func model(_ name: String) throws -> ModelConfiguration {
    try ModelFile.readConfiguration(directory: "\(Fixtures.directory)/\(name)/model").configuration
  }

  private static func description(_ settings: String, tensors: [String] = []) throws -> AdapterFile.Description {
    try AdapterFile.description(Array("{\"peft_type\": \"LORA\", \"r\": 4, \(settings)}".utf8), directory: "dir") { tensors }
  }

  private static func written(_ model: ModelConfiguration) throws -> (targets: [String], saved: [String]?) {
    let fields = try #require(try JSONSerialization.jsonObject(with: AdapterFile.json(model, model: "base")) as? [String: Any])
    return (try #require(fields["target_modules"] as? [String]), fields["modules_to_save"] as? [String])
  }

  /// The shortest names that mean the same layers and no others, whoever reads them.
  @Test(arguments: [
    ("gpt2-tiny", ["c_attn"], ["c_attn"]), ("gpt2-tiny", ["attn.c_proj"], ["attn.c_proj"]), ("gpt2-tiny", ["c_proj"], ["c_proj"]),
    ("gpt2-tiny", ["transformer.h.0.attn.c_attn"], ["transformer.h.0.attn.c_attn"]),
    ("gpt2-tiny", ["h.1.attn.c_attn", "h.0.attn.c_attn"], ["c_attn"]),
    ("gpt2-tiny", ["h.0.attn.c_proj", "c_fc"], ["transformer.h.0.attn.c_proj", "transformer.h.0.mlp.c_fc", "transformer.h.1.mlp.c_fc"]),
    ("llama-tiny", ["q_proj", "v_proj"], ["q_proj", "v_proj"]), ("llama-tiny", ["layers.1.mlp.up_proj"], ["model.layers.1.mlp.up_proj"]),
    // The pooler has a `dense`, too.
    ("bert-tiny-pairs", ["output.dense"], ["attention.output.dense", "output.dense"]), ("bert-tiny-pairs", ["query"], ["query"]),
    ("bert-tiny-pairs", ["layer.1.intermediate.dense"], ["bert.encoder.layer.1.intermediate.dense"]),
  ])
  func targetsAreWrittenAsTheyAreTrained(name: String, targets: [String], expected: [String]) throws {
    let list = targets.map { "\"\($0)\"" }.joined(separator: ", ")
    let adapted = try Self.model(name).adapted(as: Self.description("\"target_modules\": [\(list)], \"modules_to_save\": [\"score\"]"), LoRAOptions())
    #expect(try Self.written(adapted).targets == expected)
    let again = try Self.model(name).adapted(
      as: Self.description("\"target_modules\": [\(expected.map { "\"\($0)\"" }.joined(separator: ", "))]"), LoRAOptions())
    #expect(again.adaptedModules == adapted.adaptedModules && !adapted.adaptedModules.isEmpty)
  }

  /// From what is saved, whatever the settings call it.
  @Test(arguments: [
    ("bert-tiny-pairs", "null", ["classifier.weight", "classifier.bias"], ["classifier"]),
    ("bert-tiny-pairs", "[\"classifier\", \"score\"]", [], ["classifier"]),
    ("bert-tiny-pairs", "[\"pooler\"]", ["classifier.weight"], ["classifier", "pooler"]),
    ("bert-tiny-pairs", "[\"score\"]", [], nil),
    ("roberta-tiny", "[\"classifier\"]", [], ["classifier"]),
    ("roberta-tiny", "[\"out_proj\"]", [], ["classifier.out_proj"]),
    ("roberta-tiny", "null", ["classifier.dense.weight", "classifier.dense.bias", "classifier.out_proj.bias"], ["classifier"]),
    ("distilbert-tiny", "[\"classifier\"]", ["pre_classifier.bias"], ["classifier", "pre_classifier"]),
    ("gpt2-tiny-labels", "null", ["score.weight"], ["score"]),
    ("gpt2-tiny", "null", [], nil),
  ] as [(String, String, [String], [String]?)])
  func whatIsSavedIsWritten(name: String, modules: String, tensors: [String], expected: [String]?) throws {
    let stored = try Self.description("\"target_modules\": \"all-linear\", \"modules_to_save\": \(modules)", tensors: tensors.map { "base_model.model.\($0)" })
    let adapted = try Self.model(name).adapted(as: stored, LoRAOptions())
    #expect(try Self.written(adapted).saved == expected)
    // All of each layer: half of one would be no layer's gradient.
    let saved = adapted.parameterTable(trainable: .lora).trained.filter { $0.role == .classifier }
    #expect(Set(saved.map(\.name)).isSuperset(of: tensors.map { "base_model.model.\($0)" }) && (expected == nil) == saved.isEmpty)
  }

  /// s is computed with as a 32-bit float.
  @Test func scalesThatFloatsDoNotHoldAreRefused() throws {
    for (settings, isUsable) in [
      ("\"lora_alpha\": 8", true), ("\"lora_alpha\": 1e38", true), ("\"lora_alpha\": 1.5e39", false), ("\"lora_alpha\": 1.3e39", true),
      ("\"lora_alpha\": 1e39, \"use_rslora\": true", false), ("\"lora_alpha\": 1e-37", true), ("\"lora_alpha\": 4e-38", false),
      ("\"lora_alpha\": 4e-38, \"use_rslora\": true", true), ("\"lora_alpha\": 0", false), ("\"lora_alpha\": -1", false), ("\"lora_alpha\": 1e-300", false),
    ] {
      let text = "\(settings), \"target_modules\": [\"c_attn\"]"
      guard !isUsable else {
        #expect(try Self.model("gpt2-tiny").adapted(as: Self.description(text), LoRAOptions()).adapters != nil, "\(settings)")
        continue
      }
      let error = try #require(throws: ModelConfigurationError.self, "\(settings)") { try Self.description(text) }
      #expect(error.description.contains("dir/adapter_config.json") && error.description.contains("lora_alpha"), "\(error)")
    }
  }

  /// A half is refused by the name of the tensor that is missing.
  @Test func halfOfAHeadIsRefused() throws {
    let directory = try TemporaryDirectory()
    let adapter = "\(Fixtures.directory)/bert-tiny-lora/adapter"
    let model = try Self.model("bert-tiny-lora")
    for name in ["classifier.weight", "classifier.bias"] {
      let file = try TensorFile("\(adapter)/adapter_model.safetensors")
      let path = "\(directory.path)/\(name)"
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
      let settings = try String(contentsOfFile: "\(adapter)/adapter_config.json", encoding: .utf8)
      let names = try NSRegularExpression(pattern: "\"modules_to_save\": \\[[^]]*\\]")
      let range = NSRange(settings.startIndex..., in: settings)
      try names.stringByReplacingMatches(in: settings, range: range, withTemplate: "\"modules_to_save\": null")
        .write(toFile: "\(path)/adapter_config.json", atomically: true, encoding: .utf8)
      var tensors = Tensors()
      for own in file.names where own != "base_model.model.\(name)" {
        let values = file[own].map(Float.init)
        let layout = try model.adapted(as: AdapterFile.read(directory: adapter), LoRAOptions()).parameterTable(trainable: .lora).trained
        tensors.add(own, layout[own].shape, values)
      }
      try tensors.write(to: "\(path)/adapter_model.safetensors")
      let error = try #require(throws: AdapterError.self) {
        try ModelSource.resolve(
          "\(Fixtures.directory)/bert-tiny-lora/model", task: .classification(labels: nil, allowsNewHead: false), adapter: try AdapterRequest(directory: path))
      }
      #expect(error.description.contains("base_model.model.\(name)") && error.description.contains("missing"), "\(error)")
    }
  }
}
