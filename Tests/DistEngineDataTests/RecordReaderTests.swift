import DistEngine
import Foundation
import TestSupport
import Testing

@Suite struct RecordReaderTests {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func texts(_ name: String, _ content: String, field: String = "text") throws -> [String] {
    try RecordReader.read(directory.file(name, content), fields: RecordFields(texts: [field])).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The one line that a person sees, the directory left out.
  private func refusal(_ name: String, _ content: some Sequence<UInt8>, field: String = "text") throws -> String {
    let path = try directory.file(name, content)
    let error = try #require(throws: DataError.self) { try RecordReader.read(path, fields: RecordFields(texts: [field])) }
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
    let path = try directory.file("a.txt", [0xFE, 0xFE, 0x00, 10, 0xC3, 10])
    #expect(try RecordReader.read(path).map(Array.init) == [[0xFE, 0xFE, 0x00], [0xC3]])
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
    #expect(
      try refusal("a.jsonl", Array(#"{"text": ""#.utf8) + [0xFF, 0x22, 0x7D])
        == "a.jsonl, line 1, column 11: malformed JSON: not valid UTF-8")
    for malformed in [
      #"{"text": "x""#, "text", #"{"text": "x"} {"#, #"{"text": "x"},"#, #"{'text': "x"}"#, #"{"text": "\ud800"}"#,
    ] {
      #expect(
        try refusal("a.jsonl", good + malformed + "\n" + good).contains(#/^a\.jsonl, line 2, column [0-9]+: malformed JSON: /#))
    }
  }

  @Test func aFieldThatComesTwiceIsRefused() throws {
    #expect(
      try refusal("a.jsonl", #"{"text": "x"}"# + "\n" + #"{"text": "é", "a": 1, "text": "y"}"#)
        == #"a.jsonl, line 2, column 23: field "text" stands here a second time"#)
    #expect(
      try refusal("a.jsonl", #"{"text": "x", "b": {"Smith": 1, "Smi\u0074h": 2}}"#)
        == "a.jsonl, line 1, column 33: a field stands here a second time")
  }

  @Test func nestingWithoutEndIsRefused() throws {
    for open in ["[", "{\"a\":"] {
      let nested = String(repeating: open, count: 100_000)
      #expect(try refusal("a.jsonl", nested).contains("more than 128 arrays and objects within each other"))
      #expect(try refusal("a.jsonl", #"{"text": "x", "a": "# + nested).contains("more than 128"))
    }
    let deep = String(repeating: "[", count: 120) + String(repeating: "]", count: 120)
    #expect(try texts("a.jsonl", #"{"text": "x", "a": \#(deep)}"#) == ["x"])
  }

  @Test(arguments: [
    "01", "1.", "-", "+1", ".5", "1e", "0x1", "nan", "1e999", "\"a\u{9}b\"", "\"\\x\"", "\"\\u12\"", "\"\\udc00\"",
    "\"\\ud800\\u0041\"",
    "[1,]", "{\"a\":1,}", "{a:1}", "tru", "[1 2]", "/**/1", "\u{FEFF}1",
  ])
  func whatIsNotJSONIsRefused(value: String) throws {
    #expect(try refusal("a.jsonl", #"{"text": "x", "a": "# + value + "}").contains("malformed JSON"))
  }

  // MARK: Encodings

  /// With and without a mark in front; also text that is mostly not ASCII, which grows when it is read as UTF-16 and written as UTF-8.
  @Test(
    arguments: [
      (String.Encoding.utf16LittleEndian, "UTF-16 (little-endian)", [0xFF, 0xFE]),
      (.utf16BigEndian, "UTF-16 (big-endian)", [0xFE, 0xFF]),
      (.utf32LittleEndian, "UTF-32 (little-endian)", [0xFF, 0xFE, 0, 0]),
      (.utf32BigEndian, "UTF-32 (big-endian)", [0, 0, 0xFE, 0xFF]),
    ] as [(String.Encoding, String, [UInt8])])
  func otherEncodingsAreNamed(encoding: String.Encoding, name: String, mark: [UInt8]) throws {
    let words = String(repeating: "漢字", count: 2000)
    for (file, content) in [
      ("a.jsonl", "{\"text\": \"\(words)\"}\n"), ("b.jsonl", "{\"text\": \"words\"}\n"), ("a.csv", "id,text\n1,\(words)\n"),
      ("a.tsv", "text\nx\n"),
      ("a.txt", words + "\n"),
    ] {
      let bytes = Array(content.data(using: encoding)!)
      let expected = "\(file): the text is in \(name): must be UTF-8 (iconv -t UTF-8 converts)"
      #expect(try refusal(file, mark + bytes) == expected)
      if file != "a.txt" { #expect(try refusal(file, bytes) == expected) }
    }
  }

  // MARK: .csv and .tsv

  @Test func aColumnThatComesTwiceIsRefused() throws {
    #expect(
      try refusal("a.csv", "text,id,\"text\"\nx,1,y\n")
        == #"a.csv, line 1: columns 1 and 3 have the same name, "text": names must differ"#)
    #expect(
      try refusal("a.tsv", "text\tid\tid\nx\t1\ty\n") == "a.tsv, line 1: columns 2 and 3 have the same name: names must differ")
    #expect(try texts("a.csv", ",text,\n1,x,2\n") == ["x"], "columns without a name")
  }

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
        == #"a.csv, line 1: no column "text" (--text-field): this line must name the columns, and none of its 2 has that name"#)
    // A file without a header has a record in its place: nothing of it is said.
    #expect(try !refusal("a.csv", "Smith,3 May,cancer\nMiller,4 May,flu\n").contains("Smith"))
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
    #expect(try refusal("a.parquet", "x") == "a.parquet: unknown kind of data file .parquet: must be .txt, .jsonl, .csv, .tsv, or one of these and .gz")
    #expect(
      try refusal("corpus", "x") == "corpus: no ending that tells the kind of data file: must be .txt, .jsonl, .csv, .tsv, or one of these and .gz")
    #expect(try refusal(".txt", "x").hasPrefix(".txt: no ending"))
    #expect(try refusal("a.gz", "x").hasPrefix("a.gz: no ending"))
    #expect(try refusal("a.parquet.gz", "x").hasPrefix("a.parquet.gz: unknown kind of data file .parquet"))
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
    let pipe = "\(directory.path)/pipe.txt"
    try #require(mkfifo(pipe, 0o600) == 0)
    for (name, kind) in [(pipe, "a pipe"), ("/dev/zero", "a device")] {
      let refused = try #require(throws: DataError.self) { try RecordReader.read(name) }
      #expect(refused.description == "\(name): can't be read: \(kind), not a regular file: write its content to a file first")
    }
    // One line of more than any machine has, and no room on the disk.
    let huge = try directory.file("huge.txt", "")
    try #require(truncate(huge, 1 << 42) == 0)
    let large = try #require(throws: DataError.self) { try RecordReader.read(huge) }
    #expect(large.description == "\(huge): can't be read: it holds a record of more than 256 MB")
    // Whatever their endings.
    #expect(throws: DataError.unreadable(FileError(path: "none", action: "read", code: ENOENT))) { try RecordReader.read("none") }
    #expect(throws: DataError.unreadable(FileError(path: directory.path, action: "read", code: EISDIR))) {
      try RecordReader.read(directory.path)
    }
  }

