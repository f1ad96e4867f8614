/// The shape of a transformer, whatever its family.
///
/// A value is always valid: `init` refuses what no model can be. Files: `ModelConfiguration+HuggingFace.swift`;
/// parameters, their names, shapes and order: `ModelConfiguration+Declaration.swift`.
public struct ModelConfiguration: Sendable, Hashable {
  /// Hugging Face's `model_type`, which says the family.
  public let modelType: String
  /// V: ids the embedding and the head know; a tokenizer may use fewer.
  public private(set) var vocabularySize: Int
  /// The longest sequence: positions with an embedding, or those that the model was made for.
  public let positions: Int
  /// d: width of the residual stream.
  public let width: Int
  public private(set) var layers: Int
  /// H: attention heads.
  public let heads: Int
  /// K: heads of keys and values, which H/K heads of queries each share.
  public let keyHeads: Int
  /// D: width of one head, d / H unless said otherwise.
  public let headWidth: Int
  /// Width inside the feed-forward part of a block, 4d unless said otherwise.
  public let innerWidth: Int
  /// ε of the norms.
  public let normEpsilon: Double
  public let activation: Activation
  /// Rows of the table of token types; 0: none.
  public let tokenTypes: Int
  public let biases: Biases
  /// nil: no rotary positions.
  public let rotary: RotaryPositions?
  /// Positions that attention looks back, its own among them; nil: all.
  public let slidingWindow: Int?
  /// Of the blocks, the first that has the window.
  public let firstWindowedLayer: Int
  /// Whether the head's weight is the token embedding's.
  public let tiedEmbeddings: Bool
  /// Standard deviation of initial weights.
  public let initializerRange: Double
  public private(set) var bosTokenID: Int?
  /// Any of them ends a text; the first is the one that is learned.
  public private(set) var eosTokenIDs: [Int]
  public private(set) var padTokenID: Int?
  /// Of a classifier's head, in order; nil: a language model.
  public private(set) var labels: [String]?
  /// Beside its linear layers; nil: none.
  public private(set) var adapters: LowRankAdapters?

  /// Which linear layers of a block have a bias.
  public struct Biases: Sendable, Hashable {
    /// Queries, keys and values.
    public var attentionInput: Bool
    public var attentionOutput: Bool
    public var feedForward: Bool

    public init(attentionInput: Bool, attentionOutput: Bool, feedForward: Bool) {
      self.attentionInput = attentionInput
      self.attentionOutput = attentionOutput
      self.feedForward = feedForward
    }

    public static let all = Biases(attentionInput: true, attentionOutput: true, feedForward: true)
    public static let none = Biases(attentionInput: false, attentionOutput: false, feedForward: false)
  }

  public var eosTokenID: Int? { eosTokenIDs.first }
  /// Whether positions see those behind them: no language model.
  public var isEncoder: Bool { family.isEncoder }

  /// - Parameters:
  ///   - keyHeads: nil: as many as heads.
  ///   - headWidth: nil: the heads divide the width.
  /// - Throws: ``ModelConfigurationError`` for a family that isn't known, a size below 1 or beyond what can be addressed, heads that don't
  ///   divide the width or key heads that don't divide the heads, an ε or initial deviation that isn't a positive (deviation: or zero) number.
  public init(
    modelType: String = "gpt2", vocabularySize: Int, positions: Int, width: Int, layers: Int, heads: Int, keyHeads: Int? = nil,
    headWidth: Int? = nil, innerWidth: Int? = nil, normEpsilon: Double = 1e-5, activation: Activation = .geluNew, tokenTypes: Int = 0,
    biases: Biases = .all,
    rotary: RotaryPositions? = nil, slidingWindow: Int? = nil, firstWindowedLayer: Int = 0, tiedEmbeddings: Bool = true, initializerRange: Double = 0.02,
    bosTokenID: Int? = nil, eosTokenIDs: [Int] = [], padTokenID: Int? = nil, labels: [String]? = nil
  ) throws(ModelConfigurationError) {
    self.modelType = modelType
    self.vocabularySize = vocabularySize
    self.positions = positions
    self.width = width
    self.layers = layers
    self.heads = heads
    self.keyHeads = keyHeads ?? heads
    self.headWidth = headWidth ?? (heads > 0 ? width / heads : 0)
    self.innerWidth = innerWidth ?? 4 &* width
    self.normEpsilon = normEpsilon
    self.activation = activation
    self.tokenTypes = tokenTypes
    self.biases = biases
    self.rotary = rotary
    self.slidingWindow = slidingWindow
    self.firstWindowedLayer = firstWindowedLayer
    self.tiedEmbeddings = tiedEmbeddings
    self.initializerRange = initializerRange
    self.bosTokenID = bosTokenID
    self.eosTokenIDs = eosTokenIDs
    self.padTokenID = padTokenID
    self.labels = labels
    try validate(headsDivideWidth: headWidth == nil)
  }

