/// `.jsonl`: a line an object, of which a field is the record's text.
enum JSONLineRecords {
  static func parse(
    _ buffer: UnsafeMutableBufferPointer<UInt8>, from start: Int, field: String, unitField: String?, path: String, offsets: inout [Int],
    unitNames: inout UnitNames?
  ) throws(DataError) {
    var lines = LineCursor(buffer, from: start)
    while let line = lines.next() {
      let source = UnsafeBufferPointer(rebasing: buffer[line])
      guard !source.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }) else {
        continue
      }

      var text: String
      do {
        let record = try Self.fields(of: source, naming: unitField.map { [field, $0] } ?? [field])
        text = try Self.text(of: record, field: field)
        if let unitField { unitNames?.append(try Self.unitName(of: record, field: unitField)) }
      } catch {
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
  ///
  /// - Parameter names: of the fields that are asked for.
  private static func fields(of line: UnsafeBufferPointer<UInt8>, naming names: [String]) throws(Refusal) -> [String: JSONValue] {
    let record: JSONValue
    do { record = try JSONScanner.parse(line) } catch {
      let column = JSONFault.column(at: error.offset, in: line)
      switch error {
      case .malformed(_, let reason): throw Refusal(column: column, reason: "malformed JSON: \(reason)")
      case .duplicateKey(let key, _) where names.contains(key):
        throw Refusal(column: column, reason: "field \"\(key)\" stands here a second time")
      case .duplicateKey: throw Refusal(column: column, reason: "a field stands here a second time")
      }
    }
    guard let fields = record.object else { throw Refusal(reason: "not a JSON object") }
    return fields
  }

  private static func text(of fields: [String: JSONValue], field: String) throws(Refusal) -> String {
    guard let value = fields[field] else { throw Refusal(reason: "no field \"\(field)\" (--text-field)") }
    guard let text = value.string else { throw Refusal(reason: "field \"\(field)\" is not a string") }
    return text
  }

  /// A unit's name is a string or an integer, as text. A record without one belongs to nobody's protection.
  private static func unitName(of fields: [String: JSONValue], field: String) throws(Refusal) -> [UInt8] {
    switch fields[field] {
    case .string(let name) where !name.isEmpty: return Array(name.utf8)
    case .integer(let number): return Array("\(number)".utf8)
    case nil: throw Refusal(reason: "no field \"\(field)\" (--unit)")
    case .string: throw Refusal(reason: "field \"\(field)\" (--unit) is empty: must name the record's unit")
    default: throw Refusal(reason: "field \"\(field)\" (--unit) is neither a string nor an integer")
    }
  }
}
