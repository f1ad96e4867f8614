import DistEngine
import Foundation
import Testing

@Suite struct ModelConfigurationTests {
  private static let tiny =
    #""model_type": "gpt2", "vocab_size": 257, "n_positions": 96, "n_embd": 64, "n_layer": 2, "n_head": 4"#

  private func configuration(_ more: String) throws -> ModelConfiguration {
    try ModelConfiguration(json: Data("{\(Self.tiny)\(more.isEmpty ? "" : ", ")\(more)}".utf8))
  }

  private func refusal(json: String) throws -> String {
    try #require(throws: ModelConfigurationError.self) { try ModelConfiguration(json: Data(json.utf8)) }.description
  }

  private func refusal(_ more: String) throws -> String { try refusal(json: "{\(Self.tiny), \(more)}") }

  @Test func theRestDefaultsAsInTransformers() throws {
    let expected = try ModelConfiguration(vocabularySize: 257, positions: 96, width: 64, layers: 2, heads: 4)
    #expect(try configuration("") == expected)
    #expect(expected.innerWidth == 256 && expected.headWidth == 16 && expected.tiedEmbeddings)
    #expect(expected.normEpsilon == 1e-5 && expected.initializerRange == 0.02)
    #expect(try configuration(#""n_inner": null, "bos_token_id": null, "n_ctx": 3, "unknown": {"a": [1]}"#) == expected)
    #expect(try configuration(#""activation_function": "gelu_pytorch_tanh", "reorder_and_upcast_attn": true"#) == expected)
  }

