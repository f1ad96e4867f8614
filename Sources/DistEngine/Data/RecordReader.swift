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
/// Behind each of these endings `.gz` may stand: then the file is unpacked as it is read.
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
    let file = try RecordFile(path, fields: fields)
    let reader = try BlockReader(file)
    var stores: [RecordStore] = []
    while let block = try reader.next() { stores.append(try records(of: block, in: file)) }
    let records = RecordStore(joining: stores)
    guard !records.isEmpty else { throw .noRecords(path: path) }
    return records
  }

  /// The records of a block, with faults by the file's lines.
  static func records(of block: BlockReader.Block, in file: RecordFile) throws(DataError) -> RecordStore {
    var bytes = block.bytes
    do {
      return try file.records(of: &bytes)
    } catch { throw file.located(error, inBlockAt: block.place) }
  }

  /// The kind of a file, by its name's ending, before `.gz` where that is the last one.
  static func format(of path: String) throws(DataError) -> (format: Format, isCompressed: Bool) {
    let name = path.split(separator: "/").last ?? ""
    let isCompressed = name.lowercased().hasSuffix(".gz")
    let plain = isCompressed ? name.dropLast(3) : name
    guard let dot = plain.lastIndex(of: "."), dot != plain.startIndex else { throw .unknownFormat(path: path, ending: "") }
    let ending = plain[plain.index(after: dot)...].lowercased()
    guard let format = Format(rawValue: ending) else { throw .unknownFormat(path: path, ending: ending) }
    return (format, isCompressed)
  }

  /// The records of bytes that are in memory. A record's texts are never longer than their source, so that they move to the front of the same memory.
  package static func parse(
    _ bytes: inout [UInt8], format: Format, fields: RecordFields = RecordFields(), path: String
  ) throws(DataError) -> RecordStore {
    var head = Array(bytes.prefix(RecordFile.mostHeaderBytes))
    let file = try RecordFile(path, format: format, fields: fields, head: &head)
    bytes.removeFirst(file.start)
    do {
      return try file.records(of: &bytes)
    } catch { throw file.located(error, inBlockAt: 0) }
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
        + RecordReader.Format.allCases.map { ".\($0.rawValue)" }.joined(separator: ", ") + ", or one of these and .gz"
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
