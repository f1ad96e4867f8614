import Foundation

/// Any JSON value, for files whose keys aren't all known. Descriptions are JSON for scalars, `[…]` and `{…}` for the rest.
enum JSONValue: Codable, Hashable, CustomStringConvertible {
  case null
  case boolean(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .boolean(value)
    } else if let value = try? container.decode(Int.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .number(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .boolean(let value): try container.encode(value)
    case .integer(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
    }
  }

  var description: String {
    switch self {
    case .null: "null"
    case .boolean(let value): "\(value)"
    case .integer(let value): "\(value)"
    case .number(let value): "\(value)"
    case .string(let value): "\"\(value)\""
    case .array: "[…]"
    case .object: "{…}"
    }
  }
}

extension DecodingError {
  /// Where in the document a decoder failed, such as `a.b: `; empty at the top.
  static func location(of error: any Error) -> String {
    let path: [any CodingKey] =
      switch error {
      case keyNotFound(let key, let context): context.codingPath + [key]
      case dataCorrupted(let context), typeMismatch(_, let context), valueNotFound(_, let context): context.codingPath
      default: []
      }
    return path.isEmpty ? "" : path.map(\.stringValue).joined(separator: ".") + ": "
  }

  /// What a decoder says of a malformed document, in one line.
  static func reason(of error: any Error) -> String {
    let context: Context? =
      switch error {
      case DecodingError.dataCorrupted(let context), DecodingError.keyNotFound(_, let context),
        DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context):
        context
      default: nil
      }
    let detail = (context?.underlyingError as NSError?)?.userInfo[NSDebugDescriptionErrorKey] as? String
    let text = detail ?? context?.debugDescription ?? "\(error)"
    return text.split(whereSeparator: \.isNewline).joined(separator: " ")
  }
}
