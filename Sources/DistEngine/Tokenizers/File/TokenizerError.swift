/// Why a tokenizer is refused. Fields are named by where they stand in `tokenizer.json`.
public enum TokenizerError: UserError, Equatable {
  case malformed(path: String, reason: String)
  case missing(path: String, field: String)
  case wrongType(path: String, field: String, value: String, expected: String)
  /// What isn't read here: nothing is approximated.
  case unsupported(path: String, field: String, value: String, supported: String)
  case inconsistent(path: String, field: String, reason: String)

  public var description: String {
    switch self {
    case .malformed(let path, let reason): "\(path): not a tokenizer.json: \(reason)"
    case .missing(let path, let field): "\(path): \(field) is missing"
    case .wrongType(let path, let field, let value, let expected): "\(path): \(field) is \(value): must be \(expected)"
    case .unsupported(let path, let field, let value, let supported): "\(path): \(field) \(value) is not supported: must be \(supported)"
    case .inconsistent(let path, let field, let reason): "\(path): \(field) \(reason)"
    }
  }
}

/// An object of a `tokenizer.json`, which knows where it stands.
struct TokenizerFields {
  /// The file's.
  let path: String
  /// Keys from the outermost; empty for the file's own object.
  let place: String
  private let fields: [String: JSONValue]

  init(path: String, place: String = "", _ fields: [String: JSONValue]) {
    (self.path, self.place, self.fields) = (path, place, fields)
  }

  func name(_ key: String) -> String { place.isEmpty ? key : "\(place).\(key)" }

  /// nil where it is absent or null.
  private func value<Value>(_ key: String, _ expected: String, _ read: (JSONValue) -> Value?) throws(TokenizerError) -> Value? {
    guard let found = fields[key], found != .null else { return nil }
    guard let value = read(found) else { throw .wrongType(path: path, field: name(key), value: "\(found)", expected: expected) }
    return value
  }

  private func needed<Value>(_ key: String, _ value: Value?) throws(TokenizerError) -> Value {
    guard let value else { throw .missing(path: path, field: name(key)) }
    return value
  }

  func string(_ key: String) throws(TokenizerError) -> String? { try value(key, "a string", \.string) }
  func neededString(_ key: String) throws(TokenizerError) -> String { try needed(key, string(key)) }
  /// A string's UTF-8.
  func neededBytes(_ key: String) throws(TokenizerError) -> [UInt8] { Array(try neededString(key).utf8) }

  func boolean(_ key: String) throws(TokenizerError) -> Bool? {
    try value(key, "true or false") { if case .boolean(let value) = $0 { value } else { nil } }
  }
  func neededBoolean(_ key: String) throws(TokenizerError) -> Bool { try needed(key, boolean(key)) }

  func integer(_ key: String) throws(TokenizerError) -> Int? { try value(key, "an integer", \.integer) }
  func neededInteger(_ key: String) throws(TokenizerError) -> Int { try needed(key, integer(key)) }
  /// A number that may be written as an integer.
  func number(_ key: String) throws(TokenizerError) -> Double? {
    try value(key, "a number") { value in
      switch value {
      case .integer(let integer): Double(integer)
      case .number(let number): number
      default: nil
      }
    }
  }

  func array(_ key: String) throws(TokenizerError) -> [JSONValue]? { try value(key, "an array", \.array) }
  func neededArray(_ key: String) throws(TokenizerError) -> [JSONValue] { try needed(key, array(key)) }

  func object(_ key: String) throws(TokenizerError) -> TokenizerFields? {
    try value(key, "an object", \.object).map { TokenizerFields(path: path, place: name(key), $0) }
  }
  func neededObject(_ key: String) throws(TokenizerError) -> TokenizerFields { try needed(key, object(key)) }

  /// An array of objects.
  func neededObjects(_ key: String) throws(TokenizerError) -> [TokenizerFields] {
    var objects: [TokenizerFields] = []
    for (index, value) in try neededArray(key).enumerated() {
      guard let fields = value.object else {
        throw .wrongType(path: path, field: "\(name(key))[\(index)]", value: "\(value)", expected: "an object")
      }
      objects.append(TokenizerFields(path: path, place: "\(name(key))[\(index)]", fields))
    }
    return objects
  }

  func has(_ key: String) -> Bool { fields[key] != nil }

  var keys: [String] { fields.keys.sorted() }

  func unsupported(_ key: String, _ supported: String) -> TokenizerError {
    .unsupported(path: path, field: name(key), value: "\(fields[key] ?? .null)", supported: supported)
  }

  func inconsistent(_ key: String, _ reason: String) -> TokenizerError {
    .inconsistent(path: path, field: key.isEmpty ? place : name(key), reason: reason)
  }
}
