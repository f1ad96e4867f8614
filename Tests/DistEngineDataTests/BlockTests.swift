import DistEngine
import Foundation
import TestSupport
import Testing

/// Files in blocks: what several ranks read side by side is what one reads.
@Suite struct BlockTests {
  private let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Blocks by their numbers, from parts that each read their own.
  private func blocks(_ path: String, _ fields: RecordFields, parts: Int, blockBytes: Int) throws -> [Int: [[UInt8]]] {
    var found: [Int: [[UInt8]]] = [:]
    for part in 0..<parts {
      let source = try RecordSource(path, fields: fields)
      var blocks = try source.blocks(part: part, of: parts, firstPart: 1, blockBytes: blockBytes)
      while let records = try blocks.next() {
        #expect((blocks.index + 1) % parts == part && found[blocks.index] == nil)
        found[blocks.index] = records.map { Array($0) }
      }
    }
    return found
  }

  private func text(_ format: RecordReader.Format, _ random: inout TestRandom) -> String {
    let ends = ["\n", "\r\n"]
    func word() -> String { String((0..<Int.random(in: 0...30, using: &random)).map { _ in "abc é\"".randomElement(using: &random)! }) }
    func quoted() -> String {
      Bool.random(using: &random) ? "\"" + word().replacing("\"", with: "\"\"") + ["", "\n", ",\r\n"].randomElement(using: &random)! + "\"" : word().replacing("\"", with: "x\"")
    }
    let end = ends.randomElement(using: &random)!
    let lines = (0..<Int.random(in: 1...40, using: &random)).map { _ -> String in
      switch format {
      case .text: word()
      case .jsonLines: "{\"text\": \"" + word().replacing("\"", with: "\\\"") + "\"}"
      case .csv: quoted() + "," + quoted()
      case .tsv: word() + "\t" + word()
      }
    }
    let header = format == .csv ? "\"te\nxt\",text" + end : format == .tsv ? "x\ttext" + end : ""
    return (Bool.random(using: &random) ? "\u{FEFF}" : "") + header + lines.joined(separator: end) + (Bool.random(using: &random) ? end : "")
  }

  @Test(arguments: RecordReader.Format.allCases) func blocksOfAnySizeHoldEveryRecordOnce(format: RecordReader.Format) throws {
    var random = TestRandom(seed: 3)
    for trial in 0..<60 {
      let text = text(format, &random)
      var bytes = Array(text.utf8)
      let expected = (try RecordReader.parse(&bytes, format: format, path: "whole")).map { Array($0) }
      let plain = try directory.file("\(trial).\(format.rawValue)", text)
      let packed = try directory.gzipped(text, as: "\(trial).\(format.rawValue).gz", members: trial % 3 + 1)
      for (parts, blockBytes) in [(1, 1), (2, 7), (3, 64), (4, 4 << 20), (7, 33)] {
        let found = try blocks(plain, RecordFields(), parts: parts, blockBytes: blockBytes)
        #expect(found.sorted { $0.key < $1.key }.flatMap(\.value) == expected, "\(trial), \(parts) parts of \(blockBytes) bytes")
        let unpacked = try blocks(packed, RecordFields(), parts: parts, blockBytes: blockBytes)
        #expect(unpacked.sorted { $0.key < $1.key }.flatMap(\.value) == expected, "\(trial), packed, \(parts) parts of \(blockBytes) bytes")
      }
      if !expected.isEmpty { #expect(try RecordReader.read(packed).map { Array($0) } == expected) }
    }
  }

  /// Faults have the lines of the file, whoever finds them.
  @Test func faultsAreNamedByTheFilesLines() throws {
    let lines = (1...200).map { $0 == 150 ? "{\"text\": 3}" : "{\"text\": \"\(String(repeating: "x", count: $0))\"}" }.joined(separator: "\n")
    let rows = "a,text\n" + (2...200).map { $0 == 151 ? "1" : "\"x\n\",\($0)" }.joined(separator: "\n")
    for (name, text, line) in [("l.jsonl", lines, 150), ("r.csv", rows, 300)] {
      for path in [try directory.file(name, text), try directory.gzipped(text, as: "\(name).gz")] {
        for parts in [1, 3] {
          var errors: [String] = []
          for part in 0..<parts {
            var blocks = try RecordSource(path, fields: RecordFields()).blocks(part: part, of: parts, blockBytes: 50)
            do { while try blocks.next() != nil {} } catch { errors.append(error.description) }
          }
          #expect(errors.count == 1 && errors[0].hasPrefix("\(path), line \(line): "), "\(errors)")
        }
      }
    }
  }

  @Test func whatIsNotWholeIsRefusedByName() throws {
    let text = String(repeating: "a line of text\n", count: 5000)
    let whole = try Data(contentsOf: URL(filePath: try directory.gzipped(text, as: "a.txt.gz")))
    func refusal(_ bytes: some Sequence<UInt8>) throws -> String {
      let path = try directory.file("b.txt.gz", bytes)
      let error = try #require(throws: DataError.self) { _ = try RecordReader.read(path) }
      return error.description.replacing("\(directory.path)/", with: "")
    }
    for count in [1, 2, 9, 10, 18, 100, whole.count - 9, whole.count - 1] {
      let expected = count < 2 ? "it ends in .gz and is no gzip file" : "its gzip data end too early: the file is cut off"
      #expect(try refusal(whole.prefix(count)) == "b.txt.gz: can't be read: \(expected)", "\(count) bytes")
    }
    #expect(try refusal([]) == "b.txt.gz: can't be read: it ends in .gz and is no gzip file")
    #expect(try refusal(Array(text.utf8)) == "b.txt.gz: can't be read: it ends in .gz and is no gzip file")
    for place in [3, 60, whole.count / 2, whole.count - 6, whole.count - 2] {
      var damaged = whole
      damaged[place] ^= 0x55
      // Damage within may hide where the data end.
      let isWithin = place > 10 && place < whole.count - 8
      let found = try refusal(damaged)
      #expect(
        found == "b.txt.gz: can't be read: its gzip data are damaged"
          || isWithin && found == "b.txt.gz: can't be read: its gzip data end too early: the file is cut off", "byte \(place): \(found)")
    }
    for garbage in [[1, 2, 3], [0, 0, 1]] as [[UInt8]] {
      #expect(try refusal(whole + garbage) == "b.txt.gz: can't be read: its gzip data are damaged")
    }
    // A tape's last block is filled up with zeros.
    let padded = try directory.file("c.txt.gz", whole + [UInt8](repeating: 0, count: 3 << 20))
    #expect(try RecordReader.read(padded).count == 5000)
    #expect(try #require(throws: DataError.self) { _ = try RecordReader.read(try directory.gzipped("", as: "d.txt.gz")) }.description.hasSuffix("holds no records"))
  }

