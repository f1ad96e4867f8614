import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Models of other families than GPT-2's.
  @Suite struct FamilyTests {
    private let directory: TemporaryDirectory
    private let fixture: String
    private var records: String { "\(fixture)/records.jsonl" }

    init() throws {
      directory = try TemporaryDirectory()
      fixture = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures/llama-tiny")
        .path(percentEncoded: false)
    }

    /// Within its window a Mistral computes what a Llama does.
    @Test func aSequenceMayBeAsLongAsTheWindow() throws {
      let model = "\(directory.path)/mistral"
      try FileManager.default.copyItem(atPath: "\(fixture)/model", toPath: model)
      let configuration = try String(contentsOfFile: "\(model)/config.json", encoding: .utf8)
      try FileManager.default.removeItem(atPath: "\(model)/config.json")
      try configuration.replacing(#""model_type": "llama""#, with: #""model_type": "mistral", "sliding_window": 32"#)
        .write(toFile: "\(model)/config.json", atomically: true, encoding: .utf8)
      let evaluate = { (model: String, length: String) in
        try Program.run(["evaluate", "--model", model, "--data", records, "--seq-len", length, "--json"])
      }
      let (llama, mistral) = (try evaluate("\(fixture)/model", "32"), try evaluate(model, "32"))
      try #require(llama.status == 0 && mistral.status == 0, "\(llama.standardError)\(mistral.standardError)")
      #expect(llama.standardOutput == mistral.standardOutput)
      let refused = try evaluate(model, "33")
      #expect(refused.status == 1)
      #expect(refused.standardError.contains("--seq-len 33: attention of this model looks back 32 positions (sliding_window)"))
    }

    /// A preset is trained, saved, evaluated and continues a text; the same seed gives the same text.
    @Test func aPresetOfLlamasFamilyTrainsAndGenerates() throws {
      let run = "\(directory.path)/run"
      let trained = try Program.run([
        "train", "--model", "llama-tiny", "--data", records, "--mode", "ghost", "--noise-multiplier", "0.5", "--batch-size", "4", "--steps", "3",
        "--seq-len", "48", "--seed", "1", "--threads", "1", "--no-progress", "--output", run,
      ])
      try #require(trained.status == 0, "\(trained.standardError)")
      let configuration = try String(contentsOfFile: "\(run)/model/config.json", encoding: .utf8)
      #expect(configuration.contains(#""LlamaForCausalLM""#))
      let evaluated = try Program.run(["evaluate", "--model", "\(run)/model", "--data", records, "--seq-len", "48"])
      #expect(evaluated.status == 0, "\(evaluated.standardError)")
      let generate = ["generate", "--model", "\(run)/model", "--prompt", "Can you ", "--tokens", "20", "--seed", "4"]
      let (text, again) = (try Program.run(generate), try Program.run(generate))
      #expect(text.status == 0 && text.standardOutput.hasPrefix("Can you ") && text.standardOutput == again.standardOutput)
    }
  }
}
