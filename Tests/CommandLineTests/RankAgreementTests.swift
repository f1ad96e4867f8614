import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Ranks that read other records, or were told other things, are no one run: the draw is of places in the data.
  @Suite struct RankAgreementTests {
    /// Two ranks with options, and directories, of their own.
    private func outcome(_ first: [String], _ second: [String], in directories: [TemporaryDirectory]) throws -> MPILauncher.Outcome {
      let common = ["--noise-multiplier", "1", "--accountant", "rdp", "--steps", "1", "--seq-len", "16", "--batch-size", "2", "--no-progress"]
      let launcher = try MPILauncher(built: "dp-mpirun")
      // mpirun takes the colon for the beginning of another program's command.
      return try launcher.run(
        common + first + [":", "-wdir", directories[1].path, "-np", "1", launcher.executable.path] + common + second, ranks: 1,
        environment: ["CI": "1"], directory: URL(filePath: directories[0].path), timeout: .seconds(30))
    }

    /// The same name on every host, and another file behind it.
    @Test func otherRecordsAreRefused() throws {
      let directories = try [TemporaryDirectory(), TemporaryDirectory()]
      for (directory, last) in zip(directories, ["three", "threx"]) { _ = try directory.file("records.txt", "one\ntwo\n\(last)\n") }
      let options = ["--data", "records.txt"]
      let outcome = try outcome(options, options, in: directories)
      #expect(outcome.status == ExitStatus.refused, "\(outcome.standardError)")
      #expect(outcome.errorLines.count == 1 && outcome.errorLines[0].contains("--data of rank 1 on ") && outcome.errorLines[0].contains(" differ"), "\(outcome.errorLines)")
    }

    @Test func otherOptionsAreRefused() throws {
      let own = ["--data", Fixture.records]
      let directories = try [TemporaryDirectory(), TemporaryDirectory()]
      let outcome = try outcome(own + ["--learning-rate", "0.1"], own + ["--learning-rate", "0.2"], in: directories)
      #expect(outcome.status == ExitStatus.refused, "\(outcome.standardError)")
      #expect(outcome.errorLines.count == 1 && outcome.errorLines[0].contains("options of rank 1 on "), "\(outcome.errorLines)")
    }
  }
}
