/// Reads a corpus: a file of records. The kind is told by the name's ending, in either case:
///
/// - `.txt`: a line a record. Lines end with LF or CR LF. A blank line is a record without text, so that the n-th line is
///   always the n-th record.
/// - `.jsonl`: a line an object, of which some fields are the record's. Lines of nothing but white space are passed over.
/// - `.csv`: RFC 4180, the first row names the columns. Quoted fields may hold separators, line ends and doubled quotes.
/// - `.tsv`: the same with tabs and without quoting: a quote is a character like others.
///
/// In `.csv` and `.tsv` a blank line is passed over, unless there is but one column: then it is a record without text.
///
/// Text is bytes: invalid UTF-8 in `.txt`, `.csv` and `.tsv` is kept as it is; JSON has to be UTF-8. A byte-order mark at
/// the beginning of a file is left out; a file in UTF-16 or UTF-32 is refused (`.txt`: where such a mark says so).
public enum RecordReader {
  public enum Format: String, CaseIterable, Sendable {
    case text = "txt"
    case jsonLines = "jsonl"
    case csv
    case tsv
  }

  /// All records of a file.
  ///
  /// - Parameter fields: the fields or columns that are read; `.txt` has none, and one text a record.
  /// - Throws: ``DataError`` that names the file and, for bad content, the line.
  public static func read(_ path: String, fields: RecordFields = RecordFields()) throws(DataError) -> RecordStore {
    do { try FileBytes.checkReadable(path) } catch { throw .unreadable(error) }
    let format = try format(of: path)
    var bytes: [UInt8]
    do { bytes = try FileBytes.read(path) } catch { throw .unreadable(error) }
    let records = try parse(&bytes, format: format, fields: fields, path: path)
    guard !records.isEmpty else { throw .noRecords(path: path) }
    return records
  }

  static func format(of path: String) throws(DataError) -> Format {
    let name = path.split(separator: "/").last ?? ""
    guard let dot = name.lastIndex(of: "."), dot != name.startIndex else { throw .unknownFormat(path: path, ending: "") }
    let ending = name[name.index(after: dot)...].lowercased()
    guard let format = Format(rawValue: ending) else { throw .unknownFormat(path: path, ending: ending) }
    return format
  }

  /// Parses in place: a record's texts are never longer than their source, so that they move to the front of the same memory.
  package static func parse(
    _ bytes: inout [UInt8], format: Format, fields: RecordFields = RecordFields(), path: String
  ) throws(DataError) -> RecordStore {
    if FileBytes.isLargeFilePointer(bytes) { throw .malformedFile(path: path, reason: FileBytes.largeFilePointerReason) }
    if let encoding = format == .text ? TextEncoding(markOf: bytes) : TextEncoding(of: bytes) {
      throw .malformedFile(path: path, reason: encoding.refusal)
    }
    if format == .text, let other = fields.all.dropFirst().first {
      throw .malformedFile(path: path, reason: "a .txt has no fields, so \(other.option) can't name one: .jsonl, .csv and .tsv have")
    }
    let lines = bytes.count { $0 == UInt8(ascii: "\n") }
    do { try MemoryRoom.check((lines + 2) * fields.slots.count * MemoryLayout<Int>.size, for: path) } catch { throw .unreadable(error) }
    var records = ParsedRecords(fields, capacity: lines + 2)
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(DataError) in
      let start = buffer.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
      switch format {
      case .text: LineRecords.parse(buffer, from: start, into: &records)
      case .jsonLines: try JSONLineRecords.parse(buffer, from: start, path: path, into: &records)
      case .csv, .tsv: try DelimitedRecords(format: format, fields: fields, path: path).parse(buffer, from: start, into: &records)
      }
    }
    bytes.removeLast(bytes.count - records.end)
    return RecordStore(
      bytes: bytes, offsets: records.offsets, shape: .init(fields), labels: records.labels, unitNames: records.unitNames)
  }
}

/// Why a corpus is refused. Lines count from 1.
public enum DataError: UserError, Equatable {
  case unreadable(FileError)
  case unknownFormat(path: String, ending: String)
  case noRecords(path: String)
  case malformedFile(path: String, reason: String)
  case malformedLine(path: String, line: Int, column: Int? = nil, reason: String)
  /// The header itself is not repeated: of a file that has none, it is a record.
  case missingColumn(path: String, column: String, option: String = "--text-field", count: Int)
  case missingResource(name: String, searched: [String])
  /// What the user or the model says of the labels that there are.
  case badLabels(what: String, reason: String)

  public var description: String {
    switch self {
    case .unreadable(let error): error.description
    case .unknownFormat(let path, let ending):
      "\(path): "
        + (ending.isEmpty ? "no ending that tells the kind of data file" : "unknown kind of data file .\(ending)") + ": must be "
        + RecordReader.Format.allCases.map { ".\($0.rawValue)" }.joined(separator: ", ")
    case .noRecords(let path): "\(path): holds no records"
    case .malformedFile(let path, let reason): "\(path): \(reason)"
    case .malformedLine(let path, let line, let column, let reason):
      "\(path), line \(line)\(column.map { ", column \($0)" } ?? ""): \(reason)"
    case .missingColumn(let path, let column, let option, let count):
      "\(path), line 1: no column \"\(column)\" (\(option)): this line must name the columns, and none of its \(count) has that name"
    case .badLabels(let what, let reason): "\(what): \(reason)"
    case .missingResource(let name, let searched):
      "\(name) is not beside the program: reinstall it with its .resources directory "
        + "(looked for \(searched.joined(separator: ", ")))"
    }
  }
}
