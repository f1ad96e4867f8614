import Foundation

/// The keys of a `config.json`, read with a type in mind. `null` is the same as absent.
struct ConfigurationSettings {
  private let values: [String: JSONValue]
  /// Of a nested object: `rope_scaling.`.
  private let prefix: String

  init(json: Data) throws(ModelConfigurationError) {
    let bytes = Array(json)
    let value: JSONValue
    do { value = try JSONScanner.parse(file: bytes) } catch {
      throw .notJSON(reason: bytes.isEmpty ? error.reason : error.described(in: bytes))
    }
    guard let fields = value.object else { throw .notJSON(reason: "line 1: the value is \(value)") }
    (values, prefix) = (fields, "")
  }

  private init(_ values: [String: JSONValue], prefix: String) {
    (self.values, self.prefix) = (values, prefix)
  }

  private subscript(key: String) -> JSONValue? { values[key].flatMap { $0 == .null ? nil : $0 } }

  /// Whether the key is there, also with `null`.
  func has(_ key: String) -> Bool { values[key] != nil }

  private func wrongType(_ key: String, _ value: JSONValue, expected: String) -> ModelConfigurationError {
    .wrongType(key: prefix + key, value: "\(value)", expected: expected)
  }

  func integer(_ key: String) throws(ModelConfigurationError) -> Int? {
    guard let value = self[key] else { return nil }
    guard case .integer(let integer) = value else { throw wrongType(key, value, expected: "an integer") }
    return integer
  }

  func neededInteger(_ key: String) throws(ModelConfigurationError) -> Int {
    guard let value = try integer(key) else { throw .missing(key: prefix + key) }
    return value
  }

  /// An integer or a list of them; none where the key is absent.
  func integers(_ key: String) throws(ModelConfigurationError) -> [Int] {
    guard let value = self[key] else { return [] }
    guard case .array(let elements) = value else { return try integer(key).map { [$0] } ?? [] }
    var result: [Int] = []
    for element in elements {
      guard case .integer(let integer) = element else { throw wrongType(key, value, expected: "an integer or a list of integers") }
      result.append(integer)
    }
    return result
  }

  func number(_ key: String) throws(ModelConfigurationError) -> Double? {
    switch self[key] {
    case nil: return nil
    case .integer(let integer): return Double(integer)
    case .number(let number): return number
    case let value?: throw wrongType(key, value, expected: "a number")
    }
  }

  func neededNumber(_ key: String) throws(ModelConfigurationError) -> Double {
    guard let value = try number(key) else { throw .missing(key: prefix + key) }
    return value
  }

  func boolean(_ key: String) throws(ModelConfigurationError) -> Bool? {
    guard let value = self[key] else { return nil }
    guard case .boolean(let boolean) = value else { throw wrongType(key, value, expected: "true or false") }
    return boolean
  }

  func string(_ key: String) throws(ModelConfigurationError) -> String? {
    guard let value = self[key] else { return nil }
    guard case .string(let string) = value else { throw wrongType(key, value, expected: "a string") }
    return string
  }

  func strings(_ key: String) throws(ModelConfigurationError) -> [String]? {
    guard let value = self[key] else { return nil }
    let strings = value.array?.compactMap(\.string)
    guard let strings, strings.count == value.array?.count else { throw wrongType(key, value, expected: "a list of strings") }
    return strings
  }

  /// An object within, whose keys are named behind its own.
  func object(_ key: String) throws(ModelConfigurationError) -> ConfigurationSettings? {
    guard let value = self[key] else { return nil }
    guard case .object(let fields) = value else { throw wrongType(key, value, expected: "an object") }
    return ConfigurationSettings(fields, prefix: "\(prefix)\(key).")
  }

  /// - Parameter absent: what the key's absence means; nil: it has to be there.
  func require(_ key: String, oneOf supported: [String], default absent: String?) throws(ModelConfigurationError) {
    guard let value = self[key] ?? absent.map(JSONValue.string) else { throw .missing(key: prefix + key) }
    guard case .string(let string) = value, supported.contains(where: { $0.utf8.elementsEqual(string.utf8) }) else {
      throw .unsupported(key: prefix + key, value: "\(value)", supported: supported.map { "\"\($0)\"" }.joined(separator: " or "))
    }
  }

  func require(_ key: String, _ supported: Bool, default absent: Bool) throws(ModelConfigurationError) {
    guard try (boolean(key) ?? absent) == supported else {
      throw .unsupported(key: prefix + key, value: "\(!supported)", supported: "\(supported)")
    }
  }

  /// Refuses a key that changes what the model computes, whatever it holds.
  func requireAbsent(_ key: String) throws(ModelConfigurationError) {
    guard let value = self[key] else { return }
    throw .unsupported(key: prefix + key, value: "\(value)", supported: "absent")
  }

  func require(_ key: String, number supported: Double) throws(ModelConfigurationError) {
    guard let value = try number(key), value != supported else { return }
    throw .unsupported(key: prefix + key, value: "\(self[key] ?? .null)", supported: "\(supported)")
  }
}

extension ConfigurationSettings {
  /// The labels of a classifier's head in order (`id2label`), or as many `LABEL_i` as `num_labels` says, 2 unless it does; nil of an
  /// architecture without such a head.
  func labels() throws(ModelConfigurationError) -> [String]? {
    guard let architecture = try strings("architectures")?.first,
      architecture.utf8.suffix(Self.classifier.utf8.count).elementsEqual(Self.classifier.utf8)
    else { return nil }
    try require("problem_type", oneOf: ["single_label_classification"], default: "single_label_classification")
    guard let named = try object("id2label") else {
      let count = try integer("num_labels") ?? 2
      guard (1...Self.mostLabels).contains(count) else {
        throw .outOfRange(key: "num_labels", value: "\(count)", allowed: "1 to \(Self.mostLabels)")
      }
      return (0..<count).map { "LABEL_\($0)" }
    }
    var labels: [String] = []
    while let label = try named.string("\(labels.count)") { labels.append(label) }
    guard labels.count == named.values.count, !labels.isEmpty else {
      throw .unsupported(key: "id2label", value: "{…}", supported: "an object of names by \"0\", \"1\" …")
    }
    return labels
  }

  private static let mostLabels = 1 << 20
  private static let classifier = "ForSequenceClassification"
}
