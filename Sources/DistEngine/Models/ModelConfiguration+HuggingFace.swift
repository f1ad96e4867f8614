import Foundation

extension ModelConfiguration {
  /// What Hugging Face's `config.json` for GPT-2 says.
  ///
  /// `vocab_size`, `n_embd`, `n_layer`, `n_head` and `n_positions` (or the older `n_ctx`) are needed; the rest defaults as there.
  /// Keys that don't change the model's function are ignored. Dropout is accepted and not applied:
  /// see ``ignoredSettings(inJSON:)``.
  /// - Throws: ``ModelConfigurationError`` that names key and value.
  public init(json: Data) throws(ModelConfigurationError) {
    let settings = try Settings(json: json)
    try settings.require("model_type", oneOf: ["gpt2"], default: nil)
    try settings.require("activation_function", oneOf: ["gelu_new", "gelu_pytorch_tanh"], default: "gelu_new")
    try settings.require("scale_attn_weights", true, default: true)
    try settings.require("scale_attn_by_inverse_layer_idx", false, default: false)
    try settings.require("add_cross_attention", false, default: false)
    let older = try settings.integer("n_ctx")
    guard let positions = try settings.integer("n_positions") ?? older else { throw .missing(key: "n_positions") }
    try self.init(
      vocabularySize: settings.neededInteger("vocab_size"), positions: positions, width: settings.neededInteger("n_embd"),
      layers: settings.neededInteger("n_layer"), heads: settings.neededInteger("n_head"),
      innerWidth: settings.integer("n_inner"), layerNormEpsilon: settings.number("layer_norm_epsilon") ?? 1e-5,
      tiedEmbeddings: settings.boolean("tie_word_embeddings") ?? true,
      initializerRange: settings.number("initializer_range") ?? 0.02,
      beginningOfText: settings.integer("bos_token_id"), endOfText: settings.integer("eos_token_id"))
  }

  /// Settings of a `config.json` that training here leaves aside, as `key value`: dropout probabilities above 0.
  public static func ignoredSettings(inJSON json: Data) throws(ModelConfigurationError) -> [String] {
    let settings = try Settings(json: json)
    var ignored: [String] = []
    for key in ["attn_pdrop", "embd_pdrop", "resid_pdrop"] {
      if let probability = try settings.number(key), probability > 0 { ignored.append("\(key) \(probability)") }
    }
    return ignored
  }

  /// `config.json` as `GPT2LMHeadModel.from_pretrained` reads it.
  public func json() -> Data {
    let fields: [String: JSONValue] = [
      "architectures": .array([.string("GPT2LMHeadModel")]), "model_type": .string("gpt2"),
      "activation_function": .string("gelu_new"), "add_cross_attention": .boolean(false),
      "attn_pdrop": .number(0), "embd_pdrop": .number(0), "resid_pdrop": .number(0),
      "bos_token_id": beginningOfText.map(JSONValue.integer) ?? .null, "eos_token_id": endOfText.map(JSONValue.integer) ?? .null,
      "dtype": .string("float32"), "torch_dtype": .string("float32"),
      "initializer_range": .number(initializerRange), "layer_norm_epsilon": .number(layerNormEpsilon),
      "n_ctx": .integer(positions), "n_positions": .integer(positions), "vocab_size": .integer(vocabularySize),
      "n_embd": .integer(width), "n_layer": .integer(layers), "n_head": .integer(heads),
      "n_inner": innerWidth == 4 * width ? .null : .integer(innerWidth),
      "reorder_and_upcast_attn": .boolean(false), "scale_attn_by_inverse_layer_idx": .boolean(false),
      "scale_attn_weights": .boolean(true), "tie_word_embeddings": .boolean(tiedEmbeddings), "use_cache": .boolean(true),
    ]
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    do { return try encoder.encode(fields) + Data("\n".utf8) } catch { preconditionFailure("config.json: \(error)") }
  }
}

/// The keys of a `config.json`, read with a type in mind. `null` is the same as absent.
private struct Settings {
  let values: [String: JSONValue]

  init(json: Data) throws(ModelConfigurationError) {
    let bytes = Array(json)
    let value: JSONValue
    do { value = try JSONScanner.parse(file: bytes) } catch {
      throw .notJSON(reason: bytes.isEmpty ? error.reason : error.described(in: bytes))
    }
    guard let fields = value.object else { throw .notJSON(reason: "line 1: the value is \(value)") }
    values = fields
  }

  private subscript(key: String) -> JSONValue? { values[key].flatMap { $0 == .null ? nil : $0 } }

  func integer(_ key: String) throws(ModelConfigurationError) -> Int? {
    guard let value = self[key] else { return nil }
    guard case .integer(let integer) = value else { throw .wrongType(key: key, value: "\(value)", expected: "an integer") }
    return integer
  }

  func neededInteger(_ key: String) throws(ModelConfigurationError) -> Int {
    guard let value = try integer(key) else { throw .missing(key: key) }
    return value
  }

  func number(_ key: String) throws(ModelConfigurationError) -> Double? {
    switch self[key] {
    case nil: return nil
    case .integer(let integer): return Double(integer)
    case .number(let number): return number
    case let value?: throw .wrongType(key: key, value: "\(value)", expected: "a number")
    }
  }

  func boolean(_ key: String) throws(ModelConfigurationError) -> Bool? {
    guard let value = self[key] else { return nil }
    guard case .boolean(let boolean) = value else { throw .wrongType(key: key, value: "\(value)", expected: "true or false") }
    return boolean
  }

  func require(_ key: String, oneOf supported: [String], default absent: String?) throws(ModelConfigurationError) {
    guard let value = self[key] ?? absent.map(JSONValue.string) else { throw .missing(key: key) }
    guard case .string(let string) = value, supported.contains(where: { $0.utf8.elementsEqual(string.utf8) }) else {
      throw .unsupported(key: key, value: "\(value)", supported: supported.map { "\"\($0)\"" }.joined(separator: " or "))
    }
  }

  func require(_ key: String, _ supported: Bool, default absent: Bool) throws(ModelConfigurationError) {
    guard try (boolean(key) ?? absent) == supported else {
      throw .unsupported(key: key, value: "\(!supported)", supported: "\(supported)")
    }
  }
}
