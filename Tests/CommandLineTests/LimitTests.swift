import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// What the system allows a process (getrlimit(2)): within it a run trains, or ends with a line.
  @Suite struct LimitTests {
    private func run(_ limit: String, _ command: String = Program.standardRun + " --steps 1") throws -> MPILauncher.Outcome {
      try Program.shell("\(limit) && exec \"$0\" \(command)", in: TemporaryDirectory(), timeout: .seconds(30))
    }

    private func expectLine(_ outcome: MPILauncher.Outcome, naming limit: String) {
      #expect(outcome.status == ExitStatus.refused && !outcome.timedOut, "\(outcome.status): \(outcome.standardError)")
      #expect(outcome.errorLines.count == 1 && outcome.errorLines.first?.contains(limit) == true, "\(outcome.standardError)")
    }

    /// In kilobytes, from where the libraries are loaded at all. OpenBLAS looks for its buffers for ever where there is no room for them.
    @Test(arguments: [200_000, 300_000])
    func addressSpaceThatIsTooSmall(kilobytes: Int) throws {
      for command in [
        Program.standardRun + " --steps 1", "evaluate --model \(Fixture.model) --data \(Fixture.records)",
        "generate --model \(Fixture.model) --prompt A --tokens 1", "test",
      ] {
        expectLine(try run("ulimit -v \(kilobytes)", command), naming: "ulimit -v")
      }
    }

    @Test func threadsNeedAddressSpace() throws {
      let command = Program.standardRun.replacing("--threads 1", with: "--threads 8") + " --steps 1"
      expectLine(try run("ulimit -v 900000", command), naming: "--threads")
      let outcome = try run("ulimit -v 900000")
      #expect(outcome.status == 0, "one thread has enough: \(outcome.standardError)")
    }

    /// OpenBLAS would make a thread for every core, and the program wouldn't end while they look for room.
    @Test func printingNeedsNoAddressSpaceForThreads() throws {
      let outcome = try run("ulimit -v 200000", "--version")
      #expect(outcome.status == 0 && outcome.seconds < 10, "\(outcome.status) after \(outcome.seconds) s: \(outcome.standardError)")
    }

    @Test func openFiles() throws {
      expectLine(try run("ulimit -n 16"), naming: "ulimit -n")
      let outcome = try run("ulimit -S -n 16")
      #expect(outcome.status == 0, "what may be raised is: \(outcome.standardError)")
    }

    /// The system would end the program with a signal.
    @Test func filesThatMayNotGrow() throws {
      // In blocks of 1,024 bytes: a checkpoint of 1.5 MB is the first that is too large, then the metrics of so many steps.
      let outcome = try run("ulimit -f 16", Program.standardRun + " --steps 400 --log-every 1000 --output run")
      expectLine(outcome, naming: "run/checkpoints/.step-0/state-0-of-1.safetensors: can't be written: File too large")
      let later = try run("ulimit -f 3000", Program.standardRun + " --steps 40000 --log-every 100000 --output run")
      expectLine(later, naming: "run/metrics.jsonl: can't be written: File too large")
    }
  }
}
