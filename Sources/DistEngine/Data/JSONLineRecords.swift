import Foundation

/// `.jsonl`: a line an object, of which a field is the record's text.
enum JSONLineRecords {
  static func parse(
    _ buffer: UnsafeMutableBufferPointer<UInt8>, from start: Int, field: String, path: String, offsets: inout [Int]
  ) throws(DataError) {
    let decoder = JSONDecoder()
    decoder.userInfo[.textField] = field
    var lines = LineCursor(buffer, from: start)
    while let line = lines.next() {
      let source = UnsafeBufferPointer(rebasing: buffer[line])
      guard !source.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }) else {
        continue
      }

      var text: String
      do { text = try Self.text(of: source, field: field, decoder: decoder) } catch {
        throw .malformedLine(path: path, line: lines.line, reason: error.reason)
      }
      let end = offsets.last!
      text.withUTF8 { utf8 in
        // A JSON string's text is shorter than the string as it stands in the line.
        _ = UnsafeMutableBufferPointer(rebasing: buffer[end..<(end + utf8.count)]).update(fromContentsOf: utf8)
        offsets.append(end + utf8.count)
      }
    }
  }

  private struct Refusal: Error { let reason: String }

  private static func text(
    of line: UnsafeBufferPointer<UInt8>, field: String, decoder: JSONDecoder
  ) throws(Refusal) -> String {
    guard String(validating: line, as: UTF8.self) != nil else { throw Refusal(reason: "not valid UTF-8") }
    do {
      return try decoder.decode(TextField.self, from: Data(buffer: line)).text
    } catch DecodingError.keyNotFound {
      throw Refusal(reason: "no field \"\(field)\" (--text-field)")
    } catch DecodingError.typeMismatch(_, let context) where context.codingPath.isEmpty {
      throw Refusal(reason: "not a JSON object")
    } catch DecodingError.typeMismatch, DecodingError.valueNotFound {
      throw Refusal(reason: "field \"\(field)\" is not a string")
    } catch {
      throw Refusal(reason: "malformed JSON: \(DecodingError.reason(of: error))")
    }
  }

  /// One field of an object, whose name the decoder has been told.
  private struct TextField: Decodable {
    let text: String

    init(from decoder: any Decoder) throws {
      let name = Name(stringValue: decoder.userInfo[.textField] as? String ?? "text")
      text = try decoder.container(keyedBy: Name.self).decode(String.self, forKey: name)
    }
  }

  private struct Name: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}

extension CodingUserInfoKey {
  fileprivate static let textField = CodingUserInfoKey(rawValue: "textField")!
}
