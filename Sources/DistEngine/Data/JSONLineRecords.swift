/// `.jsonl`: a line an object, of which some fields are the record's.
enum JSONLineRecords {
  static func parse(
    _ buffer: UnsafeMutableBufferPointer<UInt8>, path: String, into records: inout ParsedRecords
  ) throws(DataError) {
    let fields = records.fields
    let (slots, names) = (fields.slots, fields.all.map(\.name))
    var texts: [String] = []
    var lines = LineCursor(buffer)
    while let line = lines.next() {
      let source = UnsafeBufferPointer(rebasing: buffer[line])
      guard !source.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }) else {
        continue
      }
      texts.removeAll(keepingCapacity: true)
      do {
        let record = try Self.fields(of: source, naming: names)
        for slot in slots { texts.append(try text(of: record, slot)) }
        if let label = fields.label, let labels = fields.labels { records.append(label: try index(of: record, field: label, in: labels)) }
        if let unit = fields.unit { records.append(unit: try unitName(of: record, field: unit)) }
      } catch {
        throw .malformedLine(path: path, line: lines.line, column: error.column, reason: error.reason)
      }
      for var text in texts {
        text.withUTF8 { utf8 in
          // JSON strings' texts are shorter than the strings as they stand in the line, which is UTF-8.
          precondition(records.end + utf8.count <= line.upperBound, "texts longer than their line")
          records.append(utf8, in: buffer)
        }
      }
    }
  }

  private struct Refusal: Error {
    var column: Int?
    let reason: String
  }

  /// Faults say the column. They name no key but those that were asked for: the others may be private.
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

  private static func text(of fields: [String: JSONValue], _ slot: RecordFields.Slot) throws(Refusal) -> String {
    guard let value = fields[slot.name] else { throw Refusal(reason: "no field \"\(slot.name)\" (\(slot.option))") }
    guard let text = value.string else { throw Refusal(reason: "field \"\(slot.name)\" is not a string") }
    return text
  }

  /// A label is a string, or an integer or a truth value as text.
  private static func index(of fields: [String: JSONValue], field: String, in labels: LabelSet) throws(Refusal) -> Int32 {
    let text: String
    switch fields[field] {
    case .string(let label): text = label
    case .integer(let number): text = "\(number)"
    case .boolean(let value): text = "\(value)"
    case nil: throw Refusal(reason: "no field \"\(field)\" (--label-field)")
    default: throw Refusal(reason: "field \"\(field)\" (--label-field) is neither a string nor an integer")
    }
    guard let index = labels.index(of: text.utf8) else { throw Refusal(reason: "field \"\(field)\" (--label-field) \(labels.allowed)") }
    return index
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