  @Test func everyKeyIsRead() throws {
    let read = try configuration(
      """
      "n_inner": 100, "layer_norm_epsilon": 1e-06, "tie_word_embeddings": false, "initializer_range": 1, "bos_token_id": 1,
      "eos_token_id": 2
      """)
    #expect(read.innerWidth == 100 && read.normEpsilon == 1e-6 && !read.tiedEmbeddings && read.initializerRange == 1)
    #expect(read.bosTokenID == 1 && read.eosTokenID == 2)
    let older = try ModelConfiguration(
      json: Data(#"{"model_type": "gpt2", "vocab_size": 5, "n_ctx": 7, "n_embd": 6, "n_layer": 1, "n_head": 1}"#.utf8))
    #expect(older.positions == 7)
  }

  @Test func theFixtureIsRead() throws {
    let described = try ModelFile.readConfiguration(directory: Fixtures.tiny)
    let expected = try ModelConfiguration(
      vocabularySize: 257, positions: 96, width: 64, layers: 2, heads: 4, initializerRange: 0.1, bosTokenID: 256,
      eosTokenIDs: [256])
    #expect(described.configuration == expected)
    #expect(described.ignoredSettings.isEmpty)
  }

  @Test func droppedOutSettingsAreSaid() throws {
    let json = Data(#"{"attn_pdrop": 0.1, "embd_pdrop": 0, "resid_pdrop": 0.25}"#.utf8)
    #expect(try ModelConfiguration.ignoredSettings(inJSON: json) == ["attn_pdrop 0.1", "resid_pdrop 0.25"])
  }

  @Test func whatIsWrittenIsReadBack() throws {
    for preset in ModelPreset.allCases {
      #expect(try ModelConfiguration(json: preset.configuration.json()) == preset.configuration)
    }
    let odd = try ModelConfiguration(
      vocabularySize: 3, positions: 1, width: 1, layers: 1, heads: 1, innerWidth: 7, normEpsilon: 1e-12,
      tiedEmbeddings: false, initializerRange: 0, bosTokenID: nil, eosTokenIDs: [2])
    #expect(try ModelConfiguration(json: odd.json()) == odd)
    #expect(String(decoding: odd.json(), as: UTF8.self).contains(#""bos_token_id" : null"#))
  }

  @Test func unsupportedValuesAreNamed() throws {
    #expect(
      try refusal(#""activation_function": "relu""#)
        == #"activation_function "relu" is not supported: must be "gelu_new" or "gelu_pytorch_tanh""#)
    #expect(try refusal(#""scale_attn_weights": false"#) == "scale_attn_weights false is not supported: must be true")
    #expect(
      try refusal(#""scale_attn_by_inverse_layer_idx": true"#)
        == "scale_attn_by_inverse_layer_idx true is not supported: must be false")
    #expect(try refusal(#""add_cross_attention": true"#) == "add_cross_attention true is not supported: must be false")
    #expect(try refusal(json: #"{"model_type": "bart"}"#) == #"model_type "bart" is not supported: must be \#(ModelTypes.all)"#)
    #expect(try refusal(json: "{}") == "model_type is missing")
    #expect(try refusal(json: #"{"model_type": "gpt2"}"#) == "n_positions is missing")
    #expect(try refusal(json: #"{"model_type": "gpt2", "n_positions": 4}"#) == "vocab_size is missing")
    #expect(try refusal(#""n_inner": 2.5"#) == "n_inner is 2.5: must be an integer")
    #expect(try refusal(#""n_inner": "8""#) == #"n_inner is "8": must be an integer"#)
    #expect(try refusal(#""n_inner": true"#) == "n_inner is true: must be an integer")
    #expect(try refusal(#""layer_norm_epsilon": [1]"#) == "layer_norm_epsilon is […]: must be a number")
    #expect(try refusal(#""tie_word_embeddings": 1"#) == "tie_word_embeddings is 1: must be true or false")
    #expect(try refusal(json: "") == "not a JSON object: the file is empty")
    #expect(
      try refusal("\n\"n_inner\": 3,\n  \"n_head\": 2")
        == #"not a JSON object: line 3, column 3: the key "n_head" stands here a second time"#)
    #expect(try refusal(json: "{\n \"a\": 1\n \"b\": 2}") == "not a JSON object: line 3, column 2: a comma or } is expected")
    #expect(try refusal(json: String(repeating: "[", count: 100_000)).contains("line 1, column 129: more than 128"))
    let wide = "{\"a\": 1}".data(using: .utf16LittleEndian)!
    #expect(throws: ModelConfigurationError.self) { try ModelConfiguration(json: wide) }
    #expect(try ModelConfiguration(json: Data("\u{FEFF}{\(Self.tiny)}".utf8)) == configuration(""))
    for malformed in ["{", "[]", "3", "{\"a\": }"] { #expect(try refusal(json: malformed).hasPrefix("not a JSON object: ")) }
  }

  @Test func impossibleShapesAreNamed() throws {
    #expect(try refusal(#""eos_token_id": 257"#) == "eos_token_id is 257: must be an id of the vocabulary, 0 to 256")
    #expect(try refusal(#""bos_token_id": -1"#) == "bos_token_id is -1: must be an id of the vocabulary, 0 to 256")
    #expect(try refusal(#""n_inner": 0"#) == "n_inner is 0: must be 1 to 2147483647")
    #expect(try refusal(#""layer_norm_epsilon": 0"#) == "layer_norm_epsilon is 0.0: must be a number above 0")
    #expect(try refusal(#""initializer_range": -1"#) == "initializer_range is -1.0: must be 0 or a number above it")
    #expect(throws: ModelConfigurationError.headsDoNotDivideWidth("n_head", 5, "n_embd", 64)) {
      try ModelConfiguration(vocabularySize: 257, positions: 96, width: 64, layers: 2, heads: 5)
    }
    #expect(
      ModelConfigurationError.headsDoNotDivideWidth("n_head", 5, "n_embd", 64).description == "n_head 5 does not divide n_embd 64")
    for sizes in [(0, 1, 1, 1, 1), (1, 0, 1, 1, 1), (1, 1, 0, 1, 1), (1, 1, 1, 0, 1), (1, 1, 1, 1, 0), (-1, 1, 1, 1, 1)] {
      #expect(throws: ModelConfigurationError.self) {
        try ModelConfiguration(
          vocabularySize: sizes.0, positions: sizes.1, width: sizes.2, layers: sizes.3, heads: sizes.4)
      }
    }
    #expect(throws: ModelConfigurationError.self) {
      try ModelConfiguration(vocabularySize: 1, positions: 1, width: .max, layers: 1, heads: 1)
    }
    // 4 · 2⁵⁶ · 2⁵ floats in the blocks: more bytes than 64 bits count.
    #expect(
      try refusal(
        json: #"{"model_type": "gpt2", "vocab_size": 1, "n_positions": 1, "n_embd": 268435456, "n_layer": 32, "n_head": 1}"#
      )
      .hasSuffix(" parameters is too large to be addressed"))
  }

