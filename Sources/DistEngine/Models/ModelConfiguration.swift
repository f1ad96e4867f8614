/// The shape of a GPT-2 language model: pre-norm blocks, learned positions, tanh-approximated GELU, biases everywhere.
///
/// A value is always valid: `init` refuses what no model can be. Files: `ModelConfiguration+HuggingFace.swift`;
/// parameters, their names, shapes and order: `ModelConfiguration+Parameters.swift`.
public struct ModelConfiguration: Sendable, Hashable {
  /// V: ids the embedding and the head know; a tokenizer may use fewer.
  public let vocabularySize: Int
  /// Positions with an embedding: the longest sequence.
  public let positions: Int
  /// d: width of the residual stream.
  public let width: Int
  public let layers: Int
  /// Attention heads; divides `width`.
  public let heads: Int
  /// Width inside the feed-forward part of a block, 4d unless said otherwise.
  public let innerWidth: Int
  public let layerNormEpsilon: Double
  /// Whether the head's weight is the token embedding's.
  public let tiedEmbeddings: Bool
  /// Standard deviation of initial weights.
  public let initializerRange: Double
  public private(set) var beginningOfText: Int?
  public private(set) var endOfText: Int?

  /// - Throws: ``ModelConfigurationError`` for a size below 1 or beyond what can be addressed, heads that don't divide the
  ///   width, an ε or initial deviation that isn't a positive (deviation: or zero) number.
  public init(
    vocabularySize: Int, positions: Int, width: Int, layers: Int, heads: Int, innerWidth: Int? = nil,
    layerNormEpsilon: Double = 1e-5, tiedEmbeddings: Bool = true, initializerRange: Double = 0.02,
    beginningOfText: Int? = nil, endOfText: Int? = nil
  ) throws(ModelConfigurationError) {
    self.vocabularySize = vocabularySize
    self.positions = positions
    self.width = width
    self.layers = layers
    self.heads = heads
    self.innerWidth = innerWidth ?? 4 &* width
    self.layerNormEpsilon = layerNormEpsilon
    self.tiedEmbeddings = tiedEmbeddings
    self.initializerRange = initializerRange
    self.beginningOfText = beginningOfText
    self.endOfText = endOfText
    try validate()
  }

  /// The same model, whose texts begin and end with an id: the one that stands around the records that it learns.
  package func delimitingTexts(by id: Int) -> ModelConfiguration {
    precondition((0..<vocabularySize).contains(id), "id \(id) of \(vocabularySize)")
    var configuration = self
    (configuration.beginningOfText, configuration.endOfText) = (id, id)
    return configuration
  }

  /// Width of one head: d / heads.
  public var headWidth: Int { width / heads }

  /// Largest value of a size: what a 32-bit index of BLAS and MPI can count.
  static let largestSize = Int(Int32.max)
  /// Many times the layers of any model there is: each is a dozen tensors, all of which are listed before anything is known of them.
  static let mostLayers = 4096
  /// Largest number of parameters: their bytes and offsets stay far from overflow.
  static let largestParameterCount = 1 << 48

  private func validate() throws(ModelConfigurationError) {
    let sizes = [
      ("vocab_size", vocabularySize, Self.largestSize), ("n_positions", positions, Self.largestSize),
      ("n_embd", width, Self.largestSize / 4), ("n_layer", layers, Self.mostLayers), ("n_head", heads, Self.largestSize),
      ("n_inner", innerWidth, Self.largestSize),
    ]
    for (key, value, largest) in sizes {
      guard (1...largest).contains(value) else { throw .outOfRange(key: key, value: "\(value)", allowed: "1 to \(largest)") }
    }
    for (key, id) in [("bos_token_id", beginningOfText), ("eos_token_id", endOfText)] {
      guard let id, !(0..<vocabularySize).contains(id) else { continue }
      throw .outOfRange(key: key, value: "\(id)", allowed: "an id of the vocabulary, 0 to \(vocabularySize - 1)")
    }
    guard width.isMultiple(of: heads) else { throw .headsDoNotDivideWidth(heads: heads, width: width) }
    guard layerNormEpsilon.isFinite, layerNormEpsilon > 0 else {
      throw .outOfRange(key: "layer_norm_epsilon", value: "\(layerNormEpsilon)", allowed: "a number above 0")
    }
    guard initializerRange.isFinite, initializerRange >= 0 else {
      throw .outOfRange(key: "initializer_range", value: "\(initializerRange)", allowed: "0 or a number above it")
    }
    let count =
      Double(width) * (Double(vocabularySize) * (tiedEmbeddings ? 1 : 2) + Double(positions))
      + Double(layers) * Double(width) * (4 * Double(width) + 2 * Double(innerWidth))
    guard count < Double(Self.largestParameterCount) else { throw .tooLarge(parameters: count) }
  }
}

/// Why a model's configuration is refused. Keys are those of Hugging Face's `config.json`.
public enum ModelConfigurationError: UserError, Equatable {
  case outOfRange(key: String, value: String, allowed: String)
  case headsDoNotDivideWidth(heads: Int, width: Int)
  case tooLarge(parameters: Double)
  case missing(key: String)
  case wrongType(key: String, value: String, expected: String)
  case unsupported(key: String, value: String, supported: String)
  case notJSON(reason: String)
  case unknownPreset(name: String)
  /// One of the above, in a file.
  indirect case inFile(path: String, ModelConfigurationError)

  public var description: String {
    switch self {
    case .outOfRange(let key, let value, let allowed): "\(key) is \(value): must be \(allowed)"
    case .headsDoNotDivideWidth(let heads, let width): "n_head \(heads) does not divide n_embd \(width)"
    case .tooLarge(let parameters): "a model of \(parameters) parameters is too large to be addressed"
    case .missing(let key): "\(key) is missing"
    case .wrongType(let key, let value, let expected): "\(key) is \(value): must be \(expected)"
    case .unsupported(let key, let value, let supported): "\(key) \(value) is not supported: must be \(supported)"
    case .notJSON(let reason): "not a JSON object: \(reason)"
    case .unknownPreset(let name):
      "no model \"\(name.quotable)\": neither a directory nor a preset (\(ModelPreset.allCases.map(\.rawValue).joined(separator: ", ")))"
    case .inFile(let path, let error): "\(path): \(error)"
    }
  }
}
