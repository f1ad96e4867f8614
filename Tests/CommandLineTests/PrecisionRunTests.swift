import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// `--precision`: decided by what the processor has, said in what a run writes.
  @Suite struct PrecisionRunTests {
    private static let options = ["--steps", "2", "--batch-size", "8", "--seed", "1", "--noise-multiplier", "1", "--accountant", "rdp", "--data", Fixture.records]

    @Test(.enabled(if: BFloat16Probe.refusal() != nil, "this processor has bfloat16 products: nothing to refuse"))
    func bf16IsRefusedWhereThereIsNone() throws {
      let reason = try #require(BFloat16Probe.refusal())
      for command in [["train"] + Self.options, ["memory", "--steps", "1", "--microbatches", "1"]] {
        for ranks in [1, 3] {
          let outcome = try Program.run(command + ["--precision", "bf16"], ranks: ranks)
          #expect(outcome.status == 1 && outcome.errorLines.count == 1, "\(outcome.standardError)")
          #expect(outcome.errorLines.first?.contains("--precision bf16: \(reason)") == true, "\(outcome.standardError)")
        }
      }
    }

    /// `auto` leaves small models alone, and is float32 where the processor has nothing else: the same run, and the statement says which.
    @Test func autoIsFloat32OfSmallModels() throws {
      let directory = try TemporaryDirectory()
      let sums = try ["f32", "auto"].map { precision in
        let output = "\(directory.path)/\(precision)"
        let outcome = try Program.run(["train", "--json"] + Self.options + ["--precision", precision, "--output", output], ranks: 2)
        try #require(outcome.status == 0, "\(outcome.standardError)")
        for file in ["privacy.json", "run.json"] {
          let object = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: "\(output)/\(file)"))) as? [String: Any]
          #expect(object?["precision"] as? String == "f32", "\(file)")
          if file == "privacy.json" { #expect(object?["rounding_margin"] as? Double == ClippedGradientSum.roundingMargin(expectedBatchSize: 8)) }
        }
        let report = try JSONSerialization.jsonObject(with: Data(outcome.standardOutput.utf8)) as? [String: Any]
        return report?["parameters_l2"] as? Double
      }
      #expect(sums[0] != nil && sums[0] == sums[1])
    }

    /// A plan is for whatever machine it is to run on.
    @Test func plansCountTheOperands() throws {
      let plans = try ["f32", "bf16"].map { precision in
        let outcome = try Program.run(["plan", "--json", "--mode", "standard", "--shard", "none"] + ["--data", Fixture.records, "--batch-size", "8", "--precision", precision])
        try #require(outcome.status == 0, "\(outcome.standardError)")
        return try #require(try JSONSerialization.jsonObject(with: Data(outcome.standardOutput.utf8)) as? [String: Any])
      }
      #expect(plans.map { $0["precision"] as? String } == ["f32", "bf16"])
      let sizes = plans.compactMap { $0["planned_mb"] as? Double }
      #expect(sizes.count == 2 && sizes[1] > sizes[0] + 0.3, "\(sizes)")
    }
  }
}
