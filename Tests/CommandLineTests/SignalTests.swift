import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Signals that ask a run to stop with a checkpoint, or to write one and go on.
  @Suite struct SignalTests {
    private static let options =
      "train --data \(Fixture.records) --model \(Fixture.model) --seq-len 16 --batch-size 4 --noise-multiplier 1 --accountant rdp --threads 1 "
      + "--no-progress --steps 1000000 --log-every 1000000 --checkpoint-seconds 0"

    /// Starts ranks whose numbers are in `ids` and whose statuses will be in `statuses`, and waits until there are some steps.
    ///
    /// The launcher sees no status but 0, so that it ends no rank.
    private static func start(ranks: Int, more: String = "--output run --resume") -> String {
      let rank = "\"$0\" \(options) \(more) & echo $! >>ids; wait $!; echo $? >>statuses; exit 0"
      return "rm -f ids statuses; touch ids statuses; mpirun --oversubscribe -np \(ranks) bash -c '\(rank)' \"$0\" 2>errors & job=$!; "
        + "for try in $(seq 600); do [ -s run/metrics.jsonl ] && [ $(wc -l <ids) = \(ranks) ] && break; sleep 0.1; done; "
    }

    /// Waits for the job; ends it where it has not ended in a minute.
    private static let end =
      "for try in $(seq 600); do kill -0 $job 2>/dev/null || break; sleep 0.1; done; "
      + "kill -0 $job 2>/dev/null && { kill -9 $(cat ids); wait $job; exit 124; }; wait $job; status=$?; cat errors >&2; exit $status"

    private static func lines(_ name: String, in directory: TemporaryDirectory) throws -> [Substring] {
      try String(contentsOfFile: "\(directory.path)/\(name)", encoding: .utf8).split(separator: "\n")
    }

    @Test(arguments: ["TERM", "INT", "USR1"], [1, 3])
    func aRunIsStoppedWithACheckpoint(signal: String, ranks: Int) throws {
      let directory = try TemporaryDirectory()
      let outcome = try Program.shell(Self.start(ranks: ranks) + "kill -\(signal) $(cat ids); " + Self.end, in: directory)
      #expect(outcome.status == 0, "\(outcome.status): \(outcome.standardError)")
      #expect(try Self.lines("statuses", in: directory) == Array(repeating: "85", count: ranks), "\(outcome.standardError)")
      #expect(outcome.errorLines == [])
      let stored = try StoredRun(path: "\(directory.path)/run")
      #expect(stored.checkpoints.first == stored.metrics && stored.metrics > 0, "the step was finished, and nothing was done after it")
      #expect(stored.charges == stored.metrics && stored.newestCharges == stored.charges && stored.statedSteps == stored.charges)
      #expect(!stored.hasModel && stored.aside == [])
      #expect(outcome.standardError.contains("stopped on request after step \(stored.metrics)"), "\(outcome.standardError)")
    }

    /// A scheduler may tell one rank alone.
    @Test func oneRankIsEnough() throws {
      let directory = try TemporaryDirectory()
      let outcome = try Program.shell(Self.start(ranks: 3) + "kill -USR1 $(tail -n 1 ids); " + Self.end, in: directory)
      #expect(outcome.status == 0, "\(outcome.status): \(outcome.standardError)")
      #expect(try Self.lines("statuses", in: directory) == ["85", "85", "85"], "\(outcome.standardError)")
    }

    @Test func aRunIsAskedForACheckpointAndGoesOn() throws {
      let directory = try TemporaryDirectory()
      let wait = "for try in $(seq 300); do [ $(ls run/checkpoints | grep -c '^step-[1-9]') -ge 1 ] && break; sleep 0.1; done; "
      let more = "before=$(wc -l <run/metrics.jsonl); for try in $(seq 300); do [ $(wc -l <run/metrics.jsonl) -gt $((before + 3)) ] && break; sleep 0.1; done; "
      let script = "kill -USR2 $(cat ids); \(wait)ls run/checkpoints >asked; \(more)kill -USR1 $(cat ids); "
      let outcome = try Program.shell(Self.start(ranks: 2, more: "--output run --resume --keep-checkpoints 9") + script + Self.end, in: directory)
      #expect(outcome.status == 0, "\(outcome.status): \(outcome.standardError)")
      let stored = try StoredRun(path: "\(directory.path)/run")
      let asked = try Self.lines("asked", in: directory).compactMap { $0.hasPrefix("step-") ? Int($0.dropFirst(5)) : nil }.max() ?? 0
      #expect(asked > 0, "no checkpoint was written")
      #expect(stored.metrics > asked + 3, "it didn't go on")
      // Both ranks are asked, perhaps in different steps.
      #expect(Set(stored.checkpoints).isSuperset(of: [0, asked, stored.metrics]) && stored.checkpoints.count <= 4, "\(stored.checkpoints)")
      #expect(stored.charges == stored.metrics)
    }

    /// Even where another rank is stuck and the step never ends.
    @Test func aSecondInterruptEndsItAtOnce() throws {
      let directory = try TemporaryDirectory()
      let script = "set -- $(cat ids); kill -STOP $2; sleep 0.5; kill -INT $1; sleep 1; kill -0 $1 && echo waits >waits; kill -INT $1; for try in $(seq 300); do [ -s statuses ] && break; sleep 0.1; done; cp statuses early; kill -9 $2; "
      let outcome = try Program.shell(Self.start(ranks: 2) + "run() { \(script) }; run; " + Self.end, in: directory)
      // Ranks that end without MPI_Finalize are a failure to mpirun.
      #expect(outcome.status != 124, "\(outcome.standardError)")
      #expect(FileManager.default.fileExists(atPath: "\(directory.path)/waits"), "the first interrupt lets the step go on")
      #expect(try Self.lines("early", in: directory) == ["130"])
      let stored = try StoredRun(path: "\(directory.path)/run")
      #expect(stored.metrics <= stored.charges)
    }

    /// Steps can't be gone on with: nothing is written, and nothing is asked for.
    @Test(arguments: ["TERM", "INT", "USR1", "USR2"])
    func withoutADirectoryASignalEndsTheRun(signal: String) throws {
      let directory = try TemporaryDirectory()
      let script =
        "set -m; \"$0\" \(Program.standardRun) --steps 10000000 --log-every 1 2>errors & job=$!; for try in $(seq 300); do grep -q 'step 1:' errors && break; sleep 0.1; done; "
        + "kill -\(signal) $job; wait $job; exit $?"
      let outcome = try Program.shell(script, in: directory)
      let numbers: [String: Int32] = ["TERM": SIGTERM, "INT": SIGINT, "USR1": SIGUSR1, "USR2": SIGUSR2]
      #expect(outcome.status == 128 + (numbers[signal] ?? 0), "\(outcome.status): \(outcome.standardError)")
    }

    /// The directory is locked before the data are read: from there on a signal waits for the first step's end.
    @Test func aSignalBeforeTheFirstStepStopsBehindIt() throws {
      let directory = try TemporaryDirectory()
      let script =
        "\"$0\" \(Self.options) --output run --resume 2>errors & job=$!; until [ -d run ]; do sleep 0.01; done; kill -USR1 $job; echo $job >ids; "
      let outcome = try Program.shell(script + Self.end, in: directory)
      #expect(outcome.status == ExitStatus.checkpointed, "\(outcome.status): \(outcome.standardError)")
      let stored = try StoredRun(path: "\(directory.path)/run")
      #expect(stored.metrics == 1 && stored.charges == 1 && stored.checkpoints.first == 1 && stored.statedSteps == 1)
    }
  }
}
