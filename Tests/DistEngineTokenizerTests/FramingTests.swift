import DistEngine
import TestSupport
import Testing

/// What stands around a text: the same in training, evaluation and the beginning of what `generate` continues, whatever a file's post-processor adds.
@Suite struct FramingTests {
  private static let texts = ["Hello world", "", " two  spaces", "naïve 123", "<s> a <|endoftext|>"]

  /// A language model's tokenizer with the ids that its config.json says: GPT-2's, Llama 2's, Llama 3's, Qwen2's and SmolLM2's kinds. Those of Llama have
  /// a post-processor that adds the first, Qwen2's model has none.
  private static let decoders: [(name: String, begin: Int32?, end: Int32, addsBegin: Bool)] = [
    ("gpt2", 50256, 50256, false), ("stories260K", 1, 2, true), ("kinds/llama3", 700, 701, true), ("kinds/qwen", nil, 700, false), ("kinds/smollm", 1, 2, false),
  ]

  private func sequence(_ records: RecordStore, _ tokenizer: FileTokenizer, _ format: SequenceFormat? = nil) -> [Int32] {
    let dataset = TokenizedDataset(records, tokenizer: tokenizer, format: format, longestSequence: 1000)
    return withExtendedLifetime(dataset) { Array(dataset.ids) }
  }

  @Test(arguments: decoders) func aTextBeginsAlikeWhereverItIsRead(name: String, begin: Int32?, end: Int32, addsBegin: Bool) throws {
    let file = try TokenFixture.tokenizer(name)
    let tokenizer = file.framing(begin: begin, end: end)
    let start = [begin ?? end]
    #expect(tokenizer.addedBegin == (addsBegin ? begin : nil))
    for text in Self.texts {
      let ids = file.ids(text)
      #expect(sequence(RecordStore([text]), tokenizer) == start + ids + [end], "\(text)")
      #expect(Generation.start(of: text, by: tokenizer) == start + ids, "\(text)")
      let completion = RecordStore(completions: [(prompt: text, text: "x")])
      #expect(sequence(completion, tokenizer) == start + ids + file.ids("x") + [end], "\(text)")
      // The post-processor's are for classifiers and `tokenize --special-tokens`; where it has one, it is the one that training has.
      #expect(file.classified(text).ids == (addsBegin ? start : []) + ids, "\(text)")
      if !ids.isEmpty || addsBegin { #expect(sequence(RecordStore([text]), tokenizer, .classification) == file.classified(text).ids, "\(text)") }
    }
  }

  /// A post-processor that isn't asked, and would have begun texts otherwise, is worth a line.
  @Test func anotherBeginOfTheTokenizersIsSaid() throws {
    let own = "\(TokenFixture.folder)/../stories260K/model"
    #expect(try ModelSource.resolve(own).notes.allSatisfy { !$0.contains("in front of a text") })
    let directory = try TemporaryDirectory()
    for name in ["tokenizer.json", "model.safetensors"] { _ = try directory.file(name, FileBytes.read("\(own)/\(name)")) }
    let configuration = try String(decoding: FileBytes.read("\(own)/config.json"), as: UTF8.self)
    _ = try directory.file("config.json", configuration.replacing("\"bos_token_id\": 1", with: "\"bos_token_id\": null"))
    let source = try ModelSource.resolve(directory.path)
    #expect(source.tokenizer.startOfText == 2)
    #expect(source.notes.contains { $0.contains("puts token 1 in front of a text; records and prompts begin with 2") }, "\(source.notes)")
  }

  @Test(arguments: ["minilm", "wordpiece", "bytebpe"]) func anEncodersTextsStandBetweenItsPostProcessorsTokens(name: String) throws {
    let tokenizer = try TokenFixture.tokenizer(name)
    for line in try TokenFixture.lines(name).prefix(40) {
      #expect(sequence(RecordStore([line.text]), tokenizer, .classification) == line.withSpecial, "\(line.text.debugDescription)")
    }
  }
}
