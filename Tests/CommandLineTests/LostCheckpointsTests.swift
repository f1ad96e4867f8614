import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// A directory whose checkpoints were taken away, and with them its charges.
  @Suite struct LostCheckpointsTests {
    private static func run(_ path: String) throws -> MPILauncher.Outcome {
      try Program.run(
        [
          "train", "--data", Fixture.records, "--model", Fixture.model, "--seq-len", "16", "--batch-size", "4", "--threads", "1", "--steps", "3",
          "--noise-multiplier", "1", "--accountant", "rdp", "--no-progress", "--resume", "--output", path,
        ])
    }

    @Test func stepsThatLostTheirChargesAreNotStartedAnew() throws {
      let directory = try TemporaryDirectory()
      let path = "\(directory.path)/run"
      let metrics = URL(filePath: "\(path)/metrics.jsonl")
      #expect(try Self.run(path).status == 0)
      for name in ["checkpoints", "model"] { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }
      let before = try Data(contentsOf: metrics)
      let refused = try Self.run(path)
      #expect(refused.status == ExitStatus.refused && refused.errorLines.count == 1, "\(refused.standardError)")
      #expect(refused.errorLines.first?.contains("without any checkpoint") == true, "\(refused.errorLines)")
      #expect(try Data(contentsOf: metrics) == before && !before.isEmpty, "nothing was touched")
      // Where no step was made, nothing was charged: the start was cut off.
      try Data().write(to: metrics)
      let started = try Self.run(path)
      #expect(started.status == 0, "\(started.standardError)")
    }
  }
}
