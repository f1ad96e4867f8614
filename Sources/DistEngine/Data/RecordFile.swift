/// A file of records, with what its beginning says: whether it can be read at all, where its records begin, and what its columns are.
struct RecordFile {
  let path: String
  let format: RecordReader.Format
  let isCompressed: Bool
  let fields: RecordFields
  /// nil: its bytes are elsewhere.
  let identity: FileIdentity?
  /// Bytes before the first record: a byte-order mark, a header.
  let start: Int
  /// Line ends before it.
  let linesBefore: Int
  /// nil: records name their own fields.
  private let columns: DelimitedRecords.Columns?

  /// Bytes of text that a block has, at least, of all but the last of a file: what a rank reads at a time.
  static let blockBytes = 4 << 20
  /// Bytes of one record: more is a file that isn't what its ending says.
  static let mostRecordBytes = 256 << 20
  static let mostHeaderBytes = 1 << 20

  /// Bytes of it, as it lies there.
  var size: Int { identity?.size ?? 0 }

  /// - Throws: ``DataError`` that names the file.
  init(_ path: String, fields: RecordFields) throws(DataError) {
    do { try FileBytes.checkReadable(path) } catch { throw .unreadable(error) }
    let (format, isCompressed) = try RecordReader.format(of: path)
    var head: [UInt8]
    let identity: FileIdentity
    do {
      var stream = try ByteStream(path: path, isCompressed: isCompressed)
      identity = stream.identity
      head = try Self.head(&stream)
    } catch { throw .unreadable(error) }
    try self.init(path, format: format, isCompressed: isCompressed, fields: fields, identity: identity, head: &head)
  }

  /// - Parameter head: the file's first bytes, with the header of one that has one; what is in it afterwards doesn't matter.
  init(
    _ path: String, format: RecordReader.Format, isCompressed: Bool = false, fields: RecordFields, identity: FileIdentity? = nil, head: inout [UInt8]
  ) throws(DataError) {
    if format == .text, let other = fields.all.dropFirst().first {
      throw .malformedFile(path: path, reason: "a .txt has no fields, so \(other.option) can't name one: .jsonl, .csv and .tsv have")
    }
    (self.path, self.format, self.isCompressed, self.fields, self.identity) = (path, format, isCompressed, fields, identity)
    if FileBytes.isLargeFilePointer(head) { throw .malformedFile(path: path, reason: FileBytes.largeFilePointerReason) }
    if let encoding = format == .text ? TextEncoding(markOf: head) : TextEncoding(of: head) {
      throw .malformedFile(path: path, reason: encoding.refusal)
    }
    let mark = head.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    guard format.isTable else {
      (start, linesBefore, columns) = (mark, 0, nil)
      return
    }
    let count = head.count
    (columns, start, linesBefore) = try DelimitedRecords(format: format, fields: fields, path: path).header(&head, from: mark)
    // The header ends with its line, or the file does.
    if start == count, count == Self.mostHeaderBytes {
      throw .malformedFile(path: path, reason: "its first line, which must name the columns, has more than 1 MB")
    }
  }

  private static func head(_ stream: inout ByteStream) throws(FileError) -> [UInt8] {
    var failure: FileError?
    let head = [UInt8](unsafeUninitializedCapacity: mostHeaderBytes) { buffer, count in
      do throws(FileError) {
        count = try stream.read(into: UnsafeMutableRawBufferPointer(buffer))
      } catch { failure = error }
    }
    if let failure { throw failure }
    return head
  }

  /// The records of a block, which has whole records alone.
  ///
  /// - Throws: ``DataError`` with lines that count from the block's beginning.
  func records(of bytes: inout [UInt8]) throws(DataError) -> RecordStore {
    var lines = 0
    bytes.withUnsafeBufferPointer { lines = RecordScanner.lineEnds(in: $0) }
    var records = ParsedRecords(fields, capacity: lines + 1)
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(DataError) in
      switch format {
      case .text: LineRecords.parse(buffer, into: &records)
      case .jsonLines: try JSONLineRecords.parse(buffer, path: path, into: &records)
      case .csv, .tsv:
        guard let columns else { return }
        try DelimitedRecords(format: format, fields: fields, path: path).parse(buffer, columns: columns, into: &records)
      }
    }
    bytes.removeLast(bytes.count - records.end)
    return RecordStore(bytes: bytes, offsets: records.offsets, shape: .init(fields), labels: records.labels, unitNames: records.unitNames)
  }

  /// A fault with the line that it has in the file.
  ///
  /// - Parameter place: bytes before the block, from ``start``.
  func located(_ error: DataError, inBlockAt place: Int) -> DataError {
    guard case .malformedLine(let path, let line, let column, let reason) = error else { return error }
    let before = place == 0 ? 0 : (try? lineEnds(before: start + place)) ?? 0
    return .malformedLine(path: path, line: line + linesBefore + before, column: column, reason: reason)
  }

  /// Between ``start`` and a later place.
  private func lineEnds(before end: Int) throws(FileError) -> Int {
    var stream = try ByteStream(path: path, isCompressed: isCompressed)
    let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: ByteStream.pieceBytes, alignment: 64)
    defer { piece.deallocate() }
    var (place, lines) = (0, 0)
    while place < end {
      let count = try stream.read(into: piece)
      if count == 0 { break }
      let bytes = UnsafeBufferPointer(piece.bindMemory(to: UInt8.self))
      let from = min(count, max(0, start - place))
      lines += RecordScanner.lineEnds(in: UnsafeBufferPointer(rebasing: bytes[from..<max(from, min(count, end - place))]))
      place += count
    }
    return lines
  }
}

extension RecordReader.Format {
  var isTable: Bool { self == .csv || self == .tsv }
  /// Whether every line end ends a record, so that a file can be entered anywhere.
  var hasRecordsOfOneLine: Bool { self != .csv }
}
