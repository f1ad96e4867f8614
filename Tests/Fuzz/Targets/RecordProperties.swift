import DistEngine
import Foundation

/// Records are those that a naive reader finds, and refusals say nothing that depends on their text but numbers of lines, columns and fields.
enum RecordProperties {
  static func check(_ bytes: [UInt8], format: RecordReader.Format) throws(Violation) {
    let read = try twice { () throws(DataError) in
      var bytes = bytes
      return try RecordReader.parse(&bytes, format: format, path: "input").map { Array($0) }
    }
    let lines = bytes.count { $0 == UInt8(ascii: "\n") } + 1
    switch read {
    case .failure(let refusal):
      try require(isKnown("\(refusal)"), "a refusal that may repeat a record: \(refusal)")
      if case .malformedLine(_, let line, _, _) = refusal {
        try require((1...lines).contains(line), "line \(line) of \(lines)")
      }
    case .success(let records):
      try require(records.count <= lines, "\(records.count) records of \(lines) lines")
      try require(records.reduce(0) { $0 + $1.count } <= bytes.count, "more text than the file has")
    }
    let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    // Other encodings are refused before anything is read.
    if case .failure(.malformedFile) = read { return }
    let text = bytes[start...]
    switch format {
    case .text:
      var expected = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      if expected.last?.isEmpty == true { expected.removeLast() }
      try compare(read, expected.map { Array($0.last == UInt8(ascii: "\r") ? $0.dropLast() : $0) })
    case .csv, .tsv: try compare(read, NaiveTable.texts(text, isQuoting: format == .csv))
    case .jsonLines:
      guard case .success(let records) = read else { return }
      var left = records[...]
      for line in text.split(separator: UInt8(ascii: "\n")) where !line.allSatisfy({ [0x20, 0x09, 0x0D].contains($0) }) {
        try require(!left.isEmpty, "fewer records than lines that are not blank")
        let record = left.removeFirst()
        // Foundation refuses some numbers that are none of our concern, and loses a byte-order mark behind an escape.
        guard Data(line).range(of: Data([0xEF, 0xBB, 0xBF])) == nil,
          let object = try? JSONSerialization.jsonObject(with: Data(line))
        else { continue }
        let text = (object as? [String: Any])?["text"] as? String
        try require(text.map { Array($0.utf8) } == record, "another text than Foundation reads")
      }
      try require(left.isEmpty, "more records than lines that are not blank")
    }
  }

  private static func compare(_ read: Result<[[UInt8]], DataError>, _ expected: [[UInt8]]?) throws(Violation) {
    try require((try? read.get()) == expected, "read \(read), a naive reader \(expected.map { "\($0)" } ?? "nothing")")
  }

  /// Whether a refusal is one of those there are, numbers aside.
  private static func isKnown(_ line: String) -> Bool {
    var words = ""
    for scalar in line.unicodeScalars {
      let isDigit = ("0"..."9").contains(scalar)
      if !isDigit || !words.hasSuffix("#") { words.unicodeScalars.append(isDigit ? "#" : scalar) }
    }
    for (prefix, known) in [
      ("input, line #, column #: malformed JSON: the text ends here: ", jsonFaults),
      ("input, line #, column #: malformed JSON: ", jsonFaults), ("input, line #, column #: ", repeatedFields),
      ("input, line #: ", malformedLines), ("input: ", malformedFiles),
    ]
    where words.hasPrefix(prefix) { return known.contains(String(words.dropFirst(prefix.count))) }
    return false
  }

  private static let jsonFaults: Set = [
    "text behind the end of the JSON value", "a value is expected", "more than # arrays and objects within each other",
    "a comma or ] is expected", "a comma or } is expected", "a key in double quotes is expected", "a colon is expected",
    "a digit is expected", "a number that begins with #", "a number beyond what a double holds",
    "a control character within a string",
    "a string that begins here has no end", "not valid UTF-#", "an unknown escape", "half a surrogate pair",
    "an escape without its four hexadecimal digits", "a key of more than # bytes that are not all ASCII",
  ]
  private static let repeatedFields: Set = ["a field stands here a second time", "field \"text\" stands here a second time"]
  private static let malformedLines: Set = [
    "not a JSON object", "no field \"text\" (--text-field)", "field \"text\" is not a string",
    "a quoted field that begins here has no end", "text behind the closing quote of a field",
    "# field where the header has #", "# fields where the header has #", "columns # and # have the same name: names must differ",
    "columns # and # have the same name, \"text\": names must differ",
    "no column \"text\" (--text-field): this line must name the columns, and none of its # has that name",
  ]
  private static let malformedFiles: Set = [
    "a Git LFS pointer, not the file itself: git lfs pull fetches it",
    "the text is in UTF-# (little-endian): must be UTF-# (iconv -t UTF-# converts)",
    "the text is in UTF-# (big-endian): must be UTF-# (iconv -t UTF-# converts)",
  ]
}

/// Tables read the slow way: all rows, then one column.
enum NaiveTable {
  /// nil: no table that has just one column `text`.
  static func texts(_ bytes: ArraySlice<UInt8>, isQuoting: Bool) -> [[UInt8]]? {
    guard let rows = rows(bytes, isQuoting: isQuoting) else { return nil }
    guard let header = rows.first else { return [] }
    let names = header.fields
    let named = names.filter { !$0.isEmpty }
    guard let place = names.firstIndex(of: Array("text".utf8)), Set(named).count == named.count else { return nil }
    var texts: [[UInt8]] = []
    for row in rows.dropFirst() {
      if row.isBlank && names.count > 1 { continue }
      guard row.fields.count == names.count else { return nil }
      texts.append(row.fields[place])
    }
    return texts
  }

  private struct Row {
    var fields: [[UInt8]] = []
    /// Nothing but a line end.
    var isBlank = false
  }

  private static func rows(_ bytes: ArraySlice<UInt8>, isQuoting: Bool) -> [Row]? {
    let (quote, newline, carriage) = (UInt8(ascii: "\""), UInt8(ascii: "\n"), UInt8(ascii: "\r"))
    let separator = UInt8(ascii: isQuoting ? "," : "\t")
    var rest = bytes
    /// Bytes of the line end in front, 0 where there is none; the end of the file is one of no bytes.
    func lineEnd() -> Int? {
      if rest.isEmpty { return 0 }
      if rest.first == newline { return 1 }
      guard rest.first == carriage else { return nil }
      return rest.count == 1 ? 1 : rest.dropFirst().first == newline ? 2 : nil
    }
    var rows: [Row] = []
    while !rest.isEmpty {
      var row = Row()
      var quoted = false
      while true {
        var field: [UInt8] = []
        if isQuoting, rest.first == quote {
          quoted = true
          rest.removeFirst()
          while true {
            guard let byte = rest.popFirst() else { return nil }
            if byte != quote {
              field.append(byte)
            } else if rest.first == quote {
              field.append(rest.removeFirst())
            } else {
              break
            }
          }
          guard rest.first == separator || lineEnd() != nil else { return nil }
        } else {
          while lineEnd() == nil, rest.first != separator { field.append(rest.removeFirst()) }
        }
        row.fields.append(field)
        if let end = lineEnd() {
          rest.removeFirst(end)
          break
        }
        rest.removeFirst()
      }
      row.isBlank = row.fields == [[]] && !quoted
      rows.append(row)
    }
    return rows
  }
}
