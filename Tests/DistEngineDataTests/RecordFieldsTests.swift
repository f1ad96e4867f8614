import DistEngine
import TestSupport
import Testing

/// Records of several fields, in every kind of file that has fields.
@Suite struct RecordFieldsTests {
  private func read(_ name: String, _ text: String, _ fields: RecordFields) throws -> RecordStore {
    let directory = try TemporaryDirectory()
    return try RecordReader.read(try directory.file(name, text), fields: fields)
  }

  private func refusal(_ name: String, _ text: String, _ fields: RecordFields) throws -> String {
    let error = try #require(throws: DataError.self) { _ = try read(name, text, fields) }
    #expect(!error.description.contains("\n"))
    return String(error.description.split(separator: "/").last ?? "")
  }

  private func string(_ text: ArraySlice<UInt8>?) -> String? { text.map { String(decoding: $0, as: UTF8.self) } }

  private static let completion = RecordFields(texts: ["note"], prompt: "talk")
  private static let pair = RecordFields(texts: ["a", "b"], label: "label", labels: try! LabelSet(["no", "yes"]))

  /// Whatever order the file has them in, and however the prompt's length is to the text's.
  @Test(arguments: [
    ("x.jsonl", "{\"talk\":\"t\\n1\",\"note\":\"n1\"}\n\n{\"note\":\"\",\"talk\":\"longer talk\"}\n{\"note\":\"n3\",\"talk\":\"\"}\n"),
    ("x.csv", "id,talk,note\n1,\"t\n1\",n1\n2,longer talk,\n3,,n3\n"), ("y.csv", "note,talk\nn1,\"t\n1\"\n,longer talk\n\"n3\",\n"),
  ])
  func aPromptIsReadBesideItsText(name: String, text: String) throws {
    let store = try read(name, text, Self.completion)
    #expect(store.map { string($0) } == ["n1", "", "n3"] && store.indices.map { string(store.prompt(of: $0)) } == ["t\n1", "longer talk", ""])
    #expect(store.emptyCount == 1)
  }

  @Test(arguments: [
    ("x.jsonl", "{\"label\":\"yes\",\"b\":\"B\",\"a\":\"A\"}\n{\"a\":\"C\",\"b\":\"\",\"label\":\"no\"}\n"),
    ("x.csv", "b,label,a\nB,yes,A\n,no,C\n"), ("x.tsv", "a\tb\tlabel\nA\tB\tyes\nC\t\tno\n"),
  ])
  func aPairIsReadWithItsLabel(name: String, text: String) throws {
    let store = try read(name, text, Self.pair)
    #expect(store.map { string($0) } == ["A", "C"] && store.indices.map { string(store.secondText(of: $0)) } == ["B", ""])
    #expect(store.labels == [1, 0])
  }

