import DistEngine
import Foundation
import TestSupport
import Testing

@Suite struct RecordReaderTests {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func texts(_ name: String, _ content: String, field: String = "text") throws -> [String] {
    try RecordReader.read(directory.file(name, content), textField: field).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The one line that a person sees, the directory left out.
  private func refusal(_ name: String, _ content: some Sequence<UInt8>, field: String = "text") throws -> String {
    let path = try directory.file(name, content)
    let error = try #require(throws: DataError.self) { try RecordReader.read(path, textField: field) }
    #expect(!error.description.contains("\n"))
    #expect(error.exitStatus == 1)
    return error.description.replacing("\(directory.path)/", with: "")
  }

  private func refusal(_ name: String, _ content: String, field: String = "text") throws -> String {
    try refusal(name, Array(content.utf8), field: field)
  }

  // MARK: .txt

  @Test(arguments: [
    ("one", ["one"]), ("one\n", ["one"]), ("one\ntwo", ["one", "two"]), ("one\r\ntwo\r\n", ["one", "two"]),
    ("\n", [""]), ("one\n\ntwo\n\n", ["one", "", "two", ""]), ("\r\n", [""]), (" a\tb \n", [" a\tb "]),
    ("a\rb\n", ["a\rb"]), ("\u{FEFF}one\n", ["one"]), ("é\u{2028}x\n", ["é\u{2028}x"]),
  ])
  func aLineOfTextIsARecord(content: String, expected: [String]) throws {
    #expect(try texts("a.txt", content) == expected)
    #expect(try texts("A.TXT", content) == expected)
  }

  @Test func bytesThatAreNotUTF8AreKept() throws {
    let path = try directory.file("a.txt", [0xFF, 0xFE, 0x00, 10, 0xC3, 10])
    #expect(try RecordReader.read(path).map(Array.init) == [[0xFF, 0xFE, 0x00], [0xC3]])
    let table = try directory.file("a.csv", Array("text\n".utf8) + [0xFF, 0x80, 10])
    #expect(try RecordReader.read(table).map(Array.init) == [[0xFF, 0x80]])
  }

  @Test func aLongFileKeepsEveryLine() throws {
    let lines = (0..<50_003).map { String(repeating: "x", count: $0 % 97) + "\($0)" }
    #expect(try texts("a.txt", lines.joined(separator: "\r\n")) == lines)
  }

  // MARK: .jsonl

  @Test func aFieldOfEachObjectIsARecord() throws {
    let content = """
      {"text": "one", "label": 3}
      {"label": {"text": "inner"}, "text": "tab\\tline\\nquote\\" \\u00e9 \\ud83d\\ude00"}

      {"text": ""}\r
      {"text":"é"}
      """
    #expect(try texts("a.jsonl", content) == ["one", "tab\tline\nquote\" é 😀", "", "é"])
    #expect(try texts("b.jsonl", #"{"a.b": "x"}"#, field: "a.b") == ["x"])
  }

  @Test func aBadLineOfJSONIsNamed() throws {
    let good = #"{"text": "x"}"# + "\n"
    #expect(try refusal("a.jsonl", good + #"{"body": "x"}"#) == #"a.jsonl, line 2: no field "text" (--text-field)"#)
    #expect(try refusal("a.jsonl", good, field: "body") == #"a.jsonl, line 1: no field "body" (--text-field)"#)
    #expect(try refusal("a.jsonl", good + "\n" + #"{"text": 3}"#) == #"a.jsonl, line 3: field "text" is not a string"#)
    #expect(try refusal("a.jsonl", #"{"text": null}"#) == #"a.jsonl, line 1: field "text" is not a string"#)
    #expect(try refusal("a.jsonl", #"["text"]"#) == "a.jsonl, line 1: not a JSON object")
    #expect(try refusal("a.jsonl", "3") == "a.jsonl, line 1: not a JSON object")
    #expect(try refusal("a.jsonl", Array(#"{"text": ""#.utf8) + [0xFF, 0x22, 0x7D]) == "a.jsonl, line 1: not valid UTF-8")
    for malformed in [
      #"{"text": "x""#, "text", #"{"text": "x"} {"#, #"{"text": "x"},"#, #"{'text': "x"}"#, #"{"text": "\ud800"}"#,
    ] {
      #expect(try refusal("a.jsonl", good + malformed + "\n" + good).hasPrefix("a.jsonl, line 2: malformed JSON: "))
    }
  }

  // MARK: .csv and .tsv

