import DistEngine
import Foundation
import PrivacyAccounting
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Runs that are cut off and go on.
  @Suite struct ResumeTests {
    private static let standard =
      "train --mode standard --data \(Fixture.records) --model \(Fixture.model) --seq-len 16 --batch-size 4 --threads 1 --steps 200 --checkpoint-every 7"
    private static let ghost =
      "train --data \(Fixture.records) --model \(Fixture.model) --seq-len 16 --batch-size 4 --threads 1 --steps 80 --checkpoint-every 5 "
      + "--noise-multiplier 1 --accountant rdp"

    /// Cut off by KILL at some step, as often as there are numbers, then finished.
    private func finish(_ run: InterruptedRun, ranks: [Int?], killAfter steps: [Int]) throws -> MPILauncher.Outcome {
      for (index, count) in steps.enumerated() {
        let outcome = try run.start(ranks: ranks[index % ranks.count], afterSteps: count, do: InterruptedRun.kill)
        #expect(outcome.status != 0 && outcome.status != ExitStatus.usage, "\(outcome.status): \(outcome.standardError)")
      }
      let last = try run.start(ranks: ranks[steps.count % ranks.count])
      #expect(last.status == 0, "\(last.standardError)")
      return last
    }

    @Test(
      arguments: [
        ("--seed 1", nil, [3, 20]), ("--seed 2 --shard node --optimizer sgd --momentum 0.9", 2, [9]), ("--seed 3 --shard optimizer", 3, [15]),
        ("--seed 4 --sampler shuffle --schedule cosine --warmup 10", 2, [31]),
        ("--seed 5 --shard node --trainable bias", 2, [11]),
      ] as [(String, Int?, [Int])])
    func anOrdinaryRunGoesOnBitForBit(options: String, ranks: Int?, killed: [Int]) throws {
      let (whole, cut) = (try InterruptedRun("\(Self.standard) \(options)"), try InterruptedRun("\(Self.standard) \(options)"))
      let uninterrupted = try whole.start("", ranks: ranks)
      let resumed = try finish(cut, ranks: [ranks], killAfter: killed)
      #expect(try whole.model() == cut.model())
      let reports = try [uninterrupted, resumed].map { try Report.decode($0.standardOutput) }
      #expect(reports[0].steps == 200 && reports[1].steps == 200)
      #expect(reports[0].lossFirst == reports[1].lossFirst && reports[0].lossLast == reports[1].lossLast, "losses are the whole run's")
      #expect(try cut.checkpointSteps() == [200], "all but the last are gone when the run is done")
    }

    @Test func frozenParametersOfAPresetGoOn() throws {
      let options = Self.standard.replacing(Fixture.model, with: "tiny") + " --trainable bias --seed 6"
      let (whole, cut) = (try InterruptedRun(options), try InterruptedRun(options))
      _ = try whole.start("")
      _ = try finish(cut, ranks: [nil], killAfter: [10])
      #expect(try whole.model() == cut.model())
    }

    @Test func otherRanksAndShardingsGoOnWithTheSameSum() throws {
      let (whole, cut) = (try InterruptedRun("\(Self.standard) --seed 7"), try InterruptedRun("\(Self.standard) --seed 7"))
      _ = try whole.start("")
      let ways: [(String, Int?)] = [("--shard node", 3), ("--shard optimizer --threads 1 --microbatch 1", 2), ("--shard none --recompute blocks", 2)]
      for (way, ranks) in ways {
        let options = way.replacing("--threads 1 ", with: "")
        _ = try cut.start("--resume \(options)", ranks: ranks, afterSteps: 8, do: InterruptedRun.kill)
      }
      let last = try cut.start("--resume --memory-budget 4GB", ranks: 4)
      #expect(last.status == 0, "\(last.standardError)")
      let many = try InterruptedRun("\(Self.standard) --seed 7")
      _ = try many.start("", ranks: 4)
      let (one, four, other) = (try whole.parameters(), try many.parameters(), try cut.parameters())
      let (apart, distance) = (Self.distance(one, four), min(Self.distance(one, other), Self.distance(four, other)))
      #expect(distance <= 2 * apart && apart < 1e-3, "\(distance); uninterrupted runs: \(apart)")
    }

    /// Relative L2.
    private static func distance(_ one: [Double], _ other: [Double]) -> Double {
      let difference = zip(one, other).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      return (difference / one.reduce(0) { $0 + $1 * $1 }).squareRoot()
    }

    /// Cut off at many points and finished on the same ranks, the same bits; on others, no farther than uninterrupted runs are from each other, and
    /// closer than 1e-4. With AdamW rounding alone takes uninterrupted runs on other ranks farther apart than that in so many steps: a gradient near 0
    /// makes a whole step in one direction or the other. `DP_MPIRUN_RESUME_POINTS` says at how many points (default 2).
    @Test(arguments: [("--optimizer sgd --momentum 0.9 --learning-rate 0.02", 1e-4), ("--optimizer adamw --learning-rate 0.001", 1e-3)])
    func whereverItIsCutOff(optimizer: String, most: Double) throws {
      let points = ProcessInfo.processInfo.environment["DP_MPIRUN_RESUME_POINTS"].flatMap(Int.init) ?? 2
      let options = "\(Self.standard) --seed 17 \(optimizer)"
      var whole: [Int: [Double]] = [:]
      for ranks in [1, 2, 3] {
        let run = try InterruptedRun(options)
        _ = try run.start("", ranks: ranks)
        whole[ranks] = try run.parameters()
      }
      let (one, two, three) = (try #require(whole[1]), try #require(whole[2]), try #require(whole[3]))
      let apart = [Self.distance(one, two), Self.distance(two, three), Self.distance(one, three)].max() ?? 0
      var farthest = 0.0
      for point in 0..<points {
        let (same, other) = (try InterruptedRun(options), try InterruptedRun(options))
        let step = 1 + point * 150 / max(1, points)
        let ranks = [2, 3, 1][point % 3]
        _ = try finish(same, ranks: [ranks], killAfter: [step])
        #expect(try same.parameters() == whole[ranks], "cut off behind step \(step) of \(ranks) ranks")
        _ = try finish(other, ranks: [ranks, ranks % 3 + 1], killAfter: [step])
        let parameters = try other.parameters()
        let distances = [one, two, three].map { Self.distance(parameters, $0) }
        farthest = max(farthest, distances.min() ?? 1)
        #expect(distances.max() ?? 1 <= most && distances.min() ?? 1 <= 2 * apart, "\(distances); uninterrupted runs: \(apart)")
      }
      print("\(optimizer), cut off at \(points) points: at most \(farthest) from an uninterrupted run; those are \(apart) from each other")
    }

    @Test func aPrivateRunWithASeedDrawsTheSameBatchesAndNoise() throws {
      let (whole, cut) = (try InterruptedRun("\(Self.ghost) --seed 8"), try InterruptedRun("\(Self.ghost) --seed 8"))
      _ = try whole.start("", ranks: 2)
      _ = try finish(cut, ranks: [2], killAfter: [8])
      #expect(try whole.model() == cut.model())
      let (before, after) = (try whole.lines("metrics.jsonl").last, try cut.lines("metrics.jsonl").last)
      let examples = { (line: Substring?) in try jsonObject(String(line ?? "{}"))["examples"] as? Int }
      #expect(try examples(before) == examples(after))
    }

    /// Every charge counts, whether its step is in the model or lost; ε is that of all of them.
    @Test func everyChargeCounts() throws {
      let run = try InterruptedRun(Self.ghost)
      let last = try finish(run, ranks: [2, 1, 3], killAfter: [8, 4])
      let ledger = try run.lines("checkpoints/ledger.jsonl").count
      let metrics = try run.lines("metrics.jsonl").count
      let privacy = try run.privacy()
      #expect(ledger >= metrics && metrics >= 80 && ledger > 80, "\(ledger) charges, \(metrics) steps")
      #expect(privacy.steps == ledger)
      let phase = try DPSGDPhase(samplingRate: 4.0 / 43, noiseMultiplier: 1, steps: ledger)
      let epsilon = try Accounting.epsilon(of: [phase], delta: 1.0 / 430, accountant: .rdp).upper
      let reported = try Report.decode(last.standardOutput).epsilon.value
      #expect(privacy.epsilon.value == epsilon && reported == epsilon)
      #expect(privacy.private && privacy.warnings.contains { $0.contains("they were lost when the run was cut off") }, "\(privacy.warnings)")
    }

    @Test func whileItRunsTheStatementIsAnUpperBound() throws {
      let run = try InterruptedRun(Self.ghost)
      _ = try run.start(afterSteps: 7, do: InterruptedRun.kill)
      #expect(try run.privacy().steps == 80)
      let charged = try run.lines("checkpoints/ledger.jsonl").count
      let step = try #require(run.checkpointSteps().last)
      _ = try run.start(afterSteps: 1, do: InterruptedRun.kill)
      #expect(try run.privacy().steps == charged + 80 - step, "what was lost, and what is still to come")
    }

    /// A fresh key: two that go on from one checkpoint draw other batches and other noise.
    @Test func theKeyIsNotRestored() throws {
      let run = try InterruptedRun(Self.ghost)
      let stopped = try run.start(afterSteps: 6, do: "kill -USR1 $job")
      try #require(stopped.status == ExitStatus.checkpointed, "\(stopped.standardError)")
      let other = try InterruptedRun(copyOf: run)
      #expect(try run.start().status == 0)
      #expect(try other.start().status == 0)
      #expect(try run.parameters() != other.parameters())
    }

    @Test func aRunThatIsDoneEndsAtOnce() throws {
      let run = try InterruptedRun(Self.ghost)
      let first = try run.start()
      #expect(first.status == 0, "a directory that isn't there: it starts")
      let files = try FileManager.default.subpathsOfDirectory(atPath: run.path).sorted()
      let dates = try files.map { try FileManager.default.attributesOfItem(atPath: "\(run.path)/\($0)")[.modificationDate] as? Date }
      let again = try run.start(ranks: 2)
      #expect(again.status == 0 && again.standardOutput == first.standardOutput, "\(again.standardError)")
      #expect(try FileManager.default.subpathsOfDirectory(atPath: run.path).sorted() == files)
      #expect(try files.map { try FileManager.default.attributesOfItem(atPath: "\(run.path)/\($0)")[.modificationDate] as? Date } == dates)
      #expect(try run.start("").status == ExitStatus.refused, "without --resume nothing goes on")
    }

    @Test func whatShapesTheResultMustBeAsItWas() throws {
      let directory = try TemporaryDirectory()
      let others = try directory.file("others.txt", "one\ntwo\nthree\nfour\nfive\nsix\n")
      let options = "--learning-rate 0.002 --mode ghost --clipping flat --max-grad-norm 1 --optimizer adamw --schedule constant --warmup 0 --trainable all "
      let command = Self.ghost + " " + options
      let run = try InterruptedRun(command)
      #expect(try run.start(afterSteps: 6, do: "kill -TERM $job").status == ExitStatus.checkpointed)
      let before = try FileManager.default.subpathsOfDirectory(atPath: run.path).sorted()
      let changes: [(String, String, [String])] = [
        ("--learning-rate 0.002", "--learning-rate 0.003", ["--learning-rate", "0.002", "0.003"]),
        ("--mode ghost", "--mode hooks", ["--mode", "ghost", "hooks"]),
        ("--clipping flat", "--clipping per-layer", ["--clipping", "flat", "per-layer"]),
        ("--max-grad-norm 1", "--max-grad-norm 2", ["--max-grad-norm", "1.0", "2.0"]),
        ("--noise-multiplier 1", "--noise-multiplier 2", ["--noise-multiplier", "1.0", "2.0"]),
        ("--noise-multiplier 1", "--target-epsilon 9", ["--noise-multiplier", "not given"]),
        ("--batch-size 4", "--batch-size 5", ["--batch-size", "4", "5"]),
        ("--warmup 0", "--warmup 3", ["--warmup", "0", "3"]), ("--schedule constant", "--schedule linear", ["--schedule", "constant", "linear"]),
        ("--optimizer adamw", "--optimizer sgd", ["not given"]), ("--trainable all", "--trainable bias", ["--trainable", "all", "bias"]),
        ("--seq-len 16", "--seq-len 15", ["--seq-len", "SHA-256"]), ("--accountant rdp", "--accountant pld", ["--accountant", "rdp", "pld"]),
        ("--model \(Fixture.model)", "--model tiny", ["--model", "tiny"]), ("--data \(Fixture.records)", "--data \(others)", ["--data"]),
        ("--steps 80", "--steps 79", ["--steps", "80", "79"]), ("--trainable all", "--seed 5", ["--seed", "none", "5"]),
        ("--trainable all", "--base-is-public", ["--base-is-public", "false", "true"]),
        ("--trainable all", "--dataset-size 50", ["--dataset-size", "43", "50"]), ("--trainable all", "--spent 0.1:1:5", ["spent", "0.1:1.0:5"]),
      ]
      for change in changes {
        let changed = command.replacing(change.0 + " ", with: change.1 + " ").split(separator: " ").map(String.init)
        let outcome = try Program.run(changed + ["--resume", "--output", run.path])
        #expect(outcome.status == ExitStatus.refused, "\(change.1): \(outcome.status) \(outcome.standardError)")
        #expect(outcome.errorLines.count == 1, "\(outcome.standardError)")
        for word in change.2 { #expect(outcome.errorLines.first?.contains(word) == true, "\(change.1): \(word) in \(outcome.errorLines)") }
      }
      #expect(try FileManager.default.subpathsOfDirectory(atPath: run.path).sorted() == before, "a refusal touches nothing")
      #expect(try run.start().status == 0, "and the run goes on")
    }
  }
}
