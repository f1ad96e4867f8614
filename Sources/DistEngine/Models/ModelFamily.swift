/// What is a family's own: how its `config.json` reads, what its tensors are called, what its blocks are made of.
protocol ModelFamily: Sendable {
  /// Architectures of Hugging Face's by the `model_type` that stands for each: a language model's, then a classifier's.
  static var architectures: [(modelType: String, language: String?, classifier: String)] { get }
  static var isEncoder: Bool { get }
  /// Whether blocks' matrices are stored `[in, out]`.
  static var storesInputByOutput: Bool { get }
  static var keys: ConfigurationKeys { get }
  /// One for each prefix.
  static var names: [TensorNames] { get }

  /// - Throws: also for what changes the model's function and isn't supported, by its name.
  static func configuration(_ settings: ConfigurationSettings, modelType: String) throws(ModelConfigurationError) -> ModelConfiguration
  /// What a `config.json` says of a model, beside what all families' do.
  static func settings(of configuration: ModelConfiguration) -> [String: JSONValue]
  static func declare(_ configuration: ModelConfiguration, in d: inout ModelDeclaration) -> Model
}

extension ModelFamily {
  static var modelTypes: [String] { architectures.map(\.modelType) }
  static var storesInputByOutput: Bool { false }
}

/// A family's keys for the sizes that all have.
struct ConfigurationKeys: Sendable {
  var vocabulary = "vocab_size"
  var positions = "max_position_embeddings"
  var width = "hidden_size"
  var layers = "num_hidden_layers"
  var heads = "num_attention_heads"
  var innerWidth = "intermediate_size"
  var normEpsilon: String
}

/// Names of a family's tensors, as far as files have them in more than one way.
struct TensorNames: Sendable {
  /// What stands before all names but the heads', and may be left out: `transformer.`.
  let prefix: String
  /// With its prefix.
  let tokenTable: String
  /// Where it is stored a second time.
  var head: String { "lm_head.weight" }
  /// What names of other heads' tensors begin with, which a classifier has no use for.
  let unused: [String]
  /// Whether a name, behind any prefix, is that of a buffer that is no parameter.
  let isBuffer: @Sendable (Substring) -> Bool

  /// Those of the family whose tensors a layout lists.
  init(of layout: ParameterLayout) {
    guard let names = ModelFamilies.all.flatMap({ $0.names }).first(where: { layout.entry(named: $0.tokenTable) != nil }) else {
      preconditionFailure("a layout of no family")
    }
    self = names
  }

  init(prefix: String, tokenTable: String, unused: [String] = ["lm_head."], isBuffer: @escaping @Sendable (Substring) -> Bool) {
    self.prefix = prefix
    self.tokenTable = tokenTable
    self.unused = unused
    self.isBuffer = isBuffer
  }
}

enum ModelFamilies {
  static let all: [any ModelFamily.Type] = [GPT2.self, Llama.self, BERT.self, RoBERTa.self, DistilBERT.self]

  static var modelTypes: [String] { all.flatMap { $0.modelTypes } }

  static func family(modelType: String) -> (any ModelFamily.Type)? {
    all.first { $0.modelTypes.contains { $0.utf8.elementsEqual(modelType.utf8) } }
  }

  /// The `model_type`, or where there is none the one that the first of the `architectures` stands for.
  static func modelType(_ settings: ConfigurationSettings) throws(ModelConfigurationError) -> String {
    if try settings.string("model_type") == nil, let architecture = try settings.strings("architectures")?.first {
      let known = all.flatMap { $0.architectures.map { $0 } }
      guard let match = known.first(where: { [$0.language, $0.classifier].contains { $0.map { $0.utf8.elementsEqual(architecture.utf8) } ?? false } }) else {
        let names = known.compactMap(\.language).map { "\"\($0)\"" }.joined(separator: " or ")
        throw .unsupported(key: "architectures", value: "\"\(architecture.quotable)\"", supported: names)
      }
      return match.modelType
    }
    try settings.require("model_type", oneOf: modelTypes, default: nil)
    guard let type = try settings.string("model_type") else { throw .missing(key: "model_type") }
    return type
  }
}
