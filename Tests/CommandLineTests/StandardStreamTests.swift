import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Results on standard output, what a person reads on standard error.
  @Suite struct StandardStreamTests {
    private static let commands = [
      "epsilon --sampling-rate 0.01 --noise-multiplier 1 --steps 10 --delta 1e-5 --accountant rdp",
      "calibrate --target-epsilon 8 --sampling-rate 0.01 --steps 10 --delta 1e-5 --accountant rdp",
      "evaluate --model \(Fixture.model) --data \(Fixture.records)", "generate --model \(Fixture.model) --prompt Hi --tokens 3 --seed 1",
      "plan --data \(Fixture.records) --batch-size 4 --noise-multiplier 1 --accountant rdp", "memory --models tiny --microbatches 1 --seq-lens 8 --steps 1",
      "test", Program.standardRun + " --steps 1", "--help", "--version",
    ]

    @Test(arguments: commands) func aResultThatCannotBeWrittenIsNoSuccess(command: String) throws {
      let outcome = try Program.shell("exec \"$0\" \(command) >/dev/full", in: TemporaryDirectory())
      #expect(outcome.status == ExitStatus.refused, "\(outcome.status): \(outcome.standardError)")
      #expect(outcome.errorLines == ["Error: standard output: can't be written: No space left on device"])
    }

    /// As in `dp-mpirun … | head -1`: nobody needs to be told.
    @Test func aReaderThatIsGoneEndsTheProgramQuietly() throws {
      let curve = Self.commands[0] + " --curve"
      let outcome = try Program.shell("\"$0\" \(curve) | true; exit ${PIPESTATUS[0]}", in: TemporaryDirectory())
      #expect(outcome.status == ExitStatus.refused && outcome.standardError == "", "\(outcome.status): \(outcome.standardError)")
    }

    @Test func aFileGetsNoEscapeSequences() throws {
      let run = Program.standardRun.replacing(" --no-progress", with: "")
      let outcome = try Program.shell(
        "\"$0\" \(run) --steps 40", in: TemporaryDirectory(), environment: ["CI": nil, "TERM": "xterm-256color"])
      #expect(outcome.status == 0)
      #expect(!outcome.standardError.contains("\u{1B}") && !outcome.standardError.contains("\r"))
    }

    /// mpirun hands on standard error as a pipe: without a bar there are lines, in all modes.
    @Test(arguments: ["", " --log-every 5"]) func loggedStepsHaveLinesWhereThereIsNoBar(option: String) throws {
      let run = (Program.standardRun + " --steps 20" + option).split(separator: " ").map(String.init)
      let outcome = try Program.run(run, ranks: 2, environment: ["CI": nil, "TERM": "xterm"])
      #expect(outcome.status == 0, "\(outcome.standardError)")
      let lines = outcome.standardError.split(separator: "\n").filter { $0.contains(" step ") && $0.contains("loss ") }
      #expect(lines.count == (option == "" ? 20 : 4), "\(outcome.standardError)")
    }

    @Test(.enabled(if: Program.has("script"), "needs script (a pseudo-terminal)"), arguments: [30, 80])
    func theBarFitsIntoTheTerminal(columns: Int) throws {
      let run = Program.standardRun.replacing(" --no-progress", with: "") + " --steps 600"
      let outcome = try Program.shell(
        "printf 'stty cols \(columns) rows 24; exec %q \(run)' \"$0\" >inside; script -qec 'bash inside' typescript >/dev/null; cat typescript",
        in: TemporaryDirectory(), environment: ["CI": nil, "TERM": "xterm-256color"])
      var redraws: [Int] = []
      for part in outcome.standardOutput.components(separatedBy: "\u{1B}[K") {
        let line: String.UnicodeScalarView.SubSequence = part.unicodeScalars.prefix { $0 != "\r" && $0 != "\n" }
        if String(line).contains("step ") { redraws.append(line.count) }
      }
      #expect(!redraws.isEmpty, "\(outcome.standardOutput) \(outcome.standardError)")
      #expect(redraws.allSatisfy { $0 < columns }, "\(redraws.max() ?? 0)")
    }
  }

  /// Started by nobody, or by somebody who isn't there.
  @Suite struct LonelyProcessTests {
    private static let commands = [Program.standardRun + " --steps 1", "evaluate --model \(Fixture.model) --data \(Fixture.records)"]

    @Test(arguments: commands) func noRemoteShellIsNeeded(command: String) throws {
      let outcome = try Program.shell("PATH=/nonexistent exec \"$0\" \(command)", in: TemporaryDirectory())
      #expect(outcome.status == 0, "\(outcome.standardError)")
    }

    private static func slurmTask(of count: Int) -> [String: String?] {
      var names = ["SLURM_JOB_ID": "77", "SLURM_STEPID": "0", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NNODES": "1"]
      for name in ["SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_TASKS_PER_NODE"] { names[name] = "\(count)" }
      for name in ["SLURM_NODELIST", "SLURM_STEP_NODELIST"] { names[name] = ProcessInfo.processInfo.hostName }
      return names
    }

    /// As in `srun --pty bash`: no server answers Open MPI there.
    @Test(arguments: commands) func aSlurmTaskOfOneRuns(command: String) throws {
      let outcome = try Program.shell("exec \"$0\" \(command)", in: TemporaryDirectory(), environment: Self.slurmTask(of: 1))
      #expect(outcome.status == 0, "\(outcome.standardError)")
    }

    @Test(arguments: commands) func oneOfSeveralSlurmTasksWithoutPMIxIsRefused(command: String) throws {
      let outcome = try Program.shell("exec \"$0\" \(command)", in: TemporaryDirectory(), environment: Self.slurmTask(of: 4))
      #expect(outcome.status != 0)
      #expect(outcome.errorLines.count == 1 && outcome.errorLines.first?.contains("--mpi=pmix") == true, "\(outcome.standardError)")
    }
  }
}
