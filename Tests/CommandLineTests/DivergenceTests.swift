import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Runs whose parameters or losses leave the numbers. One step, so that the update is the last.
  @Suite struct DivergenceTests {
    private func run(_ options: String) throws -> (MPILauncher.Outcome, model: Bool) {
      let directory = try TemporaryDirectory()
      let outcome = try Program.shell(
        "exec \"$0\" --data \(Fixture.records) --model \(Fixture.model) --seq-len 16 --batch-size 8 --optimizer sgd --seed 1 --no-progress --json "
          + "--output run \(options)", in: directory)
      return (outcome, FileManager.default.fileExists(atPath: "\(directory.path)/run/model"))
    }

    /// 1e20 leaves finite parameters, whose products aren't.
    @Test(arguments: ["1", "4"]) func aModelThatComputesNothingIsNotWritten(steps: String) throws {
      let (outcome, model) = try run("--mode standard --learning-rate 1e20 --steps \(steps)")
      #expect(outcome.status == ExitStatus.refused && !model)
      #expect(outcome.errorLines.count == 1 && outcome.errorLines.first?.contains("--learning-rate") == true, "\(outcome.standardError)")
    }

    /// When a private run ends must not depend on its records, and so not on its losses; they are told as they are.
    @Test(arguments: ["ghost", "hooks"], ["1", "4"]) func aPrivateRunGoesOnAndSaysSo(mode: String, steps: String) throws {
      let (outcome, model) = try run("--mode \(mode) --noise-multiplier 1 --accountant rdp --learning-rate 1e20 --steps \(steps)")
      #expect(outcome.status == 0 && model, "\(outcome.standardError)")
      #expect(outcome.standardError.contains("Warning: some losses are not finite"), "\(outcome.standardError)")
      #expect(try jsonObject(outcome.standardOutput)["loss_last"] as? String == "inf")
      #expect(try jsonObject(outcome.standardOutput)["steps"] as? Int == Int(steps))
    }

    @Test(arguments: ["standard", "ghost --noise-multiplier 1 --accountant rdp"])
    func parametersThatAreNotFiniteEndAnyRun(mode: String) throws {
      let (outcome, model) = try run("--mode \(mode) --learning-rate 1e300 --steps 1")
      #expect(outcome.status == ExitStatus.refused && !model)
      #expect(outcome.errorLines.count == 1 && outcome.errorLines.first?.contains("parameters are not finite") == true, "\(outcome.standardError)")
    }
  }
}
