import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// What happens to a run's directory while the run goes on, and who may read it.
  @Suite struct RunDirectoryTests {
    /// Starts a run of millions of steps into `run` as $job, and waits until it has made some.
    private static let start =
      "\"$0\" \(Program.standardRun) --steps 10000000 --log-every 10000000 --output run 2>errors & job=$!; "
      + "for try in $(seq 300); do [ -s run/metrics.jsonl ] && break; sleep 0.1; done; "
    /// Its end, waited for: 124 where it has not come in 15 s.
    private static let end =
      "for try in $(seq 150); do kill -0 $job 2>/dev/null || break; sleep 0.1; done; "
      + "kill -0 $job 2>/dev/null && { kill $job; wait $job; exit 124; }; wait $job; status=$?; cat errors >&2; exit $status"

    @Test func aDirectoryThatIsRemovedEndsTheRun() throws {
      let outcome = try Program.shell(Self.start + "rm -rf run; " + Self.end, in: TemporaryDirectory())
      #expect(outcome.status == ExitStatus.refused, "\(outcome.status): \(outcome.standardError)")
      #expect(outcome.errorLines.count == 1 && outcome.errorLines.first?.contains("run: can't be written to") == true, "\(outcome.errorLines)")
    }

    @Test func aDirectoryThatIsRenamedGetsTheModel() throws {
      let directory = try TemporaryDirectory()
      let outcome = try Program.shell(
        Self.start.replacing("10000000", with: "4000") + "mv run elsewhere; mkdir run; wait $job; status=$?; cat errors >&2; exit $status",
        in: directory)
      #expect(outcome.status == 0, "\(outcome.standardError)")
      #expect(FileManager.default.fileExists(atPath: "\(directory.path)/elsewhere/model/model.safetensors"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: "\(directory.path)/run") == [], "what has the name now is another's")
    }

    @Test func aSecondRunLeavesNoTrace() throws {
      let directory = try TemporaryDirectory()
      let outcome = try Program.shell(
        Self.start + "cp run/run.json before; \"$0\" \(Program.standardRun) --steps 3 --output run; status=$?; kill $job; wait $job; exit $status",
        in: directory)
      #expect(outcome.status == ExitStatus.refused)
      #expect(outcome.errorLines.count == 1 && outcome.errorLines.first?.contains("another run is writing there") == true, "\(outcome.errorLines)")
      func text(_ name: String) throws -> String { try String(contentsOfFile: "\(directory.path)/\(name)", encoding: .utf8) }
      #expect(try text("run/run.json") == text("before"))
      #expect(try text("run/metrics.jsonl").split(separator: "\n").first?.contains("\"step\":0") == true, "nothing was cut off")
      #expect(try FileManager.default.contentsOfDirectory(atPath: "\(directory.path)/run").sorted() == ["checkpoints", "metrics.jsonl", "privacy.json", "run.json", "seen"])
    }

    private static let canMount: Bool = {
      guard let directory = try? TemporaryDirectory(), Program.has("unshare") else { return false }
      return (try? Program.shell("mkdir room && unshare -rm mount -t tmpfs none room", in: directory))?.status == 0
    }()

    @Test(.enabled(if: canMount, "needs a mount of its own (unshare)"))
    func roomOnTheDiskIsKnownBeforeTheFirstStep() throws {
      let directory = try TemporaryDirectory()
      let inside = "mount -t tmpfs -o size=64k none room && \"$0\" \(Program.standardRun) --steps 2 --output room/run; status=$?; ls room/run; exit $status"
      let outcome = try Program.shell("mkdir room && unshare -rm bash -c '\(inside)' \"$0\"", in: directory)
      #expect(outcome.status == ExitStatus.refused)
      #expect(outcome.errorLines.count == 1, "\(outcome.standardError)")
      for word in ["room/run", "needs", "free"] { #expect(outcome.errorLines.first?.contains(word) == true, "\(outcome.errorLines)") }
      #expect(outcome.standardOutput == "", "nothing was written")
    }

    /// Losses and counts are of private data; the model is for release.
    @Test func aRunIsItsUsersAlone() throws {
      let directory = try TemporaryDirectory()
      let options = "--data \(Fixture.records) --seq-len 16 --batch-size 4 --steps 1 --noise-multiplier 1 --accountant rdp --no-progress"
      let outcome = try Program.shell("umask 022; \"$0\" \(options) --output new/run && cd new && find . -printf '%m %P\\n'", in: directory)
      #expect(outcome.status == 0, "\(outcome.standardError)")
      var modes: [String: String] = [:]
      for line in outcome.outputLines {
        let parts: [Substring] = line.split(separator: " ", omittingEmptySubsequences: false)
        // A list of records is named by its own hash.
        let name = parts.count == 2 && parts[1].hasPrefix("run/seen/") ? "run/seen/*" : String(parts.last ?? "")
        if parts.count == 2, Int(parts[0]) != nil { modes[name] = String(parts[0]) }
      }
      let expected: [String: String] = [
        "": "755", "run": "700", "run/run.json": "600", "run/privacy.json": "600", "run/metrics.jsonl": "600", "run/checkpoints": "700",
        "run/checkpoints/ledger.jsonl": "600", "run/checkpoints/report.json": "600", "run/checkpoints/step-1": "700",
        "run/checkpoints/step-1/manifest.json": "600", "run/checkpoints/step-1/state-0-of-1.safetensors": "600", "run/model": "755", "run/model/model.safetensors": "644", "run/model/config.json": "644",
        "run/model/privacy.json": "644", "run/seen": "700", "run/seen/*": "600",
      ]
      #expect(modes == expected)
    }
  }
}
