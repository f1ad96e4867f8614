import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// A disk that fails under a run: it says so, keeps what it had, charges nothing that it can't write, and goes on when the disk is well again.
  @Suite struct StorageFaultTests {
    private static let steps = 12
    /// Checkpoints of steps 0, 4, 8, 12.
    private static let options =
      "train --data \(Fixture.records) --model \(Fixture.model) --seq-len 16 --batch-size 4 --steps \(steps) --noise-multiplier 1 "
      + "--accountant rdp --threads 1 --no-progress --resume --checkpoint-every 4"

    struct Case: CustomTestStringConvertible, Sendable {
      /// Calls and pattern, as CStorageFaults has them.
      let fault: String
      /// Calls that work before.
      let after: Int
      var ranks = 1
      /// What the message names, within the run's directory.
      let names: String
      /// Lines of metrics, charges, and the newest checkpoint, when it has ended.
      let metrics, charges, newest: Int
      var testDescription: String { "\(fault) after \(after) on \(ranks)" }
    }

    private static let cases = [
      // Opening the log flushes it, too, and it is opened twice.
      Case(fault: "write:*/ledger.jsonl", after: 6, names: "checkpoints/ledger.jsonl", metrics: 6, charges: 6, newest: 4),
      Case(fault: "fsync:*/ledger.jsonl", after: 8, ranks: 2, names: "checkpoints/ledger.jsonl", metrics: 6, charges: 6, newest: 4),
      Case(fault: "write:*/metrics.jsonl", after: 6, names: "metrics.jsonl", metrics: 6, charges: 7, newest: 4),
      Case(fault: "open:*/.step-8/state-*", after: 0, names: "state-0-of-1.safetensors", metrics: 8, charges: 8, newest: 4),
      Case(fault: "write:*/.step-8/state-*", after: 0, names: "state-0-of-1.safetensors", metrics: 8, charges: 8, newest: 4),
      // The second piece of three.
      Case(fault: "direct:*/.step-8/state-*", after: 1, names: "state-0-of-1.safetensors", metrics: 8, charges: 8, newest: 4),
      Case(fault: "write:*/.step-8/state-1-of-2.*", after: 0, ranks: 2, names: "state-1-of-2.safetensors", metrics: 8, charges: 8, newest: 4),
      Case(fault: "fsync:*/.step-8/state-0-of-2.*", after: 0, ranks: 2, names: "state-0-of-2.safetensors", metrics: 8, charges: 8, newest: 4),
      Case(fault: "write:*/.step-8/manifest.json*", after: 0, names: "manifest.json", metrics: 8, charges: 8, newest: 4),
      Case(fault: "fsync:*/.step-8/manifest.json*", after: 0, ranks: 2, names: "manifest.json", metrics: 8, charges: 8, newest: 4),
      Case(fault: "rename:*/.step-8/manifest.json", after: 0, names: "manifest.json", metrics: 8, charges: 8, newest: 4),
      Case(fault: "rename:*/checkpoints/step-8", after: 0, ranks: 2, names: "checkpoints/step-8", metrics: 8, charges: 8, newest: 4),
      Case(fault: "fsync:*/.step-8", after: 0, names: ".step-8", metrics: 8, charges: 8, newest: 4),
      // Each checkpoint flushes the directory twice, and the ledger's own appearance once; after the last rename the checkpoint is there.
      Case(fault: "fsync:*/checkpoints", after: 5, names: "checkpoints", metrics: 8, charges: 8, newest: 4),
      Case(fault: "fsync:*/checkpoints", after: 6, names: "checkpoints", metrics: 8, charges: 8, newest: 8),
      Case(fault: "write:*/model/model.safetensors*", after: 0, names: "model/model.safetensors", metrics: 12, charges: 12, newest: 12),
      Case(fault: "rename:*/model/model.safetensors", after: 0, ranks: 2, names: "model/model.safetensors", metrics: 12, charges: 12, newest: 12),
      Case(fault: "write:*/checkpoints/report.json*", after: 0, names: "checkpoints/report.json", metrics: 12, charges: 12, newest: 12),
      // A full disk and one that was mounted anew, for reading alone: whatever is written first.
      Case(fault: "write:*/metrics.jsonl", after: 2, ranks: 2, names: "metrics.jsonl", metrics: 2, charges: 3, newest: 0),
    ]

    @Test(arguments: cases)
    func aCallThatFailsEndsTheRunAndItGoesOn(_ this: Case) throws {
      let directory = try TemporaryDirectory()
      let failed = try Self.run(in: directory, ranks: this.ranks, fault: "\(this.fault):\(this.after):\(EIO)")
      #expect(failed.status == ExitStatus.refused, "\(failed.status): \(failed.standardError)")
      #expect(failed.errorLines.count == 1, "\(failed.standardError)")
      for word in ["run/", this.names, "Input/output error"] { #expect(failed.errorLines.first?.contains(word) == true, "\(failed.errorLines)") }
      let stored = try StoredRun(path: "\(directory.path)/run")
      #expect(stored.metrics == this.metrics)
      #expect(stored.charges == this.charges)
      #expect(stored.checkpoints.first == this.newest)
      #expect(stored.statedSteps == this.charges)
      #expect(stored.aside == [], "left under way")
      try Self.expectItGoesOn(stored, in: directory, ranks: this.ranks)
    }

    /// A file system that can't write past the page cache, from a file's start or within it: checkpoints are whole all the same.
    @Test(arguments: [0, 1, 3]) func whatIsNotWrittenPastTheCacheIsWrittenThroughIt(after: Int) throws {
      let directory = try TemporaryDirectory()
      let outcome = try Self.run(in: directory, ranks: 1, fault: "direct:*/state-*:\(after):\(EINVAL)")
      #expect(outcome.status == 0, "\(outcome.standardError)")
      let stored = try StoredRun(path: "\(directory.path)/run")
      #expect(stored.checkpoints == [Self.steps] && stored.hasModel && stored.aside == [])
      let states = try FileManager.default.subpathsOfDirectory(atPath: directory.path).filter { $0.hasSuffix("state-0-of-1.safetensors") }
      let sizes = try states.map { try FileBytes.read("\(directory.path)/\($0)").count }
      #expect(sizes.count == 1 && sizes[0] > 2 * SliceFile.pieceBytes, "what fails is never done: \(sizes)")
    }

    /// From some moment on nothing can be changed any more.
    @Test(arguments: [20, 30, 41, 52, 60, 75])
    func aDiskThatBecomesReadOnlyEndsTheRun(after: Int) throws {
      let directory = try TemporaryDirectory()
      let failed = try Self.run(in: directory, ranks: 1, fault: "write,fsync,rename,open,mkdir,unlink,ftruncate:*run/*:\(after):\(EROFS)")
      #expect(failed.status == ExitStatus.refused, "\(failed.status): \(failed.standardError)")
      #expect(failed.errorLines.count == 1, "\(failed.standardError)")
      for word in ["run/", "Read-only file system"] { #expect(failed.errorLines.first?.contains(word) == true, "\(failed.errorLines)") }
      let stored = try StoredRun(path: "\(directory.path)/run")
      #expect(stored.metrics <= stored.charges)
      // What it said before the first step: all that the run may spend.
      #expect(stored.charges == 0 || (stored.statedSteps ?? 0) >= stored.charges)
      try Self.expectItGoesOn(stored, in: directory, ranks: 2)
    }

    @Test(.enabled(if: canMount, "needs a mount of its own (unshare)"))
    func aFullDiskEndsTheRunAndItGoesOn() throws {
      let directory = try TemporaryDirectory()
      let long = Self.options.replacing("--steps \(Self.steps)", with: "--steps 500")
      let inside = """
        mount -t tmpfs -o size=12m none room || exit 99
        mpirun --oversubscribe -np 2 "$0" \(long) --output room/run 2>first & job=$!
        for try in $(seq 600); do [ -s room/run/metrics.jsonl ] && break; sleep 0.1; done
        head -c 50M /dev/zero >room/filler 2>/dev/null
        wait $job; echo $? >status
        cp -r room/run first-run
        rm room/filler
        mpirun --oversubscribe -np 3 "$0" \(long) --output room/run 2>second; status=$?
        cp -r room/run second-run
        exit $status
        """
      let script = try directory.file("inside", inside)
      let outcome = try Program.shell("mkdir room && unshare -rm bash -c \"$(cat \(script))\" \"$0\"", in: directory)
      func text(_ name: String) -> String { (try? String(contentsOfFile: "\(directory.path)/\(name)", encoding: .utf8)) ?? "" }
      #expect(outcome.status == 0, "\(text("second")) \(outcome.standardError)")
      #expect(text("status") == "1\n", "\(text("first"))")
      let errors = text("first").split(separator: "\n").filter { $0.hasPrefix("Error: ") }
      #expect(errors.count == 1 && errors[0].contains("room/run/") && errors[0].contains("No space left"), "\(text("first"))")
      let (first, second) = (try StoredRun(path: "\(directory.path)/first-run"), try StoredRun(path: "\(directory.path)/second-run"))
      #expect(first.metrics <= first.charges)
      #expect(second.charges >= max(500, first.charges) && second.statedSteps == second.charges)
      #expect(second.checkpoints == [500] && second.hasModel)
    }

    /// Some of it may stay: what the run writes while all else is removed. Charges that are in no directory any more are noticed all the same.
    @Test func aDirectoryThatVanishesEndsTheRunAndItStartsAnew() throws {
      let directory = try TemporaryDirectory()
      let script =
        "\"$0\" \(Self.options.replacing("--steps \(Self.steps)", with: "--steps 1000000")) --output run 2>errors & job=$!; "
        + "for try in $(seq 300); do [ -s run/metrics.jsonl ] && break; sleep 0.1; done; rm -rf run; wait $job; status=$?; rm -rf run; cat errors >&2; exit $status"
      let outcome = try Program.shell(script, in: directory)
      #expect(outcome.status == ExitStatus.refused, "\(outcome.status): \(outcome.standardError)")
      #expect(outcome.errorLines.count == 1 && outcome.errorLines.first?.contains("run") == true, "\(outcome.errorLines)")
      let again = try Self.run(in: directory, ranks: 1, fault: nil)
      #expect(again.status == 0, "\(again.standardError)")
      #expect(try StoredRun(path: "\(directory.path)/run").charges == Self.steps)
    }

    @Test func aLedgerThatVanishesEndsTheRun() throws {
      let script =
        "\"$0\" \(Self.options.replacing("--steps \(Self.steps)", with: "--steps 1000000")) --output run 2>errors & job=$!; "
        + "for try in $(seq 300); do ls run/checkpoints 2>/dev/null | grep -q '^step-[1-9]' && break; sleep 0.1; done; rm run/checkpoints/ledger.jsonl; "
        + "wait $job; status=$?; cat errors >&2; exit $status"
      let directory = try TemporaryDirectory()
      let outcome = try Program.shell(script, in: directory)
      #expect(outcome.status == ExitStatus.refused, "\(outcome.status): \(outcome.standardError)")
      #expect(outcome.errorLines.count == 1 && outcome.errorLines.first?.contains("ledger.jsonl: can't be written: it was removed") == true, "\(outcome.errorLines)")
      // What was written as the run began is more than was spent; a count of no lines would be less.
      let stated = try jsonObject(String(contentsOfFile: "\(directory.path)/run/privacy.json", encoding: .utf8))["steps"] as? Int
      #expect(stated == 1_000_000)
      // Steps that the model has been through are in no ledger: nobody goes on as if they had cost nothing.
      let again = try Self.run(in: directory, ranks: 1, fault: nil)
      #expect(again.status == ExitStatus.refused && again.errorLines.first?.contains("charges") == true, "\(again.errorLines)")
    }

    private static let canMount: Bool = {
      guard let directory = try? TemporaryDirectory(), Program.has("unshare") else { return false }
      return (try? Program.shell("mkdir room && unshare -rm mount -t tmpfs none room", in: directory))?.status == 0
    }()

    private static func run(in directory: TemporaryDirectory, ranks: Int, fault: String?) throws -> MPILauncher.Outcome {
      let library = try MPILauncher(built: "libStorageFaults.so").executable.path(percentEncoded: false)
      // The program alone, not its launcher.
      let preload = fault.map { "env LD_PRELOAD=\(library) 'STORAGE_FAULT=\($0)' " } ?? ""
      return try Program.shell("mpirun --oversubscribe -np \(ranks) \(preload)\"$0\" \(options) --output run", in: directory)
    }

    /// - Parameter before: as it was when the disk failed.
    private static func expectItGoesOn(_ before: StoredRun, in directory: TemporaryDirectory, ranks: Int) throws {
      let outcome = try run(in: directory, ranks: ranks, fault: nil)
      #expect(outcome.status == 0, "\(outcome.status): \(outcome.standardError)")
      let after = try StoredRun(path: "\(directory.path)/run")
      // Steps from the newest checkpoint on are charged once more.
      #expect(after.charges == before.charges + steps - (before.checkpoints.first ?? 0))
      #expect(after.ledger.starts(with: before.ledger), "charges were lost")
      #expect(after.statedSteps == after.charges)
      #expect(after.checkpoints == [steps] && after.hasModel && after.aside == [])
    }
  }
}

/// What a run's directory holds, every checkpoint read and found whole.
struct StoredRun {
  let ledger: Data
  /// Whole lines.
  let metrics: Int
  /// Steps of the checkpoints, the newest first.
  let checkpoints: [Int]
  /// Charges that the newest checkpoint counts.
  let newestCharges: Int?
  /// Of `privacy.json`; nil where there is none.
  let statedSteps: Int?
  let hasModel: Bool
  /// Files that were being written when the run ended.
  let aside: [String]

  /// Lines of the ledger, a torn one among them.
  var charges: Int { ledger.count { $0 == 10 } + (ledger.last.map { $0 == 10 ? 0 : 1 } ?? 0) }

  init(path: String) throws {
    let files = FileManager.default
    ledger = files.contents(atPath: "\(path)/checkpoints/ledger.jsonl") ?? Data()
    metrics = files.contents(atPath: "\(path)/metrics.jsonl")?.count { $0 == 10 } ?? 0
    let directory = CheckpointDirectory(path: "\(path)/checkpoints")
    checkpoints = try directory.steps()
    let manifests = try checkpoints.map { try directory.verify(step: $0) }
    newestCharges = manifests.first?.charges
    statedSteps = try files.contents(atPath: "\(path)/privacy.json").map {
      try #require(try (JSONSerialization.jsonObject(with: $0) as? [String: Any])?["steps"] as? Int)
    }
    hasModel = files.fileExists(atPath: "\(path)/model/model.safetensors") && files.fileExists(atPath: "\(path)/model/privacy.json")
    aside = (files.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []).filter {
      let name = $0.split(separator: "/").last ?? ""
      return name.hasPrefix(".") || name.contains(".partial")
    }.sorted()
  }
}
