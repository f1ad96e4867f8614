extension BERT {
  /// The sizes are needed; what is absent defaults as in `BertConfig`.
  static func configuration(_ settings: ConfigurationSettings, modelType: String) throws(ModelConfigurationError) -> ModelConfiguration {
    try settings.requireEncoder()
    return try ModelConfiguration(
      modelType: modelType, vocabularySize: settings.neededInteger("vocab_size"), positions: settings.neededInteger("max_position_embeddings"),
      width: settings.neededInteger("hidden_size"), layers: settings.neededInteger("num_hidden_layers"),
      heads: settings.neededInteger("num_attention_heads"), innerWidth: settings.neededInteger("intermediate_size"),
      normEpsilon: settings.number("layer_norm_eps") ?? 1e-12, activation: settings.encoderActivation("hidden_act"),
      tokenTypes: settings.integer("type_vocab_size") ?? 2, tiedEmbeddings: false,
      initializerRange: settings.number("initializer_range") ?? 0.02, bosTokenID: settings.integer("bos_token_id"),
      eosTokenIDs: settings.integers("eos_token_id"), padTokenID: settings.encoderPadding(), labels: settings.labels())
  }

  static func settings(of c: ModelConfiguration) -> [String: JSONValue] {
    encoderSettings(of: c).merging([
      "intermediate_size": .integer(c.innerWidth), "hidden_act": .string(c.activation.rawValue), "hidden_dropout_prob": .number(0),
      "attention_probs_dropout_prob": .number(0), "type_vocab_size": .integer(c.tokenTypes),
    ]) { $1 }
  }
}

extension RoBERTa {
  /// The sizes are needed; what is absent defaults as in `RobertaConfig`. Of `max_position_embeddings` those up to the padding's id are never used.
  static func configuration(_ settings: ConfigurationSettings, modelType: String) throws(ModelConfigurationError) -> ModelConfiguration {
    try settings.requireEncoder()
    let padding = try settings.integer("pad_token_id") ?? 1
    let rows = try settings.neededInteger("max_position_embeddings")
    guard padding >= 0, padding < rows - 1 else {
      throw .outOfRange(key: "max_position_embeddings", value: "\(rows)", allowed: "more than pad_token_id \(padding) + 1: positions begin behind it")
    }
    return try ModelConfiguration(
      modelType: modelType, vocabularySize: settings.neededInteger("vocab_size"), positions: rows - padding - 1,
      width: settings.neededInteger("hidden_size"), layers: settings.neededInteger("num_hidden_layers"),
      heads: settings.neededInteger("num_attention_heads"), innerWidth: settings.neededInteger("intermediate_size"),
      normEpsilon: settings.number("layer_norm_eps") ?? 1e-12, activation: settings.encoderActivation("hidden_act"),
      tokenTypes: settings.integer("type_vocab_size") ?? 2, tiedEmbeddings: false,
      initializerRange: settings.number("initializer_range") ?? 0.02, bosTokenID: settings.integer("bos_token_id") ?? 0,
      eosTokenIDs: settings.has("eos_token_id") ? settings.integers("eos_token_id") : [2], padTokenID: padding, labels: settings.labels())
  }

  static func settings(of c: ModelConfiguration) -> [String: JSONValue] {
    BERT.settings(of: c).merging(["max_position_embeddings": .integer(c.positionRows)]) { $1 }
  }
}

extension DistilBERT {
  /// The sizes are needed; what is absent defaults as in `DistilBertConfig`. ε of its norms is fixed.
  static func configuration(_ settings: ConfigurationSettings, modelType: String) throws(ModelConfigurationError) -> ModelConfiguration {
    try settings.requireEncoder()
    // Fixed positions, which `transformers` doesn't train.
    try settings.require("sinusoidal_pos_embds", false, default: false)
    return try ModelConfiguration(
      modelType: modelType, vocabularySize: settings.neededInteger("vocab_size"), positions: settings.neededInteger("max_position_embeddings"),
      width: settings.neededInteger("dim"), layers: settings.neededInteger("n_layers"), heads: settings.neededInteger("n_heads"),
      innerWidth: settings.neededInteger("hidden_dim"), normEpsilon: 1e-12, activation: settings.encoderActivation("activation"),
      tiedEmbeddings: false, initializerRange: settings.number("initializer_range") ?? 0.02, bosTokenID: settings.integer("bos_token_id"),
      eosTokenIDs: settings.integers("eos_token_id"), padTokenID: settings.encoderPadding(), labels: settings.labels())
  }

  static func settings(of c: ModelConfiguration) -> [String: JSONValue] {
    encoderSettings(of: c).merging([
      "hidden_dim": .integer(c.innerWidth), "activation": .string(c.activation.rawValue), "dropout": .number(0), "attention_dropout": .number(0),
      "seq_classif_dropout": .number(0), "sinusoidal_pos_embds": .boolean(false),
    ]) { $1 }
  }
}

/// What all encoders' files say. The embeddings aren't tied to anything that a classifier has; `true` is what `transformers` writes.
private func encoderSettings(of c: ModelConfiguration) -> [String: JSONValue] {
  ["tie_word_embeddings": .boolean(true), "pad_token_id": c.padTokenID.map(JSONValue.integer) ?? .null]
}

extension ConfigurationSettings {
  /// Refuses what makes another model of an encoder.
  fileprivate func requireEncoder() throws(ModelConfigurationError) {
    try require("position_embedding_type", oneOf: ["absolute"], default: "absolute")
    try require("is_decoder", false, default: false)
    try require("add_cross_attention", false, default: false)
  }

  /// 0 where nothing is said, as in BERT's vocabulary.
  fileprivate func encoderPadding() throws(ModelConfigurationError) -> Int? { try has("pad_token_id") ? integer("pad_token_id") : 0 }

  fileprivate func encoderActivation(_ key: String) throws(ModelConfigurationError) -> Activation {
    try require(key, oneOf: ["gelu", "gelu_new", "gelu_pytorch_tanh"], default: "gelu")
    return try (string(key) ?? "gelu") == "gelu" ? .gelu : .geluNew
  }
}

extension TensorNames {
  /// - Parameter isUnused: what the names of other heads' tensors begin with.
  init(encoder prefix: String, isUnused: [String]) {
    self.init(
      prefix: prefix, tokenTable: "\(prefix)embeddings.word_embeddings.weight", unused: isUnused,
      isBuffer: { $0.hasSuffix("embeddings.position_ids") || $0.hasSuffix("embeddings.token_type_ids") })
  }
}

extension ModelConfiguration {
  /// The position that a sequence's first row has in the table: RoBERTa's stand behind the padding's id.
  var firstPosition: Int { modelType == "roberta" ? (padTokenID ?? 0) + 1 : 0 }
  /// Rows of the table of positions.
  var positionRows: Int { positions + firstPosition }
}