  @Test func aColumnOfATableIsARecord() throws {
    #expect(try texts("a.csv", "id,text\n1,one\n2,two\n") == ["one", "two"])
    #expect(try texts("a.csv", "text,id\r\none,1\r\n,2") == ["one", ""])
    #expect(try texts("a.csv", "\u{FEFF}id,\"text\"\n1,\"a, b\"\n2,\"say \"\"x\"\"\"\n3,\"\"\n") == ["a, b", "say \"x\"", ""])
    #expect(try texts("a.csv", "id,text,z\n1,\"two\nlines\r\n\",z\n\n2,5\" wide,z\n") == ["two\nlines\r\n", "5\" wide"])
    #expect(try texts("a.csv", "text\n\nx\n\"\"") == ["", "x", ""])
    #expect(try texts("a.tsv", "id\ttext\n1\t\"a, b\n2\tsay \"\"\n") == ["\"a, b", "say \"\""])
    #expect(try texts("a.tsv", "label\tsentence\n0\tx \n", field: "sentence") == ["x "])
    #expect(try texts("a.csv", "a\rb,text\n1,x\ry\n") == ["x\ry"])
  }

  @Test func aBadRowIsNamed() throws {
    #expect(try refusal("a.csv", "id,text\n1,x\n2\n") == "a.csv, line 3: 1 field where the header has 2")
    #expect(try refusal("a.csv", "id,text\n1,\"x\n\"\n2,y,z\n") == "a.csv, line 4: 3 fields where the header has 2")
    #expect(try refusal("a.csv", "id,text\n1,x\n2,\"y\n\n") == "a.csv, line 3: a quoted field that begins here has no end")
    #expect(try refusal("a.csv", "id,text\n1,\"x\" y\n") == "a.csv, line 2: text behind the closing quote of a field")
    #expect(try refusal("a.tsv", "id\ttext\n1\tx\ty\n") == "a.tsv, line 2: 3 fields where the header has 2")
    #expect(
      try refusal("a.csv", "id,body\n1,x\n")
        == #"a.csv, line 1: no column "text" (--text-field); the header has "id", "body""#)
    #expect(try refusal("a.csv", String(repeating: "long,", count: 100) + "\n").hasSuffix("…"))
  }

  // MARK: Files

  @Test func filesThatHoldNoRecordsAreRefused() throws {
    for name in ["a.txt", "a.jsonl", "a.csv", "a.tsv"] { #expect(try refusal(name, "") == "\(name): holds no records") }
    #expect(try refusal("a.jsonl", " \n\n") == "a.jsonl: holds no records")
    #expect(try refusal("a.csv", "id,text\n") == "a.csv: holds no records")
    #expect(try refusal("a.csv", "id,text\n\n\n") == "a.csv: holds no records")
    #expect(try refusal("a.txt", "\u{FEFF}") == "a.txt: holds no records")
  }

  @Test func otherKindsOfFilesAreRefused() throws {
    #expect(try refusal("a.parquet", "x") == "a.parquet: unknown kind of data file .parquet: must be .txt, .jsonl, .csv, .tsv")
    #expect(
      try refusal("corpus", "x") == "corpus: no ending that tells the kind of data file: must be .txt, .jsonl, .csv, .tsv")
    #expect(try refusal(".txt", "x").hasPrefix(".txt: no ending"))
    #expect(try refusal("a.txt.gz", "x").hasPrefix("a.txt.gz: unknown kind of data file .gz"))
  }

  @Test func filesThatCannotBeReadAreRefused() throws {
    let path = "\(directory.path)/none.txt"
    #expect(throws: DataError.unreadable(FileError(path: path, action: "read", code: ENOENT))) { try RecordReader.read(path) }
    #expect(
      FileError(path: "none.txt", action: "read", code: ENOENT).description
        == "none.txt: can't be read: No such file or directory")
    try FileManager.default.createDirectory(atPath: "\(directory.path)/d.txt", withIntermediateDirectories: true)
    let error = try #require(throws: DataError.self) { try RecordReader.read("\(directory.path)/d.txt") }
    #expect(error.description.hasSuffix("d.txt: can't be read: Is a directory"))
    // Whatever their endings.
    #expect(throws: DataError.unreadable(FileError(path: "none", action: "read", code: ENOENT))) { try RecordReader.read("none") }
    #expect(throws: DataError.unreadable(FileError(path: directory.path, action: "read", code: EISDIR))) {
      try RecordReader.read(directory.path)
    }
  }

  @Test func storesCountTheirRecords() {
    let store = RecordStore(["", "ab", "", "c"])
    #expect(store.count == 4)
    #expect(store.byteCount == 3)
    #expect(store.emptyCount == 2)
    #expect(RecordStore([String]()).isEmpty)
  }
}
