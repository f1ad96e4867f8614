import DistEngine
import Foundation
import Testing

/// What isn't read here is refused by the name of its field and its value, never approximated.
@Suite struct TokenizerRefusalTests {
  /// A file that is read, of which a test changes one thing.
  private static let parts = [
    "normalizer": #"{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}"#,
    "pre_tokenizer": #"{"type":"Digits","individual_digits":true}"#,
    "post_processor": #"{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"#
      + #""pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":1}}],"#
      + #""special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}}"#,
    "decoder": #"{"type":"Sequence","decoders":[{"type":"ByteFallback"},{"type":"Fuse"}]}"#,
    "model": #"{"type":"BPE","unk_token":"<s>","vocab":{"<s>":0,"a":1,"b":2,"ab":3},"merges":["a b"]}"#,
    "added_tokens":
      #"[{"id":0,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}]"#,
  ]

  private func parse(_ changes: [String: String], without key: String? = nil) throws -> FileTokenizer {
    let fields = Self.parts.merging(changes) { $1 }.filter { $0.key != key }
    let json = "{" + fields.map { "\"\($0)\":\($1)" }.joined(separator: ",") + "}"
    return try TokenizerFile.parse(Array(json.utf8), path: "t.json")
  }

  /// - Parameter said: what the line must say beside the file's name.
  private func expectRefusal(_ key: String, _ value: String, _ said: [String]) {
    do {
      _ = try parse([key: value])
      Issue.record("\(key) \(value) is accepted")
    } catch {
      let line = "\(error)"
      #expect(error is TokenizerError && line.hasPrefix("t.json: ") && !line.contains("\n"))
      for text in said { #expect(line.contains(text), "\(line)") }
    }
  }

  @Test func whatIsWholeIsRead() throws {
    let tokenizer = try parse([:])
    #expect(tokenizer.ids("ab") == [3] && tokenizer.classified("ab").ids == [0, 3] && tokenizer.vocabularySize == 4)
    #expect(try parse([:], without: "decoder").decode([1, 2]) == Array("a b".utf8))
    for key in ["normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"] { _ = try parse([:], without: key) }
    #expect(throws: TokenizerError.missing(path: "t.json", field: "model")) { try parse([:], without: "model") }
  }

  @Test(arguments: [
    (#"{"type":"Precompiled","precompiled_charsmap":""}"#, "Precompiled"), (#"{"type":"Nmt"}"#, "Nmt"), (#"{"type":"ByteLevel"}"#, "ByteLevel"),
    (#"{"type":"Replace","pattern":{"Regex":"a+"},"content":"b"}"#, "pattern.Regex"),
    (#"{"type":"Replace","pattern":{"String":""},"content":"b"}"#, "pattern.String"),
    (#"{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"NFX"}]}"#, #"normalizers[1].type "NFX""#),
    (#"{"type":"Replace","pattern":{"String":"a"},"content":"\#(String(repeating: "b", count: 100))"}"#, "64 times"),
    (#"{"type":"Prepend"}"#, "prepend is missing"), (#"{"type":"BertNormalizer","clean_text":1}"#, "clean_text is 1"), ("[]", "an object"),
  ])
  func normalizers(value: String, said: String) { expectRefusal("normalizer", value, ["normalizer", said]) }

  @Test(arguments: [
    (#"{"type":"UnicodeScripts"}"#, "UnicodeScripts"), (#"{"type":"Delimiter","delimiter":"a"}"#, "Delimiter"),
    (#"{"type":"FixedLength","length":3}"#, "FixedLength"),
    (#"{"type":"Split","pattern":{"Regex":"\\d+"},"behavior":"Isolated","invert":false}"#, #"pattern.Regex "\d+""#),
    (#"{"type":"Split","pattern":{"String":"a"},"behavior":"isolated","invert":false}"#, #"behavior "isolated""#),
    (#"{"type":"Metaspace","replacement":"ab","prepend_scheme":"always"}"#, #"replacement "ab""#),
    (#"{"type":"Metaspace","replacement":"_","prepend_scheme":"last"}"#, #"prepend_scheme "last""#),
    (#"{"type":"Metaspace","replacement":"_","add_prefix_space":false}"#, "add_prefix_space"),
    (#"{"type":"Metaspace","replacement":"_","prepend_scheme":"first"}"#, "first"),
    (
      #"{"type":"Sequence","pretokenizers":[{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true},{"type":"Whitespace"}]}"#,
      "ByteLevel must be the last"
    ),
    (#"{"type":"Sequence","pretokenizers":[\#(Array(repeating: #"{"type":"Whitespace"}"#, count: 65).joined(separator: ","))]}"#, "64 steps"),
  ])
  func preTokenizers(value: String, said: String) { expectRefusal("pre_tokenizer", value, ["pre_tokenizer", said]) }

  @Test(arguments: [
    (#"{"type":"Unigram","vocab":[]}"#, "Unigram"), (#"{"type":"WordLevel","vocab":{}}"#, "WordLevel"), (#"{"vocab":{"a":1}}"#, "model.type"),
    (#"{"type":"BPE","dropout":0.1,"vocab":{},"merges":[]}"#, "dropout 0.1"),
    (#"{"type":"BPE","continuing_subword_prefix":"@@","vocab":{},"merges":[]}"#, "continuing_subword_prefix"),
    (#"{"type":"BPE","end_of_word_suffix":"</w>","vocab":{},"merges":[]}"#, "end_of_word_suffix"),
    (#"{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b"]}"#, "merges[0]"),
    (#"{"type":"BPE","vocab":{"a":0,"b":1},"merges":["a b c"]}"#, "merges[0]"), (#"{"type":"BPE","vocab":{"a":0},"merges":[1]}"#, "merges[0]"),
    (#"{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}"#, #"vocab["b"] has the id 0"#),
    (#"{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}"#, #"vocab["a"] stands there twice"#),
    (#"{"type":"BPE","vocab":{"a":-1},"merges":[]}"#, "id -1"), (#"{"type":"BPE","vocab":{"a":99999999},"merges":[]}"#, "id 99999999"),
    (#"{"type":"BPE","vocab":{"a":"b"},"merges":[]}"#, #"vocab["a"] is "b""#), (#"{"type":"BPE","vocab":[],"merges":[]}"#, "vocab is […]"),
    (#"{"type":"BPE","unk_token":"?","vocab":{"a":0},"merges":[]}"#, "unk_token"),
    (#"{"type":"WordPiece","unk_token":"?","continuing_subword_prefix":"","max_input_chars_per_word":9,"vocab":{"a":0}}"#, "unk_token"),
    (
      #"{"type":"WordPiece","unk_token":"a","continuing_subword_prefix":"","max_input_chars_per_word":99999,"vocab":{"a":0}}"#,
      "max_input_chars_per_word 99999"
    ),
  ])
  func models(value: String, said: String) { expectRefusal("model", value, ["model", said]) }

  @Test(arguments: [
    (#"{"type":"Other"}"#, "Other"), (#"{"type":"BertProcessing","sep":["a",1],"cls":["a"]}"#, "cls"),
    (#"{"type":"BertProcessing","sep":["a",-1],"cls":["a",1]}"#, "sep"),
    (#"{"type":"TemplateProcessing","single":[],"pair":[],"special_tokens":{}}"#, "Sequence A"),
    (
      #"{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x","type_id":0}}],"pair":[],"special_tokens":{}}"#, "special_tokens.x is missing"
    ),
    (
      #"{"type":"Sequence","processors":[{"type":"BertProcessing","sep":["a",1],"cls":["a",1]},{"type":"BertProcessing","sep":["a",1],"cls":["a",1]}]}"#,
      "second"
    ),
  ])
  func postProcessors(value: String, said: String) { expectRefusal("post_processor", value, ["post_processor", said]) }

  @Test(arguments: [
    (#"{"type":"CTC","pad_token":"a","word_delimiter_token":"b","cleanup":true}"#, "CTC"), (#"{"type":"BPEDecoder","suffix":""}"#, "suffix"),
    (#"{"type":"Strip","content":"ab","start":1,"stop":0}"#, "content"), (#"{"type":"Strip","content":"a","start":-1,"stop":0}"#, "start"),
    (#"{"type":"Replace","pattern":{"Regex":"a"},"content":"b"}"#, "pattern.Regex"),
  ])
  func decoders(value: String, said: String) { expectRefusal("decoder", value, ["decoder", said]) }

  @Test func addedTokens() {
    func token(_ id: Int, _ content: String) -> String {
      #"{"id":\#(id),"content":"\#(content)","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}"#
    }
    expectRefusal("added_tokens", "[\(token(1, "<s>"))]", ["added_tokens[0].id is 1", "gives this token 0"])
    expectRefusal("added_tokens", "[\(token(4, "x")),\(token(6, "y"))]", ["added_tokens[1].id is 6", "gives this token 5"])
    expectRefusal("added_tokens", "[\(token(4, String(repeating: "x", count: 513)))]", ["added_tokens[0].content has 513 bytes"])
    expectRefusal("added_tokens", #"[{"id":4,"content":"x"}]"#, ["added_tokens[0].single_word is missing"])
    expectRefusal("added_tokens", "[1]", ["added_tokens[0] is 1"])
  }

  @Test func filesThatAreNone() throws {
    for (text, said) in [("", "empty"), ("{", "ends here"), ("[]", "an object"), ("{}", "model is missing"), (#"{"version":"2.0"}"#, "version")] {
      do {
        _ = try TokenizerFile.parse(Array(text.utf8), path: "t.json")
        Issue.record("\(text) is accepted")
      } catch { #expect(error.description.contains(said), "\(error)") }
    }
    #expect(throws: FileError.self) { try TokenizerFile.read("/nowhere/tokenizer.json") }
  }
}