  @Test(arguments: [
    (ModelPreset.tiny, 462_464), (.small, 124_439_808), (.medium, 354_823_168), (.large, 774_030_080), (.xl, 1_557_611_200),
    (.oneBillion, 1_004_276_800), (.seedMedium, 77_207_552), (.llamaTiny, 377_600), (.smolLM2, 134_515_008), (.llama1B, 1_235_814_400),
    (.llama7B, 6_738_415_616), (.bertTiny, 479_490), (.miniLM, 22_713_986),
  ])
  func presetsHaveTheKnownNumbersOfParameters(preset: ModelPreset, count: Int) {
    #expect(preset.configuration.parameterCount == count)
    #expect(preset.configuration.parameterLayout.totalCount == count)
    #expect(preset.configuration.eosTokenID == 256, "what ends its records")
  }

  @Test func presetsHaveTheNamesOfTheCommandLine() {
    #expect(ModelPreset.allCases.map(\.rawValue) == ModelTypes.presets.components(separatedBy: ", "))
    #expect(
      ModelConfigurationError.unknownPreset(name: "huge").description
        == #"no model "huge": neither a directory nor a preset (\#(ModelTypes.presets))"#)
  }
}

/// What refusals list.
enum ModelTypes {
  static let all = #""gpt2" or "llama" or "mistral" or "qwen2" or "bert" or "roberta" or "distilbert""#
  static let presets = "tiny, small, medium, large, xl, 1b, seed-medium, llama-tiny, smollm2-135m, llama-1b, llama-7b, bert-tiny, minilm"
}

@Suite struct ParameterLayoutTests {
  @Test func tensorsFollowEachOtherInTheOrderOfTheirNames() throws {
    let configuration = try ModelConfiguration(
      vocabularySize: 7, positions: 5, width: 4, layers: 12, heads: 2, innerWidth: 3, tiedEmbeddings: false)
    let layout = configuration.parameterLayout
    #expect(layout.count == 12 * 12 + 5)
    #expect(layout.map(\.name) == layout.map(\.name).sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) })
    #expect(layout.map(\.index) == Array(0..<layout.count))
    var offset = 0
    for entry in layout {
      #expect(entry.offset == offset && entry.count == entry.shape.reduce(1, *))
      #expect(entry.range == offset..<(offset + entry.count))
      #expect(layout[entry.name] == entry)
      offset += entry.count
    }
    #expect(offset == layout.totalCount && offset == configuration.parameterCount)
    #expect(layout.first?.name == "lm_head.weight")
    #expect(layout.entry(named: "lm_head.bias") == nil)
    #expect(layout["transformer.h.10.attn.c_attn.weight"].index < layout["transformer.h.2.attn.c_attn.weight"].index)
    #expect(layout["transformer.h.3.mlp.c_fc.weight"].shape == [4, 3])
    #expect(layout["transformer.h.3.mlp.c_proj.weight"].shape == [3, 4])
    #expect(layout["transformer.h.3.attn.c_attn.bias"].shape == [12])
  }

  @Test func namesAndShapesAreThoseOfTheFixture() throws {
    let layout = try ModelFile.readConfiguration(directory: Fixtures.tiny).configuration.parameterLayout
    let file = try SafetensorsFile(path: "\(Fixtures.tiny)/model.safetensors")
    #expect(layout.map(\.name) == file.tensors.map(\.name))
    #expect(layout.map(\.shape) == file.tensors.map(\.shape))
    #expect(layout.map { 4 * $0.offset } == file.tensors.map(\.byteRange.lowerBound))
  }
}
