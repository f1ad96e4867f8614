/// `.csv` (RFC 4180) and `.tsv` (no quoting): rows of fields, the first row naming the columns, one of which is the text.
struct DelimitedRecords {
  private let separator: UInt8
  private let isQuoting: Bool
  private let column: String
  /// nil where every record is a unit of its own.
  private let unitColumn: String?
  private let path: String

  init(format: RecordReader.Format, column: String, unitColumn: String? = nil, path: String) {
    self.unitColumn = unitColumn
    separator = UInt8(ascii: format == .csv ? "," : "\t")
    isQuoting = format == .csv
    self.column = column
    self.path = path
  }

  func parse(
    _ buffer: UnsafeMutableBufferPointer<UInt8>, from start: Int, offsets: inout [Int], unitNames: inout UnitNames?
  ) throws(DataError) {
    var cursor = Cursor(buffer: buffer, position: start)
    guard !cursor.isAtEnd else { return }
    let columns = try header(&cursor)
    guard let place = columns.firstIndex(of: Array(column.utf8)) else {
      throw .missingColumn(path: path, column: column, count: columns.count)
    }
    let unitPlace = unitColumn.flatMap { columns.firstIndex(of: Array($0.utf8)) }
    if let unitColumn, unitPlace == nil { throw .missingColumn(path: path, column: unitColumn, option: "--unit", count: columns.count) }
    try checkUnique(columns)
    while !cursor.isAtEnd {
      let line = cursor.line
      let textStart = offsets.last!
      var textEnd = textStart
      var fields = 0
      var isBlank = false
      var unit: [UInt8] = []
      while true {
        let field = try field(&cursor, to: textEnd)
        if fields == unitPlace { unit = Array(buffer[textEnd..<textEnd + field.length]) }
        if fields == place { textEnd += field.length }
        fields += 1
        isBlank = fields == 1 && field.length == 0 && !field.isQuoted
        if field.endsRow { break }
      }
      if isBlank, columns.count > 1 { continue }
      guard fields == columns.count else {
        throw .malformedLine(
          path: path, line: line, reason: "\(fields) field\(fields == 1 ? "" : "s") where the header has \(columns.count)")
      }
      if let unitColumn {
        guard !unit.isEmpty else {
          throw .malformedLine(path: path, line: line, reason: "column \"\(unitColumn)\" (--unit) is empty: must name the record's unit")
        }
        unitNames?.append(unit)
      }
      offsets.append(textEnd)
    }
  }

  /// A name that two columns have is refused; columns without a name are not asked for one. Only the name that was asked for is said: a
  /// file without a header has a record in its place.
  private func checkUnique(_ columns: [[UInt8]]) throws(DataError) {
    let own = Array(column.utf8)
    var places: [[UInt8]: Int] = [:]
    for (place, name) in columns.enumerated() where !name.isEmpty {
      guard let first = places.updateValue(place, forKey: name) else { continue }
      throw .malformedLine(
        path: path, line: 1,
        reason: "columns \(first + 1) and \(place + 1) have the same name" + (name == own ? ", \"\(column)\"" : "")
          + ": names must differ")
    }
  }

  private func header(_ cursor: inout Cursor) throws(DataError) -> [[UInt8]] {
    // Bytes: as text, two names may be the same and not be written alike, which takes long to find.
    var columns: [[UInt8]] = []
    while true {
      let field = try field(&cursor, to: 0)
      columns.append(Array(cursor.buffer[..<field.length]))
      if field.endsRow { return columns }
    }
  }

  private struct Cursor {
    let buffer: UnsafeMutableBufferPointer<UInt8>
    var position: Int
    var line = 1

    var isAtEnd: Bool { position >= buffer.count }

    /// The next byte, taken; nil at the end.
    mutating func take() -> UInt8? {
      guard position < buffer.count else { return nil }
      defer { position += 1 }
      if buffer[position] == UInt8(ascii: "\n") { line += 1 }
      return buffer[position]
    }

    /// Passes over a line end, if one is next.
    mutating func takeLineEnd() -> Bool {
      let isReturn = position < buffer.count && buffer[position] == UInt8(ascii: "\r")
      let place = position + (isReturn ? 1 : 0)
      guard place >= buffer.count || buffer[place] == UInt8(ascii: "\n") else { return false }
      position = min(place + 1, buffer.count)
      line += 1
      return true
    }
  }

  private struct Field {
    let length: Int
    let isQuoted: Bool
    let endsRow: Bool
  }

  /// Reads a field and the separator or line end (also the file's end) behind it. Its text is written from `place` on, which is
  /// never beyond where it is read.
  private func field(_ cursor: inout Cursor, to place: Int) throws(DataError) -> Field {
    let buffer = cursor.buffer
    if isQuoting, !cursor.isAtEnd, buffer[cursor.position] == UInt8(ascii: "\"") { return try quotedField(&cursor, to: place) }
    var length = 0
    while true {
      if cursor.takeLineEnd() { return Field(length: length, isQuoted: false, endsRow: true) }
      guard let byte = cursor.take(), byte != separator else { return Field(length: length, isQuoted: false, endsRow: false) }
      buffer[place + length] = byte
      length += 1
    }
  }

  private func quotedField(_ cursor: inout Cursor, to place: Int) throws(DataError) -> Field {
    let openedAt = cursor.line
    let quote = UInt8(ascii: "\"")
    _ = cursor.take()
    var length = 0
    while true {
      guard let byte = cursor.take() else {
        throw .malformedLine(path: path, line: openedAt, reason: "a quoted field that begins here has no end")
      }
      if byte == quote {
        if cursor.takeLineEnd() { return Field(length: length, isQuoted: true, endsRow: true) }
        let next = cursor.take()
        if next == separator { return Field(length: length, isQuoted: true, endsRow: false) }
        guard next == quote else {
          throw .malformedLine(path: path, line: cursor.line, reason: "text behind the closing quote of a field")
        }
      }
      cursor.buffer[place + length] = byte
      length += 1
    }
  }
}