  /// A few MB that unpack to gigabytes: a record is never larger than is said, whatever its file unpacks to.
  @Test func aRecordThatHasNoEndIsRefused() throws {
    let text = String(repeating: "x", count: 1 << 20)
    let path = try directory.gzipped(text, as: "bomb.txt.gz", members: 300)
    let error = try #require(throws: DataError.self) { _ = try RecordReader.read(path) }
    #expect(error.description == "\(path): can't be read: it holds a record of more than 256 MB")
    let open = try directory.gzipped("text\n\"" + text, as: "open.csv.gz", members: 1, then: text, members: 300)
    let unclosed = try #require(throws: DataError.self) { _ = try RecordReader.read(open) }
    #expect(unclosed.description == "\(open): can't be read: it holds a record of more than 256 MB; a quoted field may lack its end")
  }

  /// What one process loads is what tokenising the records at once gives, whatever the blocks.
  @Test func loadingGivesTheSequencesOfTheRecords() throws {
    var random = TestRandom(seed: 9)
    for trial in 0..<20 {
      let lines = (0..<Int.random(in: 1...50, using: &random)).map { record in
        let text = String(repeating: "\(record)", count: Int.random(in: 0...20, using: &random))
        return "{\"talk\":\"\(text)\",\"note\":\"\(record)\",\"who\":\(record % 7)}"
      }
      let fields = RecordFields(texts: ["note"], prompt: "talk", unit: "who")
      let cut = lines.count / 2
      let paths = [
        try directory.file("\(trial)a.jsonl", lines.prefix(cut + 1).joined(separator: "\n")),
        try directory.gzipped(lines.dropFirst(cut + 1).joined(separator: "\n") + "\n\(lines[0])\n", as: "\(trial)b.jsonl.gz"),
      ]
      let whole = try directory.file("\(trial).jsonl", (lines + [lines[0]]).joined(separator: "\n"))
      let records = try RecordReader.read(whole, fields: fields)
      let expected = TokenizedDataset(records, tokenizer: ByteTokenizer(), longestSequence: 12)
      for blockBytes in [1, 100, 4 << 20] {
        for files in [[whole], paths] {
          let loader = SequenceLoader(
            tokenizer: ByteTokenizer(), format: .language(begin: 256, end: 256), longestSequence: 12, fields: fields, ranks: nil, blockBytes: blockBytes)
          let (dataset, hashes) = try loader.load(files.map { try RecordSource($0, fields: fields) }, hashesRecords: true)
          #expect(try dataset.digest() == expected.digest() && dataset.statistics == expected.statistics)
          #expect(hashes == RecordHashes(records) && dataset.unitCount == expected.unitCount)
        }
      }
    }
  }
}

extension TemporaryDirectory {
  /// A file of gzip's members, each of which has a part of the text.
  func gzipped(_ text: String, as name: String, members: Int = 1, then more: String? = nil, members moreMembers: Int = 0) throws -> String {
    let bytes = Array(text.utf8)
    var packed: [UInt8] = []
    if more == nil && members > 4 {
      let member = try gzip(bytes)
      for _ in 0..<members { packed += member }
    } else {
      for member in 0..<members { packed += try gzip(Array(bytes[bytes.count * member / members..<bytes.count * (member + 1) / members])) }
    }
    if let more {
      let member = try gzip(Array(more.utf8))
      for _ in 0..<moreMembers { packed += member }
    }
    return try file(name, packed)
  }

  private func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["gzip", "-c"]
    let (input, output) = (try file("gzip-input", bytes), Pipe())
    process.standardInput = try FileHandle(forReadingFrom: URL(filePath: input))
    process.standardOutput = output
    try process.run()
    let packed = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return Array(packed)
  }
}
