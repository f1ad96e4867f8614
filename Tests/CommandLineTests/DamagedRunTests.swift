import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// What lies in a run's directory is not always whole when it goes on.
  @Suite struct DamagedRunTests {
    private static let ghost =
      "train --data \(Fixture.records) --model \(Fixture.model) --seq-len 16 --batch-size 4 --threads 1 --steps 40 --checkpoint-every 3 --keep-checkpoints 3 "
      + "--noise-multiplier 1 --accountant rdp --seed 1"

    /// A run stopped behind its seventh step or later, with some checkpoints.
    private static func stopped(_ options: String = ghost) throws -> InterruptedRun {
      let run = try InterruptedRun(options)
      let outcome = try run.start(ranks: 2, afterSteps: 7, do: "kill -USR1 $job")
      try #require(outcome.status == ExitStatus.checkpointed, "\(outcome.status) \(outcome.standardError)")
      try #require(try run.checkpointSteps().count >= 2)
      return run
    }

    private static func change(_ path: String, _ body: (inout Data) -> Void) throws {
      var data = try Data(contentsOf: URL(filePath: path))
      body(&data)
      try data.write(to: URL(filePath: path))
    }

    @Test func aDamagedCheckpointIsNamedAndTheOneBeforeTaken() throws {
      let run = try Self.stopped()
      let steps = try run.checkpointSteps()
      let newest = steps[steps.count - 1]
      let count = try run.files(ofStep: newest).count
      #expect(count == 3, "two slices and a manifest")
      let whole = try InterruptedRun(copyOf: run)
      #expect(try whole.start(ranks: 2).status == 0)
      for file in 0..<count {
        for kind in 0..<4 {
          let copy = try InterruptedRun(copyOf: run)
          let path = try copy.files(ofStep: newest)[file]
          switch kind {
          case 0: try FileManager.default.removeItem(atPath: path)
          case 1: try Self.change(path) { $0.removeLast() }
          case 2: try Self.change(path) { $0[$0.count / 3] ^= 0x10 }
          default: try Self.change(path) { $0.append(0) }
          }
          let outcome = try copy.start(ranks: 2)
          #expect(outcome.status == 0, "\(file) \(kind): \(outcome.standardError)")
          let warning = outcome.standardError.split(separator: "\n").first { $0.contains("the checkpoint is damaged") }
          #expect(warning?.contains("step-\(newest)/") == true, "\(file) \(kind): \(outcome.standardError)")
          #expect(try copy.model() == whole.model(), "with its seed the run draws again what it drew")
          #expect(try copy.lines("checkpoints/ledger.jsonl").count > 40)
        }
      }
    }

    @Test func withNoWholeCheckpointItIsRefused() throws {
      let run = try Self.stopped()
      for step in try run.checkpointSteps() { try Self.change(run.files(ofStep: step)[0]) { $0[9] ^= 1 } }
      let outcome = try run.start(ranks: 2)
      #expect(outcome.status == ExitStatus.refused && outcome.errorLines.count == 1, "\(outcome.standardError)")
      #expect(outcome.errorLines.first?.contains("no checkpoint is whole") == true)
    }

    @Test func chargesWithoutACheckpointAreRefused() throws {
      let run = try Self.stopped()
      for step in try run.checkpointSteps() { try FileManager.default.removeItem(atPath: "\(run.checkpoints)/step-\(step)") }
      let outcome = try run.start()
      #expect(outcome.status == ExitStatus.refused && outcome.errorLines.first?.contains("without any checkpoint") == true, "\(outcome.standardError)")
    }

    @Test func aLedgerThatLostChargesIsRefused() throws {
      let run = try Self.stopped()
      let lines = try run.lines("checkpoints/ledger.jsonl")
      _ = try run.directory.file("run/checkpoints/ledger.jsonl", lines.dropLast().joined(separator: "\n") + "\n")
      let outcome = try run.start()
      #expect(outcome.status == ExitStatus.refused && outcome.errorLines.first?.contains("ledger.jsonl") == true, "\(outcome.standardError)")
    }

    @Test func tornLastLines() throws {
      let run = try Self.stopped()
      let charges = try run.lines("checkpoints/ledger.jsonl").count
      try Self.change("\(run.path)/checkpoints/ledger.jsonl") { $0.append(contentsOf: Array("{\"step\":7,\"expec".utf8)) }
      try Self.change("\(run.path)/metrics.jsonl") { $0.append(contentsOf: Array("{\"step\":7,\"loss\":1.".utf8)) }
      let step = try #require(run.checkpointSteps().last)
      #expect(try run.start(ranks: 2).status == 0)
      #expect(try run.lines("checkpoints/ledger.jsonl").count == charges + 1 + 40 - step, "a torn charge counts")
      #expect(try run.privacy().steps == charges + 1 + 40 - step)
      for name in ["metrics.jsonl", "checkpoints/ledger.jsonl"] {
        for line in try run.lines(name) { _ = try jsonObject(String(line)) }
      }
    }

    /// Before the first checkpoint is whole nothing was charged: what lies there makes way.
    @Test func aStartThatWasCutOffStartsAgain() throws {
      let run = try Self.stopped()
      let fresh = try InterruptedRun(copyOf: run)
      let files = FileManager.default
      for step in try run.checkpointSteps() { try files.moveItem(atPath: "\(fresh.checkpoints)/step-\(step)", toPath: "\(fresh.checkpoints)/.step-\(step)") }
      try files.removeItem(atPath: "\(fresh.checkpoints)/ledger.jsonl")
      _ = try fresh.directory.file("run/metrics.jsonl", "")
      #expect(try fresh.start(ranks: 2).status == 0)
      #expect(try fresh.lines("metrics.jsonl").count == 40)
      #expect(try fresh.lines("checkpoints/ledger.jsonl").count == 40)
      #expect(try files.contentsOfDirectory(atPath: fresh.checkpoints).sorted() == ["ledger.jsonl", "report.json", "step-40"])
    }

    @Test func aSecondRunThatWouldGoOnIsRefused() throws {
      let run = try InterruptedRun(Self.ghost.replacing("--steps 40", with: "--steps 100000").replacing("--checkpoint-every 3", with: "--checkpoint-seconds 0"))
      let second = "\"$0\" \(Self.ghost.replacing("--steps 40", with: "--steps 100000")) --resume --output \"$OUT\" 2>second; echo \"second ended with $?\" >>second; "
      let outcome = try run.start(afterSteps: 3, do: second + "kill -TERM $job")
      #expect(outcome.status == ExitStatus.checkpointed, "\(outcome.standardError)")
      let said = try String(contentsOfFile: "\(run.directory.path)/second", encoding: .utf8)
      #expect(said.contains("another run is writing there") && said.contains("second ended with 1"), "\(said)")
    }

    @Test func lostStepsUseUpABudget() throws {
      let options = Self.ghost.replacing("--noise-multiplier 1", with: "--target-epsilon 3").replacing("--seed 1", with: "--target-delta 1e-3")
      let run = try InterruptedRun(options)
      _ = try run.start(afterSteps: 5, do: InterruptedRun.kill)
      let outcome = try run.start()
      #expect(outcome.status == 0, "\(outcome.standardError)")
      let (privacy, report) = (try run.privacy(), try Report.decode(outcome.standardOutput))
      let charges = try run.lines("checkpoints/ledger.jsonl").count
      #expect(privacy.epsilon.value <= 3 && privacy.steps == charges)
      #expect(privacy.steps >= report.steps)
      if privacy.steps > report.steps {
        let short = 40 - report.steps
        #expect(short == 0 || privacy.warnings.contains { $0.contains("\(short) short of 40") }, "\(privacy.warnings)")
      }
    }

    @Test(arguments: [("--noise-multiplier 1", true), ("--target-epsilon 4", false), ("--noise-multiplier 1 --schedule linear", false)])
    func stepsMayRiseWhereNothingWasMadeForTheirNumber(options: String, isAllowed: Bool) throws {
      let run = try InterruptedRun(Self.ghost.replacing("--noise-multiplier 1", with: options).replacing("--steps 40 ", with: ""))
      #expect(try run.start("--resume --steps 6").status == 0)
      let more = try run.start("--resume --steps 9")
      #expect(more.status == (isAllowed ? 0 : ExitStatus.refused), "\(more.standardError)")
      #expect(try run.lines("checkpoints/ledger.jsonl").count == (isAllowed ? 9 : 6))
      #expect(try run.privacy().steps == (isAllowed ? 9 : 6))
      if isAllowed {
        let whole = try InterruptedRun(Self.ghost.replacing("--steps 40", with: "--steps 9"))
        #expect(try whole.start().status == 0)
        #expect(try whole.model() == run.model())
      } else {
        #expect(more.errorLines.first?.contains("--steps is 9 and was 6") == true, "\(more.errorLines)")
      }
    }
  }
}
