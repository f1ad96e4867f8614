extension Llama {
  /// The sizes are needed. What is absent defaults as in the classes of `transformers`, which differ: `mistral` has a sliding window unless
  /// it says `null`.
  static func configuration(_ settings: ConfigurationSettings, modelType: String) throws(ModelConfigurationError) -> ModelConfiguration {
    try settings.require("hidden_act", oneOf: ["silu", "swish"], default: "silu")
    try settings.require("partial_rotary_factor", number: 1)
    try settings.require("use_bidirectional_attention", false, default: false)
    let heads = try settings.neededInteger("num_attention_heads")
    let isLlama = modelType == "llama"
    // Absent, the others' classes have numbers of their own.
    if !isLlama && !settings.has("num_key_value_heads") { throw .missing(key: "num_key_value_heads") }
    let attentionBias = isLlama ? try settings.boolean("attention_bias") ?? false : false
    let biases = ModelConfiguration.Biases(
      attentionInput: modelType == "qwen2" || attentionBias, attentionOutput: attentionBias,
      feedForward: isLlama ? try settings.boolean("mlp_bias") ?? false : false)
    let window = try window(settings, modelType: modelType)
    return try ModelConfiguration(
      modelType: modelType, vocabularySize: settings.neededInteger("vocab_size"),
      positions: settings.neededInteger("max_position_embeddings"), width: settings.neededInteger("hidden_size"),
      layers: settings.neededInteger("num_hidden_layers"), heads: heads, keyHeads: settings.integer("num_key_value_heads"),
      headWidth: settings.integer("head_dim"), innerWidth: settings.neededInteger("intermediate_size"),
      normEpsilon: settings.number("rms_norm_eps") ?? 1e-6, activation: .silu, biases: biases,
      rotary: RotaryPositions(settings), slidingWindow: window?.width, firstWindowedLayer: window?.firstLayer ?? 0,
      tiedEmbeddings: settings.boolean("tie_word_embeddings") ?? false, initializerRange: settings.number("initializer_range") ?? 0.02,
      bosTokenID: settings.integer("bos_token_id"), eosTokenIDs: settings.integers("eos_token_id"),
      padTokenID: settings.integer("pad_token_id"), labels: settings.labels())
  }

  /// Positions that layers look back, and the first that does; nil: all layers see all.
  private static func window(
    _ settings: ConfigurationSettings, modelType: String
  ) throws(ModelConfigurationError) -> (width: Int, firstLayer: Int)? {
    let isUsed = modelType == "qwen2" ? try settings.boolean("use_sliding_window") ?? false : modelType == "mistral"
    let stated = try settings.integer("sliding_window") ?? (settings.has("sliding_window") ? nil : 4096)
    guard isUsed, let stated else { return nil }
    if modelType == "mistral" { return (stated, 0) }
    let firstLayer = try settings.integer("max_window_layers") ?? 28
    for (layer, type) in (try settings.strings("layer_types") ?? []).enumerated() {
      let expected = layer >= firstLayer ? "sliding_attention" : "full_attention"
      guard type.utf8.elementsEqual(expected.utf8) else { throw .contradiction(key: "layer_types", other: "max_window_layers") }
    }
    return (stated, firstLayer)
  }

  static func settings(of c: ModelConfiguration) -> [String: JSONValue] {
    var fields: [String: JSONValue] = [
      "intermediate_size": .integer(c.innerWidth), "num_key_value_heads": .integer(c.keyHeads), "head_dim": .integer(c.headWidth),
      "hidden_act": .string("silu"), "attention_dropout": .number(0), "use_cache": .boolean(true),
    ]
    switch c.modelType {
    case "llama":
      fields["attention_bias"] = .boolean(c.biases.attentionOutput)
      fields["mlp_bias"] = .boolean(c.biases.feedForward)
      fields["pretraining_tp"] = .integer(1)
    case "qwen2":
      fields["use_sliding_window"] = .boolean(c.slidingWindow != nil)
      fields["sliding_window"] = c.slidingWindow.map(JSONValue.integer) ?? .null
      fields["max_window_layers"] = .integer(c.slidingWindow == nil ? c.layers : c.firstWindowedLayer)
    default: fields["sliding_window"] = c.slidingWindow.map(JSONValue.integer) ?? .null
    }
    return fields.merging(c.rotary?.settings ?? [:]) { $1 }
  }
}

extension RotaryPositions {
  /// From `rope_theta` and `rope_scaling`, or from `rope_parameters`, which holds both.
  init(_ settings: ConfigurationSettings) throws(ModelConfigurationError) {
    let theta = try settings.number("rope_theta")
    let older = try settings.object("rope_scaling").map { old throws(ModelConfigurationError) in try Self.scaling(old) }
    guard let newer = try settings.object("rope_parameters") else {
      self.init(theta: theta ?? 10_000, scaling: older ?? .none)
      return
    }
    let scaling = try Self.scaling(newer)
    let newTheta = try newer.number("rope_theta")
    if let theta, let newTheta, theta != newTheta { throw .contradiction(key: "rope_theta", other: "rope_parameters.rope_theta") }
    if let older, older != scaling { throw .contradiction(key: "rope_scaling", other: "rope_parameters") }
    self.init(theta: newTheta ?? theta ?? 10_000, scaling: scaling)
  }

  private static func scaling(_ settings: ConfigurationSettings) throws(ModelConfigurationError) -> Scaling {
    let key = settings.has("rope_type") || !settings.has("type") ? "rope_type" : "type"
    try settings.require("partial_rotary_factor", number: 1)
    try settings.require("attention_factor", number: 1)
    try settings.require(key, oneOf: ["default", "linear", "llama3"], default: "default")
    switch try settings.string(key) ?? "default" {
    case "linear": return .linear(factor: try settings.neededNumber("factor"))
    case "llama3":
      return .llama3(
        factor: try settings.neededNumber("factor"), low: try settings.neededNumber("low_freq_factor"),
        high: try settings.neededNumber("high_freq_factor"),
        originalPositions: try settings.neededInteger("original_max_position_embeddings"))
    default: return .none
    }
  }

  /// In both spellings: what is older than the second reads the first.
  fileprivate var settings: [String: JSONValue] {
    var fields: [String: JSONValue]
    switch scaling {
    case .none: fields = ["rope_type": .string("default")]
    case .linear(let factor): fields = ["rope_type": .string("linear"), "factor": .number(factor)]
    case .llama3(let factor, let low, let high, let originalPositions):
      fields = [
        "rope_type": .string("llama3"), "factor": .number(factor), "low_freq_factor": .number(low), "high_freq_factor": .number(high),
        "original_max_position_embeddings": .integer(originalPositions),
      ]
    }
    let older: JSONValue = scaling == .none ? .null : .object(fields)
    fields["rope_theta"] = .number(theta)
    return ["rope_theta": .number(theta), "rope_scaling": older, "rope_parameters": .object(fields)]
  }
}
