/// `.jsonl`: a line an object, of which a field is the record's text.
enum JSONLineRecords {
  static func parse(
    _ buffer: UnsafeMutableBufferPointer<UInt8>, from start: Int, field: String, path: String, offsets: inout [Int]
  ) throws(DataError) {
    var lines = LineCursor(buffer, from: start)
    while let line = lines.next() {
      let source = UnsafeBufferPointer(rebasing: buffer[line])
      guard !source.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }) else {
        continue
      }

      var text: String
      do { text = try Self.text(of: source, field: field) } catch {
        throw .malformedLine(path: path, line: lines.line, column: error.column, reason: error.reason)
      }
      let end = offsets.last!
      text.withUTF8 { utf8 in
        // A JSON string's text is shorter than the string as it stands in the line, which is UTF-8.
        precondition(end + utf8.count <= line.upperBound, "a text longer than its line")
        _ = UnsafeMutableBufferPointer(rebasing: buffer[end..<(end + utf8.count)]).update(fromContentsOf: utf8)
        offsets.append(end + utf8.count)
      }
    }
  }

  private struct Refusal: Error {
    var column: Int?
    let reason: String
  }

  /// Faults say the column. They name no key but the one that was asked for: the others may be private.
  private static func text(of line: UnsafeBufferPointer<UInt8>, field: String) throws(Refusal) -> String {
    let record: JSONValue
    do { record = try JSONScanner.parse(line) } catch {
      let column = JSONFault.column(at: error.offset, in: line)
      switch error {
      case .malformed(_, let reason): throw Refusal(column: column, reason: "malformed JSON: \(reason)")
      case .duplicateKey(field, _): throw Refusal(column: column, reason: "field \"\(field)\" stands here a second time")
      case .duplicateKey: throw Refusal(column: column, reason: "a field stands here a second time")
      }
    }
    guard let fields = record.object else { throw Refusal(reason: "not a JSON object") }
    guard let value = fields[field] else { throw Refusal(reason: "no field \"\(field)\" (--text-field)") }
    guard let text = value.string else { throw Refusal(reason: "field \"\(field)\" is not a string") }
    return text
  }
}