  /// The same model, whose texts begin and end with an id: the one that stands around the records that it learns.
  package func delimitingTexts(by id: Int) -> ModelConfiguration { delimitingTexts(begin: id, end: id) }

  /// - Parameter begin: nil: nothing.
  package func delimitingTexts(begin: Int?, end: Int) -> ModelConfiguration {
    for id in [begin, end].compactMap({ $0 }) { precondition((0..<vocabularySize).contains(id), "id \(id) of \(vocabularySize)") }
    var configuration = self
    configuration.bosTokenID = begin
    configuration.eosTokenIDs = [end] + eosTokenIDs.filter { $0 != end && begin != end }
    return configuration
  }

  /// The same model with adapters; nil: without.
  package func adapted(by adapters: LowRankAdapters?) -> ModelConfiguration {
    var configuration = self
    configuration.adapters = adapters
    return configuration
  }

  /// The same model for the task that another one of its shape is for: its labels, and the ids around its texts.
  func taking(taskOf other: ModelConfiguration) -> ModelConfiguration {
    var configuration = self
    (configuration.labels, configuration.bosTokenID, configuration.eosTokenIDs) = (other.labels, other.bosTokenID, other.eosTokenIDs)
    return configuration
  }

  /// The same model with a classifier of these labels in place of its head.
  package func classifying(_ labels: [String]) -> ModelConfiguration {
    var configuration = self
    configuration.labels = labels
    return configuration
  }

  /// A model of as wide blocks, fewer of them, and of fewer ids, for measurements: with fewer ids none stands around its texts.
  func reduced(layers: Int, vocabulary: Int) -> ModelConfiguration {
    precondition((1...self.layers).contains(layers) && (1...vocabularySize).contains(vocabulary), "\(layers) blocks and \(vocabulary) ids of a smaller model")
    var configuration = self
    (configuration.layers, configuration.vocabularySize) = (layers, vocabulary)
    if vocabulary < vocabularySize {
      (configuration.bosTokenID, configuration.eosTokenIDs, configuration.padTokenID) = (nil, [], nil)
    }
    return configuration
  }

  /// The longest sequence that attention sees whole.
  public var longestSequence: Int { min(positions, slidingWindow ?? .max) }
  /// What sequences are cut to where nobody says: models for very long ones aren't trained on all of their positions by default.
  public var defaultSequence: Int { min(longestSequence, 1024) }

  var family: any ModelFamily.Type {
    guard let family = ModelFamilies.family(modelType: modelType) else { preconditionFailure("a valid model of no family") }
    return family
  }

  /// Largest value of a size: what a 32-bit index of BLAS and MPI can count.
  static let largestSize = Int(Int32.max)
  /// Many times the layers of any model there is: each is a dozen tensors, all of which are listed before anything is known of them.
  static let mostLayers = 4096
  /// Largest number of parameters: their bytes and offsets stay far from overflow.
  static let largestParameterCount = 1 << 48