  @Test func aPointerOfGitLFSIsNamed() throws {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    #expect(try refusal("a.txt", pointer) == "a.txt: a Git LFS pointer, not the file itself: git lfs pull fetches it")
  }

  @Test func whatIsCutOrEmptyIsSaid() {
    let store = RecordStore(["", "ab", "abcdef", "abcd", "abc"])
    let dataset = TokenizedDataset(store, tokenizer: ByteTokenizer(), longestSequence: 4)
    #expect((dataset.statistics.cutRecords, dataset.statistics.cutRows) == (2, 4))
    #expect(
      dataset.notes("training") == [
        "2 of 5 training records are longer than 4 targets and are cut: 4 of 20 targets are left out",
        "1 of 5 training records are empty: they count as records and hold nothing but the end of text",
      ])
    #expect(TokenizedDataset(store, tokenizer: ByteTokenizer(), longestSequence: 7).notes("x").count == 1)
  }

  @Test func storesCountTheirRecords() {
    let store = RecordStore(["", "ab", "", "c"])
    #expect(store.count == 4)
    #expect(store.byteCount == 3)
    #expect(store.emptyCount == 2)
    #expect(RecordStore([String]()).isEmpty)
  }
}

@Suite struct UnitFieldTests {
  private func read(_ name: String, _ text: String) throws -> RecordStore {
    let directory = try TemporaryDirectory()
    return try RecordReader.read(try directory.file(name, text), fields: RecordFields(unit: "who"))
  }

  private func names(_ store: RecordStore) -> [String] {
    store.unitNames!.units.map { String(decoding: store.unitNames!.names[$0], as: UTF8.self) }
  }

  @Test func namesAreComparedAsText() throws {
    let lines = #"{"text":"a","who":"1"}"# + "\n" + #"{"who":1,"text":"b"}"# + "\n" + #"{"text":"c","who":"01"}"# + "\n"
    let store = try read("a.jsonl", lines)
    #expect(names(store) == ["1", "1", "01"] && UnitIndex(store.unitNames!).count == 2)
    let table = try read("a.csv", "who,text,who else\n1,a,x\n\"1\",b,y\n 1,c,z\n")
    #expect(names(table) == ["1", "1", " 1"] && table.map { Array($0) } == [[97], [98], [99]])
    #expect(names(try read("a.tsv", "text\twho\na\tann\nb\tbo\nc\tann\n")) == ["ann", "bo", "ann"])
  }

  @Test(arguments: [
    (#"{"text":"a"}"#, "no field \"who\""), (#"{"text":"a","who":null}"#, "neither a string nor an integer"),
    (#"{"text":"a","who":""}"#, "is empty"), (#"{"text":"a","who":1.5}"#, "neither a string nor an integer"),
    (#"{"text":"a","who":true}"#, "neither"), (#"{"text":"a","who":["b"]}"#, "neither"), (#"{"text":"a","who":"b","who":"c"}"#, "a second time"),
  ])
  func recordsOfNobodyAreRefusedByLine(line: String, reason: String) throws {
    let good = #"{"text":"a","who":"b"}"# + "\n"
    let error = try #require(throws: DataError.self) { try read("a.jsonl", good + line + "\n") }
    #expect(error.description.contains(", line 2") && error.description.contains(reason), "\(error)")
  }

  @Test func tablesAndTextsWithoutNamesAreRefused() throws {
    #expect(try #require(throws: DataError.self) { try read("a.csv", "text,who\na,b\nc,\n") }.description.contains(", line 3"))
    #expect(try #require(throws: DataError.self) { try read("a.csv", "text,other\na,b\n") }.description.contains("--unit"))
    #expect(try #require(throws: DataError.self) { try read("a.txt", "text\n") }.description.contains("--unit"))
  }
}

