import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// What a run that goes on must not forget, or take for its own: each is refused, and nothing is touched.
  @Suite struct ForgottenTests {
    private static let noise = "--noise-multiplier 1 --accountant rdp"
    private static let tiny = "train --seq-len 16 --batch-size 4 --threads 1 --checkpoint-every 3 \(noise)"
    private static let ghost = "\(tiny) --data \(Fixture.records) --model \(Fixture.model)"

    private func expectRefusal(_ outcome: MPILauncher.Outcome, naming words: String...) {
      #expect(outcome.status == ExitStatus.refused && outcome.errorLines.count == 1, "\(outcome.status): \(outcome.standardError)")
      for word in words { #expect(outcome.errorLines.first?.contains(word) == true, "\(word): \(outcome.errorLines)") }
    }

    @Test func thatItsStartModelIsNotPrivate() throws {
      let start = try TrainingRun("--mode standard --batch-size 4 --steps 1", model: Fixture.model)
      let run = try InterruptedRun("\(Self.tiny) --data \(Fixture.records) --model \(start.model)")
      #expect(try run.start("--resume --steps 4").status == 0)
      #expect(try !run.privacy().private)
      try FileManager.default.removeItem(atPath: "\(start.model)/privacy.json")
      expectRefusal(try run.start("--resume --steps 6"), naming: "the start model's training")
      #expect(try !run.privacy().private)
    }

    @Test func whatItsUnitWas() throws {
      let directory = try TemporaryDirectory()
      let lines = (0..<12).map { "{\"text\": \"record number \($0)\", \"id\": \"\($0)\", \"name\": \"n\($0)\"}\n" }.joined()
      let run = try InterruptedRun("\(Self.tiny) --data \(try directory.file("records.jsonl", lines)) --model tiny")
      #expect(try run.start("--resume --steps 3").status == 0)
      expectRefusal(try run.start("--resume --steps 4 --unit id"), naming: "--unit is id and was none")
    }

    /// A line of the metrics is a step, and a step had its charge.
    @Test func stepsThatItsLedgerLost() throws {
      let run = try InterruptedRun(Self.ghost)
      #expect(try run.start("--resume --steps 4").status == 0)
      let earlier = try run.text("checkpoints/ledger.jsonl")
      let old = try InterruptedRun(copyOf: run)
      #expect(try run.start("--resume --steps 9").status == 0)
      // What lay in checkpoints/ some steps ago.
      try FileManager.default.removeItem(atPath: run.checkpoints)
      try FileManager.default.copyItem(atPath: old.checkpoints, toPath: run.checkpoints)
      #expect(try run.text("checkpoints/ledger.jsonl") == earlier)
      expectRefusal(try run.start("--resume --steps 12"), naming: "it has 4 charges", "9 steps")
    }

    @Test(arguments: [("run_id\":\"", "run_id\":\"0"), ("\"noise_multiplier\":1.0", "\"noise_multiplier\":9.0"), ("batch_size\":4", "batch_size\":2"), ("{", "")])
    func anothersLedgerIsNoLedger(text: String, other: String) throws {
      let run = try InterruptedRun(Self.ghost)
      #expect(try run.start("--resume --steps 4").status == 0)
      var lines = try run.lines("checkpoints/ledger.jsonl").map(String.init)
      try #require(lines[1].contains(text))
      lines[1] = lines[1].replacing(text, with: other, maxReplacements: 1)
      _ = try run.directory.file("run/checkpoints/ledger.jsonl", lines.joined(separator: "\n") + "\n")
      expectRefusal(try run.start("--resume --steps 6"), naming: "ledger.jsonl, line 2")
    }

    /// A run that failed fails again: its last checkpoint is not one of a model that computes nothing.
    @Test(arguments: [1, 4]) func thatItDiverged(steps: Int) throws {
      let run = try InterruptedRun(
        "train --mode standard --data \(Fixture.records) --model \(Fixture.model) --seq-len 16 --batch-size 20 --threads 1 --seed 1 --optimizer sgd "
          + "--learning-rate 1e30 --steps \(steps) --checkpoint-every 1")
      for _ in 0..<2 {
        let outcome = try run.start()
        #expect(outcome.status == ExitStatus.refused, "\(outcome.status): \(outcome.standardError)")
        #expect(!FileManager.default.fileExists(atPath: "\(run.path)/model"))
      }
      #expect(try run.checkpointSteps().allSatisfy { $0 < steps })
    }

    /// Parameters that aren't finite take no good checkpoint's place.
    @Test func whatWasGoodBeforeItDiverged() throws {
      let run = try InterruptedRun("\(Self.ghost.replacing("every 3", with: "every 2")) --optimizer sgd --learning-rate 1e38 --max-grad-norm 1e6 --steps 10 --keep-checkpoints 1")
      expectRefusal(try run.start(), naming: "not finite after step 1")
      #expect(try run.checkpointSteps() == [0])
      #expect(try run.privacy().steps == run.lines("checkpoints/ledger.jsonl").count)
    }

    @Test(arguments: ["model/model.safetensors", "model/privacy.json", "checkpoints/report.json"]) func aDoneRunIsWrittenAgainWhereItIsNotWhole(file: String) throws {
      let run = try InterruptedRun("\(Self.ghost) --steps 4")
      #expect(try run.start().status == 0)
      let (model, ledger) = (try run.model(), try run.text("checkpoints/ledger.jsonl"))
      if file.hasSuffix("report.json") {
        _ = try run.directory.file("run/\(file)", "{")
      } else {
        try FileManager.default.removeItem(atPath: "\(run.path)/\(file)")
      }
      let again = try run.start()
      #expect(again.status == 0, "\(again.standardError)")
      #expect(try run.model() == model)
      #expect(try run.text("checkpoints/ledger.jsonl") == ledger)
      #expect(try jsonObject(run.text("model/privacy.json"))["steps"] as? Int == 4)
      _ = try jsonObject(run.text("checkpoints/report.json"))
    }
  }
}
