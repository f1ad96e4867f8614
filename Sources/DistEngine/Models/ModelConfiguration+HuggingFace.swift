import Foundation

extension ModelConfiguration {
  /// What Hugging Face's `config.json` says.
  ///
  /// The sizes are needed; the rest defaults as there. Keys that don't change the model's function are ignored, those that do and aren't
  /// supported are refused. Dropout is accepted and not applied: see ``ignoredSettings(inJSON:)``.
  /// - Throws: ``ModelConfigurationError`` that names key and value.
  public init(json: Data) throws(ModelConfigurationError) {
    let settings = try ConfigurationSettings(json: json)
    let type = try ModelFamilies.modelType(settings)
    guard let family = ModelFamilies.family(modelType: type) else { preconditionFailure("a model type of no family") }
    try settings.requireAbsent("quantization_config")
    self = try family.configuration(settings, modelType: type)
  }

  /// Settings of a `config.json` that training here leaves aside, as `key value`: dropout probabilities above 0.
  public static func ignoredSettings(inJSON json: Data) throws(ModelConfigurationError) -> [String] {
    let settings = try ConfigurationSettings(json: json)
    var ignored: [String] = []
    for key in [
      "attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "classifier_dropout", "dropout", "embd_pdrop", "hidden_dropout_prob",
      "resid_pdrop", "seq_classif_dropout",
    ] {
      if let probability = try settings.number(key), probability > 0 { ignored.append("\(key) \(probability)") }
    }
    return ignored
  }

  /// `config.json` as `from_pretrained` reads it.
  public func json() -> Data {
    let architecture = family.architectures.first { $0.modelType == modelType }
    var fields: [String: JSONValue] = [
      "architectures": .array([.string((labels == nil ? architecture?.language : architecture?.classifier) ?? "")]),
      "model_type": .string(modelType), "dtype": .string("float32"), "torch_dtype": .string("float32"),
      "bos_token_id": bosTokenID.map(JSONValue.integer) ?? .null,
      "eos_token_id": eosTokenIDs.count > 1 ? .array(eosTokenIDs.map(JSONValue.integer)) : eosTokenID.map(JSONValue.integer) ?? .null,
      "initializer_range": .number(initializerRange), "tie_word_embeddings": .boolean(tiedEmbeddings),
      family.keys.vocabulary: .integer(vocabularySize), family.keys.positions: .integer(positions), family.keys.width: .integer(width),
      family.keys.layers: .integer(layers), family.keys.heads: .integer(heads), family.keys.normEpsilon: .number(normEpsilon),
    ]
    if let padTokenID { fields["pad_token_id"] = .integer(padTokenID) }
    if let labels {
      fields["problem_type"] = .string("single_label_classification")
      fields["id2label"] = .object(Dictionary(uniqueKeysWithValues: labels.enumerated().map { ("\($0)", .string($1)) }))
      fields["label2id"] = .object(Dictionary(labels.enumerated().map { ($1, .integer($0)) }) { first, _ in first })
    }
    fields.merge(family.settings(of: self)) { $1 }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    do { return try encoder.encode(fields) + Data("\n".utf8) } catch { preconditionFailure("config.json: \(error)") }
  }
}
