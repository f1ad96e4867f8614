import Crypto
import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// A model directory's own tokenizer, from reading it to writing it beside what is trained.
  @Suite struct TokenizerFileTests {
    private static let tokens = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/tokens").path(percentEncoded: false)

    /// Byte-level tokens without a merge: byte b is id b, and 256 is <|endoftext|>. What `bytes` is, as a file.
    private static func bytesAsFile() throws -> String {
      var vocabulary: [String: Int] = ["<|endoftext|>": 256]
      var next: UInt32 = 256
      for byte in UInt32(0)..<256 {
        let isPrintable = (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || byte >= 0xAE
        let scalar = isPrintable ? byte : next
        if !isPrintable { next += 1 }
        vocabulary[String(Character(Unicode.Scalar(scalar)!))] = Int(byte)
      }
      let level: [String: Any] = ["type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true]
      let file: [String: Any] = [
        "version": "1.0", "model": ["type": "BPE", "vocab": vocabulary, "merges": [String]()] as [String: Any], "pre_tokenizer": level,
        "decoder": level,
      ]
      return String(decoding: try JSONSerialization.data(withJSONObject: file), as: UTF8.self)
    }

    private func model(in directory: TemporaryDirectory, _ files: [String: String]) throws -> String {
      let path = "\(directory.path)/model"
      try FileManager.default.copyItem(atPath: Fixture.model, toPath: path)
      for (name, content) in files { _ = try directory.file("model/\(name)", content) }
      return path
    }

    private func loss(_ options: [String]) throws -> Double {
      let outcome = try Program.run(["evaluate", "--json", "--data", Fixture.records] + options)
      #expect(outcome.status == 0, "\(outcome.standardError)")
      let result = try JSONSerialization.jsonObject(with: Data(outcome.standardOutput.utf8)) as? [String: Any]
      return try #require(result?["loss"] as? Double)
    }

    @Test func aModelsOwnTokenizerIsUsedAndWrittenBesideWhatIsTrained() throws {
      let directory = try TemporaryDirectory()
      let (tokenizer, settings) = (try Self.bytesAsFile(), #"{"model_max_length": 96}"#)
      let model = try model(in: directory, ["tokenizer.json": tokenizer, "tokenizer_config.json": settings])
      let bytes = try loss(["--model", Fixture.model])
      #expect(try loss(["--model", model]) == bytes && loss(["--model", model, "--tokenizer", "bytes"]) == bytes)
      #expect(try loss(["--model", Fixture.model, "--tokenizer", model]) == bytes)

      let run = "\(directory.path)/run"
      let trained = try Program.run([
        "train", "--mode", "standard", "--model", model, "--data", Fixture.records, "--batch-size", "4", "--steps", "1", "--seed", "1", "--output",
        run,
      ])
      #expect(trained.status == 0, "\(trained.standardError)")
      let written = try FileBytes.read("\(run)/model/tokenizer.json")
      #expect(written == Array(tokenizer.utf8))
      #expect(try String(contentsOfFile: "\(run)/model/tokenizer_config.json", encoding: .utf8) == settings)
      let description = try String(contentsOfFile: "\(run)/run.json", encoding: .utf8)
      let digest = SHA256.hash(data: written).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
      #expect(description.contains(digest) && description.contains("\(model)/tokenizer.json"))
      #expect(try loss(["--model", "\(run)/model"]) == loss(["--model", "\(run)/model", "--tokenizer", "bytes"]))
      let generated = try Program.run(["generate", "--model", "\(run)/model", "--prompt", "Dear", "--tokens", "8", "--seed", "1"])
      #expect(generated.status == 0 && generated.standardOutput.hasPrefix("Dear"), "\(generated.standardError)")
    }

    @Test func tokenizersThatCannotBeAreRefused() throws {
      let directory = try TemporaryDirectory()
      let unsupported = try model(in: directory, ["tokenizer.json": #"{"model":{"type":"Unigram","vocab":[]}}"#])
      func refusal(_ options: [String], _ said: [String]) throws {
        let outcome = try Program.run(["evaluate", "--data", Fixture.records] + options)
        #expect(outcome.status == ExitStatus.refused && outcome.errorLines.count == 1, "\(outcome.standardError)")
        for text in said { #expect(outcome.standardError.contains(text), "\(outcome.standardError)") }
      }
      try refusal(["--model", unsupported], ["\(unsupported)/tokenizer.json", "model.type \"Unigram\""])
      #expect(try loss(["--model", unsupported, "--tokenizer", "bytes"]) == loss(["--model", Fixture.model]))
      try refusal(["--model", Fixture.model, "--tokenizer", "\(Self.tokens)/gpt2.json"], ["50257", "257"])
      try refusal(["--model", Fixture.model, "--tokenizer", "\(directory.path)/none"], ["\(directory.path)/none"])
      let other = try TemporaryDirectory()
      let configuration = try String(contentsOfFile: "\(Fixture.model)/config.json", encoding: .utf8)
      let nameless = try model(in: other, ["config.json": configuration.replacing("\"eos_token_id\": 256", with: "\"eos_token_id\": 7")])
      try refusal(["--model", nameless], [nameless, "holds no tokenizer.json", "--tokenizer"])
    }

    @Test func tokenizePrintsIdsALine() throws {
      let directory = try TemporaryDirectory()
      let records = try directory.file("records.jsonl", #"{"a":"Hello world","b":"x"}"# + "\n" + #"{"a":"","b":"y z"}"# + "\n")
      func lines(_ options: [String]) throws -> [String] {
        let outcome = try Program.run(["tokenize", "--data", records] + options)
        #expect(outcome.status == 0, "\(outcome.standardError)")
        return outcome.standardOutput.split(separator: "\n").map(String.init)
      }
      #expect(try lines(["--tokenizer", "\(Self.tokens)/gpt2.json", "--text-field", "a"]) == [#"{"ids":[15496,995]}"#, #"{"ids":[]}"#])
      #expect(try lines(["--tokenizer", "bytes", "--text-field", "b", "--special-tokens"]) == [#"{"ids":[256,120,256]}"#, #"{"ids":[256,121,32,122,256]}"#])
      #expect(
        try lines(["--tokenizer", "\(Self.tokens)/minilm.json", "--text-field", "a,b", "--special-tokens"])
          == [#"{"ids":[101,7592,2088,102,1060,102]}"#, #"{"ids":[101,102,1061,1062,102]}"#])
      let pair = try Program.run(["tokenize", "--data", records, "--tokenizer", "bytes", "--text-field", "a,b"])
      #expect(pair.status == ExitStatus.usage && pair.standardError.contains("--special-tokens"))
    }
  }
}
