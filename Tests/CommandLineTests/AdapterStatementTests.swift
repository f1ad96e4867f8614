import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// What an adapter says of itself and of the model beside it, and that nothing of it is lost on the way.
  @Suite struct AdapterStatementTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures")
      .path(percentEncoded: false)
    private static let noise = "--batch-size 6 --steps 2 --noise-multiplier 1 --accountant rdp --seq-len 16"
    private static let lora = "\(noise) --trainable lora --lora-rank 2"

    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// A model, or an adapter, as it is passed on: without the directory of the run that made it.
    private func released(_ path: String, _ name: String) throws -> String {
      try FileManager.default.copyItem(atPath: path, toPath: "\(directory.path)/\(name)")
      return "\(directory.path)/\(name)"
    }

    /// Records of which the fixture has none.
    private func otherRecords() throws -> String {
      let lines = try String(contentsOfFile: Fixture.records, encoding: .utf8).split(separator: "\n")
      return try directory.file("other.txt", Array(lines.map { "not \($0)\n" }.joined().utf8))
    }

    private func edit(_ part: String, _ change: (inout [String: Any]) -> Void) throws {
      let path = "\(part)/privacy.json"
      var fields = try jsonObject(String(contentsOfFile: path, encoding: .utf8))
      change(&fields)
      try JSONSerialization.data(withJSONObject: fields).write(to: URL(filePath: path))
    }

    private func statement(_ part: String) throws -> [String: Any] { try jsonObject(String(contentsOfFile: "\(part)/privacy.json", encoding: .utf8)) }

    private func merge(_ model: String, _ adapter: String) throws -> (outcome: MPILauncher.Outcome, path: String) {
      let path = "\(directory.path)/merged-\(UUID())"
      return (try Program.run(["merge", "--model", model, "--adapter", adapter, "--output", path]), path)
    }

    private func refusedMerge(_ model: String, _ adapter: String) throws -> String {
      let (outcome, path) = try merge(model, adapter)
      #expect(outcome.status == ExitStatus.refused && outcome.errorLines.count == 1, "\(outcome.standardError)")
      #expect(!FileManager.default.fileExists(atPath: path))
      return outcome.errorLines.first ?? ""
    }

    /// A copy of a model with another bit in its weights.
    private func otherModel(_ model: String) throws -> String {
      let path = try released(model, "other-\(UUID())")
      var bytes = try Data(contentsOf: URL(filePath: "\(path)/model.safetensors"))
      bytes[bytes.count - 4] ^= 1
      try bytes.write(to: URL(filePath: "\(path)/model.safetensors"))
      return path
    }

    @Test func itSaysWhatWasTrained() throws {
      let run = try TrainingRun(
        Self.lora.replacing("--batch-size 6", with: "--batch-size 2"), more: ["--lora-targets", "h.0.attn.c_attn,mlp.c_fc", "--lora-freeze-a", "--unit", "author"], model: "\(Self.folder)/gpt2-tiny-units/model",
        data: "\(Self.folder)/gpt2-tiny-units/records.jsonl")
      let adapter = "\(run.path)/adapter"
      let said = try statement(adapter)
      #expect(try statement(run.path) as NSDictionary == said as NSDictionary)
      #expect(said["trainable"] as? String == "lora")
      let targets = ["transformer.h.0.attn.c_attn", "transformer.h.0.mlp.c_fc", "transformer.h.1.mlp.c_fc"]
      let own: [String: Any] = ["rank": 2, "alpha": 4, "targets": targets, "rank_stabilized": false, "freezes_a": true, "modules_to_save": [String]()]
      #expect(said["adapter"] as? NSDictionary == own as NSDictionary)
      #expect((said["scope"] as? String)?.contains("rank 2") == true)
      let card = try String(contentsOfFile: "\(adapter)/README.md", encoding: .utf8)
      let warnings = try #require(said["warnings"] as? [String])
      let words = ["all records of the same author", "add-or-remove-one", "poisson", "rdp", "rank 2", "B alone", "base_model: \"model\""]
      for word in words + targets + warnings { #expect(card.contains(word), "\(word)") }
      // Where the operator's files lie is in nothing that is for release.
      for name in try FileManager.default.contentsOfDirectory(atPath: adapter) {
        let text = String(decoding: try Data(contentsOf: URL(filePath: "\(adapter)/\(name)")), as: UTF8.self)
        for path in [Self.folder, run.directory.path] { #expect(!text.contains(path), "\(name)") }
      }
      #expect(try run.object("adapter/adapter_config.json")["base_model_name_or_path"] as? String == "model")
      let whole = try TrainingRun(Self.noise, model: Fixture.model)
      let all = try statement(whole.path)
      #expect(all["trainable"] as? String == "all" && all["scope"] as? String == "all parameters of the model" && all["adapter"] == nil)
    }

    /// An adapter's run may take for granted that its model is public; whoever trains on goes by what the model says itself.
    @Test func theModelsOwnStatementIsNotTheAdapters() throws {
      let exposed = try TrainingRun("--mode standard --batch-size 6 --seq-len 16", model: Fixture.model)
      let base = try released(exposed.model, "base")
      let first = try TrainingRun("\(Self.lora) --base-is-public", model: base, data: otherRecords())
      #expect(try first.privacy().private)
      let further = try TrainingRun(Self.noise, more: ["--adapter", "\(first.path)/adapter"], model: base)
      #expect(try !further.privacy().private, "the model's training is unknown data's, without privacy")
      // Both statements are kept, each under its own name.
      let start = try #require(statement("\(further.path)/adapter")["start_model"] as? [String: Any])
      #expect((start["statement"] as? [String: Any])?["private"] as? Bool == false)
      #expect((start["adapter_statement"] as? [String: Any])?["private"] as? Bool == true)
      #expect(start["adapter_sha256"] as? String != nil)
      // Each that is missing is said to be.
      let adapter = try released("\(first.path)/adapter", "unsaid")
      try FileManager.default.removeItem(atPath: "\(adapter)/privacy.json")
      let unsaid = try TrainingRun(Self.noise, more: ["--adapter", adapter], model: Fixture.model).privacy().warnings
      #expect(unsaid.contains { $0.hasPrefix("the start model's own training") && $0.contains("no privacy.json") }, "\(unsaid)")
      #expect(unsaid.contains { $0.hasPrefix("the adapter that training started with's own") && $0.contains("no privacy.json") }, "\(unsaid)")
    }

    /// That the model is public says nothing of an adapter that was trained on these very records.
    @Test func aPublicModelIsNotAPublicAdapter() throws {
      let first = try TrainingRun("\(Self.lora) --base-is-public", model: Fixture.model)
      let further = { (adapter: String) in
        try TrainingRun("\(Self.noise) --base-is-public", more: ["--adapter", adapter], model: Fixture.model)
      }
      // The same steps on the same records, once and twice; also where nothing but the adapter was passed on.
      for adapter in ["\(first.path)/adapter", try released("\(first.path)/adapter", "passed-on")] {
        let second = try further(adapter)
        let (one, two) = (try statement(first.path), try statement(second.path))
        #expect(two["private"] as? Bool == true && (two["spent"] as? [Any])?.count == 1, "\(two)")
        #expect(try #require(two["epsilon"] as? Double) > 1.2 * #require(one["epsilon"] as? Double))
        #expect((two["warnings"] as? [String])?.contains { $0.contains("epsilon includes what that spent") } == true)
        let history = try #require(two["history"] as? [[String: Any]])
        #expect(history.count == 1 && history[0]["assumed_public"] as? Bool != true, "\(history)")
      }
      let exposed = try TrainingRun("--mode standard --batch-size 6 --steps 2 --seq-len 16 --trainable lora --lora-rank 2 --base-is-public", model: Fixture.model)
      #expect(try !further("\(exposed.path)/adapter").privacy().private)
      // What such an adapter has spent must be said.
      let silent = try released("\(first.path)/adapter", "silent")
      try edit(silent) { $0["steps"] = nil }
      let refused = try Program.run(
        ["train", "--model", Fixture.model, "--adapter", silent, "--data", Fixture.records, "--base-is-public", "--output", "\(directory.path)/none"]
          + Self.noise.split(separator: " ").map(String.init))
      #expect(refused.status == ExitStatus.refused && refused.errorLines.first?.contains("--spent") == true, "\(refused.standardError)")
      try FileManager.default.removeItem(atPath: "\(silent)/privacy.json")
      #expect(try further(silent).privacy().warnings.contains { $0.hasPrefix("the adapter that training started with's own") })
    }

    /// What isn't private doesn't become so by being added up.
    @Test func aMergedModelIsNoMorePrivateThanItsParts() throws {
      let exposed = try TrainingRun("--mode standard --batch-size 6 --seq-len 16", model: Fixture.model)
      let base = try released(exposed.model, "base")
      let run = try TrainingRun("\(Self.lora) --base-is-public", model: base, data: otherRecords())
      let merged = try merge(base, "\(run.path)/adapter")
      #expect(merged.outcome.status == 0, "\(merged.outcome.standardError)")
      let said = try statement(merged.path)
      #expect(said["private"] as? Bool == false && said["epsilon"] as? String == "inf")
      #expect((said["warnings"] as? [String])?.contains { $0.contains("NOT private") } == true)
      let history = try #require(said["history"] as? [[String: Any]])
      #expect(history.count == 1 && history[0]["private"] as? Bool == false && history[0]["assumed_public"] as? Bool != true, "\(history)")
      // Nor where the model comes without the statement that it had when the adapter was trained.
      let bare = try released(base, "bare")
      try FileManager.default.removeItem(atPath: "\(bare)/privacy.json")
      #expect(try statement(merge(bare, "\(run.path)/adapter").path)["private"] as? Bool == false)
      #expect(try !TrainingRun(Self.noise, model: merged.path).privacy().private)

      // Of two private parts what both spent is known.
      let spending = try TrainingRun(Self.noise, model: Fixture.model)
      let second = try TrainingRun(Self.lora, model: spending.model)
      let both = try merge(spending.model, "\(second.path)/adapter")
      let own = try statement(both.path)
      let epsilon = try statement(second.path)["epsilon"] as? Double
      #expect(own["private"] as? Bool == true && epsilon != nil && own["epsilon"] as? Double == epsilon)
      #expect((own["history"] as? [[String: Any]])?.count == 1)
      // A statement that the adapter's run didn't know.
      try edit(spending.model) { $0["run_id"] = "another" }
      #expect(try statement(merge(spending.model, "\(second.path)/adapter").path)["private"] as? Bool == false)
    }

    @Test func mergingIsRefusedWhereItCannotBeRight() throws {
      let run = try TrainingRun(Self.lora, model: Fixture.model)
      let adapter = "\(run.path)/adapter"
      let other = try otherModel(Fixture.model)
      #expect(try refusedMerge(other, adapter).contains("SHA-256"))
      let there = try Program.run(["merge", "--model", Fixture.model, "--adapter", adapter, "--output", adapter])
      #expect(there.status == ExitStatus.refused && there.errorLines.first?.contains("is there already") == true)
      // The model says something, and the adapter nothing, or not of which model.
      try Data("{\"private\": false}".utf8).write(to: URL(filePath: "\(other)/privacy.json"))
      #expect(try refusedMerge(other, "\(Self.folder)/gpt2-tiny-lora/adapter").contains("privacy.json"))
      let nameless = try released(adapter, "nameless")
      try edit(nameless) { $0["start_model"] = nil }
      #expect(try refusedMerge(other, nameless).contains("names no model"))
      #expect(try merge(Fixture.model, nameless).outcome.status == 0)
      for text in ["{", "{\"private\": \"no\"}", "[]", "{\"private\": true, \"private\": false}"] {
        let damaged = try released(adapter, "damaged-\(UUID())")
        try Data(text.utf8).write(to: URL(filePath: "\(damaged)/privacy.json"))
        #expect(try refusedMerge(Fixture.model, damaged).contains("is no statement of privacy"), "\(text)")
      }
    }

    /// Whoever reads an adapter beside another model than its own is told so.
    @Test func anotherModelIsRefusedByEveryCommand() throws {
      let run = try TrainingRun(Self.lora, model: Fixture.model)
      let classifier = "\(Self.folder)/bert-tiny-lora"
      let labelled = try TrainingRun(
        "\(Self.lora) --label-field label", model: "\(classifier)/model", data: "\(classifier)/records.jsonl")
      let (other, otherClassifier) = (try otherModel(Fixture.model), try otherModel("\(classifier)/model"))
      func commands(_ adapter: String) -> [[String]] {
        let records = ["--data", Fixture.records, "--seq-len", "16"]
        return [
          ["evaluate", "--model", other, "--adapter", adapter] + records,
          ["inspect", "--model", other, "--adapter", adapter, "--out", "\(directory.path)/out"] + records,
          ["generate", "--model", other, "--adapter", adapter, "--prompt", "a", "--tokens", "2"],
        ]
      }
      let labels = { (adapter: String) in
        ["classify", "--model", otherClassifier, "--adapter", adapter, "--data", "\(classifier)/records.jsonl", "--output", "\(directory.path)/labels-\(UUID())"]
      }
      for arguments in commands("\(run.path)/adapter") + [labels("\(labelled.path)/adapter")] {
        let outcome = try Program.run(arguments, ranks: arguments[0] == "evaluate" ? 2 : nil)
        #expect(outcome.status == ExitStatus.refused && outcome.errorLines.count == 1, "\(arguments[0]): \(outcome.standardError)")
        for word in ["SHA-256", "\(arguments[2])"] { #expect(outcome.errorLines.first?.contains(word) == true, "\(arguments[0]): \(outcome.errorLines)") }
      }
      // Nothing says which model: a note.
      for arguments in commands("\(Self.folder)/gpt2-tiny-lora/adapter") + [labels("\(classifier)/adapter")] {
        let outcome = try Program.run(arguments)
        #expect(outcome.status == 0, "\(arguments[0]): \(outcome.standardError)")
        #expect(outcome.standardError.contains("isn't checked"), "\(arguments[0]): \(outcome.standardError)")
      }
    }
  }
}