  /// The label of a record is private, the labels that there are aren't.
  @Test func aLabelThatIsNoneOfThePublicOnesIsRefusedByLine() throws {
    let allowed = "(--label-field) must be one of no, yes"
    #expect(
      try refusal("x.jsonl", "{\"a\":\"\",\"b\":\"\",\"label\":\"no\"}\n{\"a\":\"\",\"b\":\"\",\"label\":\"maybe\"}\n", Self.pair)
        == "x.jsonl, line 2: field \"label\" \(allowed)")
    #expect(try refusal("x.csv", "a,b,label\n,,no\n,\"\n\",yes\n,,No\n", Self.pair) == "x.csv, line 5: column \"label\" \(allowed)")
    #expect(try refusal("x.jsonl", "{\"a\":\"\",\"b\":\"\",\"label\":0}", Self.pair) == "x.jsonl, line 1: field \"label\" \(allowed)")
    #expect(try refusal("x.jsonl", "{\"a\":\"\",\"b\":\"\"}", Self.pair) == "x.jsonl, line 1: no field \"label\" (--label-field)")
    #expect(try refusal("x.jsonl", "{\"a\":\"\",\"b\":\"\",\"label\":null}", Self.pair).contains("neither a string nor an integer"))
    #expect(try refusal("x.tsv", "a\tb\n\t\n", Self.pair).contains("no column \"label\" (--label-field)"))
    #expect(try refusal("x.jsonl", "{\"a\":\"\",\"label\":\"no\"}", Self.pair) == "x.jsonl, line 1: no field \"b\" (--text-field)")
    #expect(try refusal("x.csv", "talk\nx\n", Self.completion).contains("no column \"note\" (--text-field)"))
    #expect(try refusal("x.csv", "note\nx\n", Self.completion).contains("no column \"talk\" (--prompt-field)"))
    #expect(try refusal("x.txt", "x\n", Self.completion).contains("a .txt has no fields, so --prompt-field can't name one"))
    #expect(try refusal("x.txt", "x\n", Self.pair).contains("so --text-field can't name one"))
  }

  @Test func numbersAreNamesOrAModelsOwnPlaces() throws {
    func labels(_ names: [String], isModels: Bool, _ values: [String]) throws -> [Int32]? {
      let fields = RecordFields(label: "label", labels: try LabelSet(names, isModels: isModels))
      return try? read("x.jsonl", values.map { "{\"text\":\"\",\"label\":\($0)}\n" }.joined(), fields).labels
    }
    #expect(try labels(["0", "1"], isModels: false, ["1", "\"0\"", "0.0"]) == [1, 0, 0])
    #expect(try labels(["negative", "positive"], isModels: true, ["1", "\"negative\"", "\"0\""]) == [1, 0, 0])
    #expect(try labels(["negative", "positive"], isModels: true, ["2"]) == nil)
    #expect(try labels(["negative", "positive"], isModels: true, ["-1"]) == nil)
    #expect(try labels(["negative", "positive"], isModels: false, ["1"]) == nil, "what the user names is what the data must say")
    #expect(try labels(["1", "0"], isModels: true, ["1", "0"]) == [0, 1], "names that are numbers are names")
    #expect(try labels(["false", "true"], isModels: false, ["true"]) == [1])
  }

  @Test func labelsThatCannotBeAreRefused() {
    for names in [[], ["one"], ["a", ""], ["a", "b", "a"]] {
      #expect(throws: DataError.self) { try LabelSet(names) }
      #expect(throws: DataError.self) { try LabelSet(names, isModels: true) }
    }
  }

  @Test func theBuiltinCorpusHasLabels() throws {
    let fields = RecordFields(label: "label", labels: try LabelSet(BuiltinCorpus.labels))
    let store = try BuiltinCorpus.messages(fields)
    #expect(store.labels?.count { $0 == 1 } == 747 && store.count == 5574)
    #expect(store.elementsEqual(try BuiltinCorpus.messages()))
    for other in [RecordFields(texts: ["message"]), RecordFields(prompt: "prompt"), RecordFields(unit: "unit"), RecordFields(texts: ["text", "label"])] {
      #expect(throws: DataError.self) { try BuiltinCorpus.messages(other) }
    }
  }

  @Test func filesFollowEachOther() throws {
    let directory = try TemporaryDirectory()
    let one = try directory.file("1.jsonl", "{\"talk\":\"a\",\"note\":\"b\",\"who\":\"x\"}\n{\"talk\":\"\",\"note\":\"\",\"who\":\"y\"}\n")
    let two = try directory.file("2.csv", "who,note,talk\ny,c,d\nz,e,f\n")
    var fields = Self.completion
    fields.unit = "who"
    let both = try Corpus(data: [one, two], fields: fields).training.records()
    #expect(both.map { string($0) } == ["b", "", "c", "e"] && both.indices.map { string(both.prompt(of: $0)) } == ["a", "", "d", "f"])
    #expect(both.unitNames?.units == [0, 1, 1, 2])
    let bad = try directory.file("3.csv", "note,talk,who\nx,y\n")
    let error = try #require(throws: DataError.self) { try Corpus(data: [one, bad], fields: fields).training.records() }
    #expect(error.description == "\(bad), line 2: 2 fields where the header has 3")
  }
}
