import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Classifiers from training to `classify`, on any number of ranks.
  @Suite struct ClassificationTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures").path(percentEncoded: false)

    /// Words of two kinds, which a model can tell apart by one of them.
    private func records(_ directory: TemporaryDirectory, count: Int = 120) throws -> String {
      let lines = (0..<count).map { record in
        let isGood = record * 7 % 3 == 0
        return "{\"note\": \"\(isGood ? "zzz" : "aaa") \(String(repeating: "word ", count: 1 + record % 4))\(record)\", \"kind\": \"\(isGood ? "good" : "bad")\"}\n"
      }
      return try directory.file("notes.jsonl", lines.joined())
    }

    private static let options =
      "--label-field kind --labels bad,good --text-field note --batch-size 20 --seq-len 40 --seed 3 --learning-rate 3e-3 --steps 40"

    private func json(_ arguments: [String], ranks: Int?) throws -> [String: Any] {
      let outcome = try Program.run(arguments, ranks: ranks)
      try #require(outcome.status == 0, "\(outcome.standardError)")
      return try jsonObject(outcome.standardOutput)
    }

    @Test(arguments: ["bert-tiny", "tiny"]) func aClassifierFromTrainingToClassify(model: String) throws {
      let directory = try TemporaryDirectory()
      let data = try records(directory)
      let heldOut = try TemporaryDirectory()
      let evaluation = try records(heldOut, count: 90)
      let run = try TrainingRun(Self.options, "--mode standard", more: ["--eval-data", evaluation], model: model, data: data)
      let report = try jsonObject(run.outcome.standardOutput)
      #expect(report["eval_accuracy"] as? Double == 1)
      let description = try run.object("run.json")
      #expect(description["labels"] as? [String] == ["bad", "good"] && description["label_field"] as? String == "kind")
      let configuration = try jsonObject(String(contentsOfFile: "\(run.model)/config.json", encoding: .utf8))
      #expect(configuration["id2label"] as? [String: String] == ["0": "bad", "1": "good"])
      #expect(configuration["label2id"] as? [String: Int] == ["bad": 0, "good": 1])
      #expect(configuration["problem_type"] as? String == "single_label_classification")
      #expect(
        configuration["architectures"] as? [String] == [model == "tiny" ? "GPT2ForSequenceClassification" : "BertForSequenceClassification"])

      let reading = ["--model", run.model, "--data", data, "--text-field", "note"]
      for ranks in [nil, 3] as [Int?] {
        let evaluation = try json(["evaluate"] + reading + ["--label-field", "kind", "--json"], ranks: ranks)
        #expect(evaluation["accuracy"] as? Double == 1 && evaluation["macro_f1"] as? Double == 1 && evaluation["perplexity"] == nil)
        let labels = try #require(evaluation["labels"] as? [String: [String: Any]])
        #expect(labels["good"]?["records"] as? Int == 40 && labels["bad"]?["records"] as? Int == 80 && labels["good"]?["correct"] as? Int == 40)
        let file = "\(directory.path)/classified-\(ranks ?? 1).jsonl"
        let outcome = try Program.run(["classify"] + reading + ["--output", file], ranks: ranks)
        try #require(outcome.status == 0, "\(outcome.standardError)")
        let lines = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 120)
        for (record, line) in lines.enumerated() {
          let object = try jsonObject(String(line))
          let probabilities = try #require(object["probabilities"] as? [String: Double])
          #expect(object["label"] as? String == (record * 7 % 3 == 0 ? "good" : "bad"))
          #expect(abs(probabilities.values.reduce(0, +) - 1) < 1e-5 && Set(probabilities.keys) == ["bad", "good"])
        }
      }
      let one = try String(contentsOfFile: "\(directory.path)/classified-1.jsonl", encoding: .utf8)
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).allSatisfy { !$0.contains("partial") })
      #expect(one.hasSuffix("}}\n"))
    }

    /// Batches, noise and result are the same on any number of ranks, in any sharding, in both private modes.
    @Test func privateRunsAreTheSameOnAnyNumberOfRanks() throws {
      let directory = try TemporaryDirectory()
      let data = try records(directory)
      let options = "\(Self.options.replacing("--steps 40", with: "--steps 3")) --noise-multiplier 0.5 --accountant rdp"
      let first = try TrainingRun(options, model: "bert-tiny", data: data)
      for (extra, ranks) in [("--shard node", 2), ("--shard optimizer --microbatch 4", 3), ("--mode hooks --shard none --recompute blocks", 2)] as [(String, Int)] {
        let other = try TrainingRun(options, extra, model: "bert-tiny", data: data, ranks: ranks)
        #expect(try other.metrics().map(\.examples) == first.metrics().map(\.examples), "\(extra)")
        let (own, reference) = (try other.report().parametersL2, try first.report().parametersL2)
        #expect(abs(own - reference) < 1e-4 * reference, "\(extra)")
      }
    }

    /// A base without a classifier, or for other labels, gets a fresh one, and that is said; what belongs to other heads is left aside.
    @Test func aBaseGetsAFreshClassifierAndItIsSaid() throws {
      let directory = try TemporaryDirectory()
      let data = try records(directory)
      let base = "\(Self.folder)/distilbert-tiny/model"
      let run = try TrainingRun(
        Self.options.replacing("--steps 40", with: "--steps 1"), "--noise-multiplier 1 --accountant rdp", model: base, data: data, ranks: 2)
      #expect(run.outcome.standardError.contains("no classifier for 2 labels: classifier.bias, classifier.weight are new"))
      #expect(try run.tensors().tensors["classifier.weight"]?.shape == [2, 32])
      #expect(FileManager.default.fileExists(atPath: "\(run.model)/tokenizer.json"))
    }

    @Test func whatCannotBeClassifiedIsRefused() throws {
      let directory = try TemporaryDirectory()
      let data = try records(directory)
      let classifier = "\(Self.folder)/distilbert-tiny/model"
      // Its configuration is looked at first: it needs no weights.
      let encoder = "\(directory.path)/encoder"
      try FileManager.default.createDirectory(atPath: encoder, withIntermediateDirectories: false)
      _ = try directory.file(
        "encoder/config.json", String(contentsOfFile: "\(classifier)/config.json", encoding: .utf8).replacing("ForSequenceClassification", with: "Model"))
      let cases: [(arguments: [String], status: Int32, culprits: [String])] = [
        (["train", "--model", "bert-tiny", "--mode", "standard"], 1, ["bert-tiny", "encoder", "--label-field"]),
        (["train", "--model", classifier, "--mode", "standard", "--data", data], 1, [classifier, "encoder", "--label-field"]),
        (["train", "--model", "tiny", "--mode", "standard", "--data", data, "--text-field", "note", "--label-field", "kind"], 1, ["--labels"]),
        (
          ["train", "--model", "tiny", "--mode", "standard", "--data", data, "--text-field", "note", "--label-field", "kind", "--labels", "bad,ugly"], 1,
          ["line 1", "bad, ugly"]
        ),
        (["evaluate", "--model", Fixture.model, "--data", data, "--text-field", "note", "--label-field", "kind"], 1, ["no classifier"]),
        (
          ["evaluate", "--model", classifier, "--data", data, "--text-field", "note", "--label-field", "kind", "--labels", "bad,good"], 1,
          ["--labels", "card_arrival"]
        ),
        (["evaluate", "--model", classifier, "--data", data, "--text-field", "note"], 1, ["--label-field"]),
        (["classify", "--model", Fixture.model, "--data", data, "--text-field", "note", "--output", "\(directory.path)/o"], 1, ["no classifier"]),
        (["classify", "--model", "bert-tiny", "--data", data, "--text-field", "note", "--output", "\(directory.path)/o"], 1, ["bert-tiny"]),
        (["classify", "--model", classifier, "--data", data, "--text-field", "note", "--output", "\(directory.path)/no/o"], 1, ["no/o"]),
        (["generate", "--model", classifier], 1, [classifier, "is a classifier", "language model", "classify"]),
        (["generate", "--model", "\(Self.folder)/gpt2-tiny-labels/model"], 1, ["gpt2-tiny-labels/model is a classifier", "language model", "classify"]),
        (["generate", "--model", "\(Self.folder)/llama-tiny-labels/model"], 1, ["llama-tiny-labels/model is a classifier", "language model"]),
        (["generate", "--model", encoder], 1, ["\(encoder) is an encoder", "language model"]),
      ]
      let runs = cases.flatMap { refusal in (refusal.arguments[0] == "generate" ? [1] : [1, 2]).map { (refusal, $0) } }
      let outcomes = try runs.map { refusal, ranks in try Program.run(refusal.arguments, ranks: ranks, timeout: .seconds(60)) }
      for ((refusal, ranks), outcome) in zip(runs, outcomes) {
        let what = "\(ranks) ranks: \(refusal.arguments.joined(separator: " "))\n\(outcome.standardError)"
        #expect(outcome.status == refusal.status, "\(what)")
        #expect(outcome.errorLines.count == 1, "\(what)")
        for culprit in refusal.culprits { #expect(outcome.errorLines.first?.contains(culprit) == true, "\(culprit) isn't named: \(what)") }
        #expect(outcome.standardOutput == "" && !outcome.timedOut, "\(what)")
      }
      #expect(!FileManager.default.fileExists(atPath: "\(directory.path)/o"))
    }

    @Test func inspectGivesTheReferencesOnAnyNumberOfRanks() throws {
      let reference = "\(Self.folder)/bert-tiny-units"
      let expected = try TensorFile("\(reference)/expected.safetensors")
      let directory = try TemporaryDirectory()
      let file = "\(directory.path)/inspected.safetensors"
      for (mode, ranks, microbatch) in [("ghost", 1, 4), ("ghost", 2, 1), ("ghost", 3, 16), ("hooks", 2, 4)] {
        let outcome = try Program.run(
          [
            "inspect", "--mode", mode, "--model", "\(reference)/model", "--data", "\(reference)/records.jsonl", "--text-field", "text,second",
            "--label-field", "label", "--unit", "author", "--seq-len", "40", "--max-grad-norm", "6.3", "--microbatch", "\(microbatch)", "--out", file,
          ], ranks: ranks == 1 ? nil : ranks)
        try #require(outcome.status == 0, "\(outcome.standardError)")
        let found = try TensorFile(file)
        #expect(found.names == expected.names)
        for name in ["losses", "norms", "clip_factors"] {
          let mismatch = Mismatch.between(found[name], expected[name], relative: 1e-5, absolute: 0, of: name)
          #expect(mismatch == nil, "\(mode) \(ranks): \(mismatch?.description ?? "")")
        }
        let sum = expected.names.filter { !["losses", "norms", "clip_factors"].contains($0) }
        #expect(relativeDistance(found.elements(of: sum), expected.elements(of: sum)) < 1e-5, "\(mode) \(ranks)")
      }
    }
  }
}
