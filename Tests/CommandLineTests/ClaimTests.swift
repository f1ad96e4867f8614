import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Claims that hold and mean little are said to.
  @Suite struct ClaimTests {
    private func expectWarning(_ warning: String, _ options: String, isGiven: Bool = true) throws {
      let run = try TrainingRun(options)
      let statement = try run.privacy()
      #expect(statement.private)
      let report = try #require(try jsonObject(run.outcome.standardOutput)["warnings"] as? [String])
      let log = run.outcome.standardError.split(separator: "\n").map(String.init)
      for (place, lines) in [("privacy.json", statement.warnings), ("--json", report), ("the log", log)] {
        #expect(lines.contains { $0.contains(warning) } == isGiven, "\(options): \(place): \(lines)")
      }
    }

    @Test func anEpsilonAboveTwentyProtectsLittle() throws {
      let weak = "epsilon is above 20"
      try expectWarning(weak, "--batch-size 20 --steps 5 --accountant rdp --noise-multiplier 0.3")
      try expectWarning(weak, "--batch-size 20 --steps 2 --accountant rdp --target-epsilon 30")
      try expectWarning(weak, "--batch-size 6 --accountant rdp --noise-multiplier 2", isGiven: false)
    }

    @Test func aDeltaOfARecordPermitsReleasingRecords() throws {
      let leak = "permits releasing whole records"
      let options = "--batch-size 6 --accountant rdp --noise-multiplier 2"
      try expectWarning(leak, "\(options) --target-delta \(1.0 / Double(Fixture.recordCount))")
      try expectWarning(leak, "\(options) --target-delta 0.02", isGiven: false)
      try expectWarning(leak, "\(options) --target-delta 0.02 --dataset-size 50")
      try expectWarning(leak, options, isGiven: false)
    }

    @Test func aRunWhoseNoiseCanBeDrawnAgainIsMarked() throws {
      let options = "--batch-size 6 --accountant rdp --noise-multiplier 2"
      #expect(try TrainingRun(options).object("run.json")["reproducible"] as? Bool == false)
      #expect(try TrainingRun("\(options) --seed 1").object("run.json")["reproducible"] as? Bool == true)
    }
  }
}
