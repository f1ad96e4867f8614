/// `.csv` (RFC 4180) and `.tsv` (no quoting): rows of fields, the first row naming the columns, some of which are the record's.
struct DelimitedRecords {
  private let separator: UInt8
  private let isQuoting: Bool
  private let fields: RecordFields
  private let path: String

  init(format: RecordReader.Format, fields: RecordFields, path: String) {
    separator = UInt8(ascii: format == .csv ? "," : "\t")
    isQuoting = format == .csv
    self.fields = fields
    self.path = path
  }

  /// What the first row says, and where it ends; of a file without one nothing.
  func header(_ bytes: inout [UInt8], from start: Int) throws(DataError) -> (columns: Columns?, end: Int, lines: Int) {
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(DataError) in
      var cursor = Cursor(buffer: buffer, position: start)
      guard !cursor.isAtEnd else { return (nil, start, 0) }
      let columns = try columns(header(&cursor))
      return (columns, cursor.position, cursor.line - 1)
    }
  }

  /// - Parameter buffer: rows behind the header, all of them whole.
  func parse(_ buffer: UnsafeMutableBufferPointer<UInt8>, columns: Columns, into records: inout ParsedRecords) throws(DataError) {
    var cursor = Cursor(buffer: buffer, position: 0)
    var row = Row(columns)
    while !cursor.isAtEnd {
      let line = cursor.line
      try read(&row, columns, &cursor)
      if row.isBlank, columns.count > 1 { continue }
      guard row.fieldCount == columns.count else {
        throw .malformedLine(
          path: path, line: line, reason: "\(row.fieldCount) field\(row.fieldCount == 1 ? "" : "s") where the header has \(columns.count)")
      }
      for slot in columns.slots.indices {
        row.text(ofSlot: slot).withUnsafeBufferPointer { records.append($0, in: buffer) }
      }
      if columns.label != nil { records.append(label: try label(row.label, line: line)) }
      if columns.unit != nil { records.append(unit: try unit(row.unit, line: line)) }
    }
  }

  /// Places of the columns that are asked for.
  struct Columns: Sendable {
    let count: Int
    let slots: [Int]
    let label: Int?
    let unit: Int?
  }

  /// What a row has in the columns that are asked for, whatever their order.
  private struct Row {
    var fieldCount = 0
    var isBlank = false
    private var texts: [[UInt8]]
    private(set) var label: [UInt8] = []
    private(set) var unit: [UInt8] = []

    init(_ columns: Columns) { texts = columns.slots.map { _ in [] } }

    func text(ofSlot slot: Int) -> [UInt8] { texts[slot] }

    mutating func take(_ field: UnsafeMutableBufferPointer<UInt8>.SubSequence, column: Int, _ columns: Columns) {
      for (slot, place) in columns.slots.enumerated() where place == column {
        texts[slot].removeAll(keepingCapacity: true)
        texts[slot].append(contentsOf: field)
      }
      if column == columns.label { label = Array(field) }
      if column == columns.unit { unit = Array(field) }
    }
  }

  private func read(_ row: inout Row, _ columns: Columns, _ cursor: inout Cursor) throws(DataError) {
    (row.fieldCount, row.isBlank) = (0, false)
    while true {
      let place = cursor.position
      let field = try field(&cursor, to: place)
      row.take(cursor.buffer[place..<place + field.length], column: row.fieldCount, columns)
      row.fieldCount += 1
      row.isBlank = row.fieldCount == 1 && field.length == 0 && !field.isQuoted
      if field.endsRow { return }
    }
  }

  private func label(_ text: [UInt8], line: Int) throws(DataError) -> Int32 {
    guard let label = fields.label, let labels = fields.labels else { preconditionFailure("a label that nobody asked for") }
    guard let index = labels.index(of: text) else {
      throw .malformedLine(path: path, line: line, reason: "column \"\(label)\" (--label-field) \(labels.allowed)")
    }
    return index
  }

  private func unit(_ name: [UInt8], line: Int) throws(DataError) -> [UInt8] {
    guard name.isEmpty, let unit = fields.unit else { return name }
    throw .malformedLine(path: path, line: line, reason: "column \"\(unit)\" (--unit) is empty: must name the record's unit")
  }

  private func columns(_ names: [[UInt8]]) throws(DataError) -> Columns {
    func place(_ field: RecordFields.Slot) throws(DataError) -> Int {
      guard let place = names.firstIndex(of: Array(field.name.utf8)) else {
        throw .missingColumn(path: path, column: field.name, option: field.option, count: names.count)
      }
      return place
    }
    var places: [Int] = []
    for field in fields.all { places.append(try place(field)) }
    try checkUnique(names)
    let (slots, rest) = (places.prefix(fields.slots.count), places.dropFirst(fields.slots.count))
    return Columns(
      count: names.count, slots: Array(slots), label: fields.label == nil ? nil : rest.first, unit: fields.unit == nil ? nil : rest.last)
  }

  /// A name that two columns have is refused; columns without a name are not asked for one. Only names that were asked for are said: a
  /// file without a header has a record in its place.
  private func checkUnique(_ columns: [[UInt8]]) throws(DataError) {
    let own = Set(fields.all.map { Array($0.name.utf8) })
    var places: [[UInt8]: Int] = [:]
    for (place, name) in columns.enumerated() where !name.isEmpty {
      guard let first = places.updateValue(place, forKey: name) else { continue }
      throw .malformedLine(
        path: path, line: 1,
        reason: "columns \(first + 1) and \(place + 1) have the same name" + (own.contains(name) ? ", \"\(String(decoding: name, as: UTF8.self))\"" : "")
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
  /// never beyond where it is read: a quoted field is shorter than it stands there.
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
