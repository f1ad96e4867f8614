import DistEngine
import Foundation
import Testing

@Suite struct LlamaConfigurationTests {
  private static let sizes =
    #""vocab_size": 257, "max_position_embeddings": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2"#

  private func configuration(_ type: String = "llama", _ more: String = "") throws -> ModelConfiguration {
    try ModelConfiguration(json: Data(#"{"model_type": "\#(type)", \#(Self.sizes)\#(more.isEmpty ? "" : ", ")\#(more)}"#.utf8))
  }

  private func refusal(_ type: String = "llama", _ more: String) throws -> String {
    try #require(throws: ModelConfigurationError.self) { try configuration(type, more) }.description
  }

  @Test func theRestDefaultsAsInTransformers() throws {
    for type in ["llama", "qwen2"] {
      let read = try configuration(type)
      #expect(read.keyHeads == 2 && read.headWidth == 16 && read.normEpsilon == 1e-6 && !read.tiedEmbeddings && read.slidingWindow == nil)
      #expect(read.rotary == RotaryPositions(theta: 10_000) && read.longestSequence == 96 && read.labels == nil && !read.isEncoder)
      #expect(read.biases == .init(attentionInput: type == "qwen2", attentionOutput: false, feedForward: false))
    }
    #expect(try configuration("mistral").slidingWindow == 4096)
    #expect(try configuration("mistral", #""sliding_window": null"#).slidingWindow == nil)
    let sizes = Self.sizes.replacing(#", "num_key_value_heads": 2"#, with: "")
    #expect(try ModelConfiguration(json: Data(#"{"model_type": "llama", \#(sizes)}"#.utf8)).keyHeads == 4)
    #expect(throws: ModelConfigurationError.missing(key: "num_key_value_heads")) {
      try ModelConfiguration(json: Data(#"{"model_type": "mistral", \#(sizes)}"#.utf8))
    }
  }

  @Test func everyKeyIsRead() throws {
    let read = try configuration(
      "llama",
      """
      "head_dim": 10, "rms_norm_eps": 1e-4, "tie_word_embeddings": true, "initializer_range": 0.5, "attention_bias": true, "mlp_bias": true,
      "bos_token_id": 1, "eos_token_id": [2, 5], "pad_token_id": 0, "rope_theta": 5e5
      """)
    #expect(read.headWidth == 10 && read.normEpsilon == 1e-4 && read.tiedEmbeddings && read.initializerRange == 0.5 && read.biases == .all)
    #expect(read.bosTokenID == 1 && read.eosTokenIDs == [2, 5] && read.eosTokenID == 2 && read.padTokenID == 0)
    #expect(read.rotary == RotaryPositions(theta: 500_000))
  }

  /// As transformers wrote them before its fifth version, and since.
  @Test func anglesAreReadInBothSpellings() throws {
    let llama3 = #""factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4, "original_max_position_embeddings": 32"#
    for (older, newer, expected) in [
      (#""rope_theta": 50000"#, #""rope_parameters": {"rope_theta": 50000.0, "rope_type": "default"}"#, RotaryPositions(theta: 50_000)),
      (
        #""rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 2.5}"#,
        #""rope_parameters": {"rope_theta": 10000, "rope_type": "linear", "factor": 2.5}"#,
        RotaryPositions(theta: 10_000, scaling: .linear(factor: 2.5))
      ),
      (
        #""rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", \#(llama3)}"#,
        #""rope_parameters": {"rope_theta": 5e5, "rope_type": "llama3", \#(llama3)}"#,
        RotaryPositions(theta: 500_000, scaling: .llama3(factor: 8, low: 1, high: 4, originalPositions: 32))
      ),
    ] {
      for more in [older, newer, "\(older), \(newer)"] { #expect(try configuration("llama", more).rotary == expected, "\(more)") }
    }
    #expect(
      try refusal("llama", #""rope_theta": 1e4, "rope_parameters": {"rope_theta": 2e4}"#)
        == "rope_theta and rope_parameters.rope_theta say different things: one of them must go")
    #expect(
      try refusal("llama", #""rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"rope_type": "linear", "factor": 3}"#)
        == "rope_scaling and rope_parameters say different things: one of them must go")
  }

  @Test(arguments: [
    ("llama", #""hidden_act": "gelu""#, #"hidden_act "gelu" is not supported: must be "silu" or "swish""#),
    (
      "llama", #""rope_scaling": {"rope_type": "yarn", "factor": 4}"#,
      #"rope_scaling.rope_type "yarn" is not supported: must be "default" or "linear" or "llama3""#
    ),
    ("llama", #""rope_scaling": {"type": "dynamic", "factor": 4}"#, #"rope_scaling.type "dynamic" is not supported: must be "default" or "linear" or "llama3""#),
    ("llama", #""rope_scaling": {"type": "linear"}"#, "rope_scaling.factor is missing"),
    ("llama", #""rope_parameters": {"rope_type": "llama3", "factor": 8}"#, "rope_parameters.low_freq_factor is missing"),
    ("llama", #""rope_scaling": {"type": "linear", "factor": "2"}"#, #"rope_scaling.factor is "2": must be a number"#),
    ("llama", #""rope_scaling": "linear""#, #"rope_scaling is "linear": must be an object"#),
    ("llama", #""rope_scaling": {"type": "linear", "factor": 0}"#, "rope_theta is 10000.0: must be a number above 0, and factors too"),
    ("llama", #""rope_theta": -1"#, "rope_theta is -1.0: must be a number above 0, and factors too"),
    ("llama", #""partial_rotary_factor": 0.5"#, "partial_rotary_factor 0.5 is not supported: must be 1.0"),
    ("llama", #""quantization_config": {"bits": 4}"#, "quantization_config {…} is not supported: must be absent"),
    ("llama", #""head_dim": 7"#, "head_dim is 7: must be even, for rotary positions"),
    ("llama", #""head_dim": 0"#, "head_dim is 0: must be 1 to 134217727"),
    ("llama", #""eos_token_id": [2, 257]"#, "eos_token_id is 257: must be an id of the vocabulary, 0 to 256"),
    ("llama", #""eos_token_id": [2, "x"]"#, "eos_token_id is […]: must be an integer or a list of integers"),
    ("qwen2", #""layer_types": ["full_attention", "chunked"], "use_sliding_window": true"#, "layer_types and max_window_layers say different things: one of them must go"),
    ("mistral", #""sliding_window": 0"#, "sliding_window is 0: must be 1 to 2147483647"),
  ])
  func whatChangesTheFunctionIsRefusedByName(type: String, more: String, expected: String) throws {
    #expect(try refusal(type, more) == expected)
  }

  @Test func keysHeadsDivideTheHeads() throws {
    let json = #"{"model_type": "llama", \#(Self.sizes.replacing(#""num_key_value_heads": 2"#, with: #""num_key_value_heads": 3"#))}"#
    #expect(throws: ModelConfigurationError.outOfRange(key: "num_key_value_heads", value: "3", allowed: "a divisor of num_attention_heads 4")) {
      try ModelConfiguration(json: Data(json.utf8))
    }
    let odd = #"{"model_type": "llama", \#(Self.sizes.replacing(#""hidden_size": 64"#, with: #""hidden_size": 62"#))}"#
    #expect(throws: ModelConfigurationError.headsDoNotDivideWidth("num_attention_heads", 4, "hidden_size", 62)) {
      try ModelConfiguration(json: Data(odd.utf8))
    }
  }

  @Test func windowsBoundTheSequence() throws {
    let mistral = try configuration("mistral", #""sliding_window": 32"#)
    #expect(mistral.longestSequence == 32 && mistral.defaultSequence == 32 && mistral.positions == 96)
    let qwen = try configuration("qwen2", #""use_sliding_window": true, "sliding_window": 40, "max_window_layers": 1, "layer_types": ["full_attention", "sliding_attention"]"#)
    #expect(qwen.slidingWindow == 40 && qwen.firstWindowedLayer == 1)
    #expect(try configuration("qwen2", #""use_sliding_window": false, "sliding_window": 40"#).slidingWindow == nil)
    #expect(try configuration("llama", #""sliding_window": 4"#).slidingWindow == nil)
  }

  @Test func aModelWithoutATypeIsKnownByItsArchitecture() throws {
    for (architecture, type) in [("LlamaForCausalLM", "llama"), ("Qwen2ForCausalLM", "qwen2"), ("MistralForSequenceClassification", "mistral")] {
      let read = try ModelConfiguration(json: Data(#"{"architectures": ["\#(architecture)"], \#(Self.sizes)}"#.utf8))
      #expect(read.modelType == type)
    }
    let error = try #require(throws: ModelConfigurationError.self) {
      try ModelConfiguration(json: Data(#"{"architectures": ["BartModel"], \#(Self.sizes)}"#.utf8))
    }
    #expect(error.description.hasPrefix(#"architectures "BartModel" is not supported: must be "GPT2LMHeadModel" or "LlamaForCausalLM" or "#))
  }

  @Test func labelsAreReadInOrder() throws {
    let classifier = #""architectures": ["LlamaForSequenceClassification"]"#
    #expect(try configuration("llama", #"\#(classifier), "id2label": {"1": "b", "0": "a", "2": "c"}"#).labels == ["a", "b", "c"])
    #expect(try configuration("llama", classifier).labels == ["LABEL_0", "LABEL_1"])
    #expect(try configuration("llama", #""id2label": {"0": "a"}"#).labels == nil, "of a language model they mean nothing")
    #expect(
      try refusal("llama", #"\#(classifier), "id2label": {"0": "a", "2": "c"}"#)
        == #"id2label {…} is not supported: must be an object of names by "0", "1" …"#)
  }

  @Test func whatIsWrittenIsReadBack() throws {
    let models = try [
      configuration("llama", #""head_dim": 10, "attention_bias": true, "rope_scaling": {"type": "linear", "factor": 2}, "eos_token_id": [1, 2]"#),
      configuration("llama", #""mlp_bias": true, "bos_token_id": 3, "pad_token_id": 4, "tie_word_embeddings": true"#),
      configuration("llama", #""architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "ham", "1": "spam"}"#),
      configuration("qwen2", #""use_sliding_window": true, "sliding_window": 40, "max_window_layers": 1"#), configuration("qwen2"),
      configuration("mistral"), configuration("mistral", #""sliding_window": null"#),
    ]
    for model in models { #expect(try ModelConfiguration(json: model.json()) == model) }
  }

  /// The sharing of keys and a head's own width show in the shapes.
  @Test func shapesAreThoseOfTransformers() throws {
    let layout = try configuration("qwen2", #""head_dim": 10"#).parameterLayout
    #expect(layout["model.layers.1.self_attn.q_proj.weight"].shape == [40, 64] && layout["model.layers.1.self_attn.q_proj.bias"].shape == [40])
    #expect(layout["model.layers.1.self_attn.k_proj.weight"].shape == [20, 64] && layout["model.layers.1.self_attn.o_proj.weight"].shape == [64, 40])
    #expect(layout.entry(named: "model.layers.1.self_attn.o_proj.bias") == nil && layout["lm_head.weight"].shape == [257, 64])
    #expect(layout["model.layers.0.mlp.gate_proj.weight"].shape == [96, 64] && layout["model.layers.0.mlp.down_proj.weight"].shape == [64, 96])
    for fixture in ["llama-tiny", "llama-scaled-rope", "qwen2-tiny"] {
      let directory = "\(Fixtures.directory)/\(fixture)/model"
      let file = try SafetensorsFile(path: "\(directory)/model.safetensors")
      let own = try ModelFile.readConfiguration(directory: directory).configuration.parameterLayout
      #expect(own.map(\.name) == file.tensors.map(\.name) && own.map(\.shape) == file.tensors.map(\.shape))
    }
  }
}