  private func validate(headsDivideWidth: Bool) throws(ModelConfigurationError) {
    guard let family = ModelFamilies.family(modelType: modelType) else {
      throw .unsupported(
        key: "model_type", value: "\"\(modelType.quotable)\"",
        supported: ModelFamilies.modelTypes.map { "\"\($0)\"" }.joined(separator: " or "))
    }
    let keys = family.keys
    let sizes = [
      (keys.vocabulary, vocabularySize, Self.largestSize), (keys.positions, positions, Self.largestSize),
      (keys.width, width, Self.largestSize / 4), (keys.layers, layers, Self.mostLayers), (keys.heads, heads, Self.largestSize),
      (keys.innerWidth, innerWidth, Self.largestSize), ("num_key_value_heads", keyHeads, Self.largestSize),
      ("sliding_window", slidingWindow ?? 1, Self.largestSize),
      ("type_vocab_size", tokenTypes == 0 ? 1 : tokenTypes, Self.largestSize),
    ]
    for (key, value, largest) in sizes {
      guard (1...largest).contains(value) else { throw .outOfRange(key: key, value: "\(value)", allowed: "1 to \(largest)") }
    }
    let optional = { (id: Int?) -> [Int] in id.map { [$0] } ?? [] }
    for (key, ids) in [("bos_token_id", optional(bosTokenID)), ("eos_token_id", eosTokenIDs), ("pad_token_id", optional(padTokenID))] {
      guard let id = ids.first(where: { !(0..<vocabularySize).contains($0) }) else { continue }
      throw .outOfRange(key: key, value: "\(id)", allowed: "an id of the vocabulary, 0 to \(vocabularySize - 1)")
    }
    try validateHeads(keys, divideWidth: headsDivideWidth)
    guard normEpsilon.isFinite, normEpsilon > 0 else {
      throw .outOfRange(key: keys.normEpsilon, value: "\(normEpsilon)", allowed: "a number above 0")
    }
    guard initializerRange.isFinite, initializerRange >= 0 else {
      throw .outOfRange(key: "initializer_range", value: "\(initializerRange)", allowed: "0 or a number above it")
    }
    if let labels, labels.isEmpty { throw .outOfRange(key: "id2label", value: "{}", allowed: "one label or more") }
    let attention = 2 * Double(heads + keyHeads) * Double(headWidth)
    let count =
      Double(width) * (Double(vocabularySize) * (tiedEmbeddings ? 1 : 2) + (rotary == nil ? Double(positions) : 0) + Double(labels?.count ?? 0))
      + Double(layers) * Double(width) * (attention + (activation == .silu ? 3 : 2) * Double(innerWidth))
    guard count < Double(Self.largestParameterCount) else { throw .tooLarge(parameters: count) }
  }

  private func validateHeads(_ keys: ConfigurationKeys, divideWidth: Bool) throws(ModelConfigurationError) {
    if divideWidth, !width.isMultiple(of: heads) { throw .headsDoNotDivideWidth(keys.heads, heads, keys.width, width) }
    guard heads.isMultiple(of: keyHeads) else {
      throw .outOfRange(key: "num_key_value_heads", value: "\(keyHeads)", allowed: "a divisor of \(keys.heads) \(heads)")
    }
    let widest = Self.largestSize / 4 / heads
    guard (1...max(1, widest)).contains(headWidth) else {
      throw .outOfRange(key: "head_dim", value: "\(headWidth)", allowed: "1 to \(widest)")
    }
    guard let rotary else { return }
    guard headWidth.isMultiple(of: 2) else { throw .outOfRange(key: "head_dim", value: "\(headWidth)", allowed: "even, for rotary positions") }
    guard rotary.isUsable else { throw .outOfRange(key: "rope_theta", value: "\(rotary.theta)", allowed: "a number above 0, and factors too") }
  }
}

/// Why a model's configuration is refused. Keys are those of Hugging Face's `config.json`.
public enum ModelConfigurationError: UserError, Equatable {
  case outOfRange(key: String, value: String, allowed: String)
  case headsDoNotDivideWidth(_ headsKey: String, _ heads: Int, _ widthKey: String, _ width: Int)
  case tooLarge(parameters: Double)
  case missing(key: String)
  case wrongType(key: String, value: String, expected: String)
  case unsupported(key: String, value: String, supported: String)
  /// Two keys that say the same say different things.
  case contradiction(key: String, other: String)
  case notJSON(reason: String)
  case unknownPreset(name: String)
  /// One of the above, in a file.
  indirect case inFile(path: String, ModelConfigurationError)

  public var description: String {
    switch self {
    case .outOfRange(let key, let value, let allowed): "\(key) is \(value): must be \(allowed)"
    case .headsDoNotDivideWidth(let headsKey, let heads, let widthKey, let width): "\(headsKey) \(heads) does not divide \(widthKey) \(width)"
    case .tooLarge(let parameters): "a model of \(parameters) parameters is too large to be addressed"
    case .missing(let key): "\(key) is missing"
    case .wrongType(let key, let value, let expected): "\(key) is \(value): must be \(expected)"
    case .unsupported(let key, let value, let supported): "\(key) \(value) is not supported: must be \(supported)"
    case .contradiction(let key, let other): "\(key) and \(other) say different things: one of them must go"
    case .notJSON(let reason): "not a JSON object: \(reason)"
    case .unknownPreset(let name):
      "no model \"\(name.quotable)\": neither a directory nor a preset (\(ModelPreset.allCases.map(\.rawValue).joined(separator: ", ")))"
    case .inFile(let path, let error): "\(path): \(error)"
    }
  }
}
