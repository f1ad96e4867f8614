import Foundation

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
