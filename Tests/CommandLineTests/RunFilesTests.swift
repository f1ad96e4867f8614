import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// What a run prints and leaves behind.
  @Suite struct RunFilesTests {
    private static let options = "--batch-size 6 --accountant rdp --noise-multiplier 1"

    private func expectLedger(_ run: TrainingRun, steps: Int) throws {
      struct Charge: Decodable {
        let step: Int
        let sampling_rate, noise_multiplier: Double
      }
      let charges = try run.lines("checkpoints/ledger.jsonl").map { try JSONDecoder().decode(Charge.self, from: Data($0.utf8)) }
      #expect(charges.map(\.step) == Array(0..<steps), "one charge a step")
      #expect(charges.allSatisfy { $0.sampling_rate == 6.0 / 43 && $0.noise_multiplier == 1 })
    }

    @Test func privateRunWithoutASeed() throws {
      let directory = try TemporaryDirectory()
      let heldOut = try directory.file("held-out.txt", [UInt8](Data(contentsOf: URL(filePath: Fixture.records))))
      let run = try TrainingRun(Self.options, "--steps 7", more: ["--eval-data", heldOut], ranks: 2)

      #expect(Set(try jsonObject(run.outcome.standardOutput).keys) == Report.keys, "standard output is one object with every key")
      let report = try run.report()
      #expect(report.mode == "ghost" && report.ranks == 2 && report.steps == 7 && report.output == run.path)
      #expect(report.epsilon.value > 0 && report.epsilon.value < 50)
      #expect(report.delta == 1.0 / 430)
      #expect(report.noiseMultiplier == 1 && report.parameters == 462_464 && report.parametersL2 > 0)
      #expect(report.tokens > 0 && report.tokensPerSecond > 0 && report.stepSecondsMedian > 0 && report.secondsPerToken > 0)
      #expect(report.evalLoss.map { (1..<6).contains($0) } == true)
      #expect(report.lossFirst.map { (1..<6).contains($0) } == true && report.lossLast != nil)
      #expect(report.peakRssMb.count == 2 && report.plannedMb.count == 2 && report.nodePssMb.count == 1)
      for (peak, planned) in zip(report.peakRssMb, report.plannedMb) { #expect(peak > planned && planned > 1) }
      #expect(report.nodePssMb.allSatisfy { $0 > 1 })

      let privacy = try run.privacy()
      #expect(privacy.private)
      #expect(privacy.epsilon == report.epsilon && privacy.delta == report.delta && privacy.steps == 7)
      #expect(privacy.unit == "record" && privacy.relation == "add-or-remove-one" && privacy.sampler == "poisson")
      #expect(privacy.samplingRate == 6.0 / 43 && privacy.noiseMultiplier == 1 && privacy.maxGradNorm == 1)
      #expect(privacy.clipping == "flat" && privacy.accountant == "rdp")
      #expect(privacy.warnings.contains { $0.contains("--dataset-size") }, "the size is treated as public: \(privacy.warnings)")

      let metrics = try run.metrics()
      #expect(metrics.map(\.step) == Array(0..<7), "one line a step")
      #expect(metrics.allSatisfy { $0.computedWithoutNoise?.contains("loss") == true }, "marked as computed without noise")
      #expect(metrics.last?.epsilon == report.epsilon.value)
      try expectLedger(run, steps: 7)

      let description = try run.object("run.json")
      let stated = [
        "version", "blas", "ranks", "hosts", "mode", "model", "data", "batch_size", "recompute", "steps", "noise_multiplier",
        "optimizer",
      ]
      for key in stated {
        #expect(description[key] != nil, "run.json states \(key)")
      }
    }

    @Test func modelOfARunIsEvaluatedSampledAndTrainedFurther() throws {
      let first = try TrainingRun("--mode standard --batch-size 20 --steps 15 --learning-rate 0.01 --seed 1")
      let evaluate = try Program.run(["evaluate", "--model", first.model, "--data", Fixture.records, "--json"], ranks: 2)
      #expect(evaluate.status == 0, "\(evaluate.standardError)")
      let evaluation = try jsonObject(evaluate.standardOutput)
      let loss = try #require(evaluation["loss"] as? Double)
      #expect(loss < 4, "\(loss) nats: less than the 5.55 of a fresh model")
      #expect((evaluation["perplexity"] as? Double).map { abs($0 - exp(loss)) < 1e-6 * exp(loss) } == true)
      let alone = try Program.run(["evaluate", "--model", first.model, "--data", Fixture.records, "--json"])
      let same = try #require(try jsonObject(alone.standardOutput)["loss"] as? Double)
      #expect(abs(loss - same) < 1e-6 * loss, "two ranks find the loss that one finds")

      let generate = ["generate", "--model", first.model, "--prompt", "Call ", "--tokens", "20", "--seed", "4"]
      let text = try Program.run(generate)
      #expect(text.status == 0 && text.standardOutput.hasPrefix("Call "), "\(text.standardError)")
      let again = try Program.run(generate, ranks: 2)
      #expect(again.standardOutput == text.standardOutput, "the same seed samples the same text, once")

      let second = try TrainingRun("--mode standard --batch-size 20 --steps 3 --seed 2", model: first.model)
      #expect(try second.report().lossFirst ?? 9 < 4.2, "goes on from where the first ended")
      let unmoved = try TrainingRun("--mode standard --batch-size 20 --steps 0", model: first.model)
      #expect(try unmoved.parameters() == first.parameters(), "no step, no change")
    }

    /// A run without privacy must not look like one with it.
    @Test(
      arguments: [
        ("--noise-multiplier 1 --seed 3", "--seed", true), ("--noise-multiplier 0", "noise multiplier is 0", false),
        ("--mode standard", "--mode standard", false),
      ] as [(String, String, Bool)])
    func runThatIsNotPrivateSaysSo(options: String, warning: String, hasFiniteEpsilon: Bool) throws {
      let run = try TrainingRun("--batch-size 6 --steps 2 \(options)")
      let privacy = try run.privacy()
      #expect(!privacy.private)
      #expect(privacy.warnings.contains { $0.contains(warning) && $0.contains("NOT private") }, "\(privacy.warnings)")
      #expect(run.outcome.standardError.contains("NOT private"), "and so does the log")
      #expect(privacy.epsilon.value.isFinite == hasFiniteEpsilon)
      let report = try jsonObject(run.outcome.standardOutput)
      #expect(Set(report.keys) == Report.keys)
      #expect((report["epsilon"] as? String == "inf") == !hasFiniteEpsilon, "infinity is the string inf")
      #expect(report["eval_loss"] is NSNull, "null without held-out data")
      #expect(try run.object("run.json")["reproducible"] as? Bool == options.contains("--seed"))
      let files = try run.object("privacy.json")
      for key in [
        "epsilon", "unit", "relation", "sampler", "sampling_rate", "noise_multiplier", "steps", "private", "warnings",
      ] { #expect(files[key] != nil, "privacy.json states \(key)") }
    }

    @Test func bytesThatAreNoTextAreTrainedOnAsBytes() throws {
      let directory = try TemporaryDirectory()
      let lines: [[UInt8]] = [[0x80, 0xFF, 0xFE], [0xC3], [0x00, 0x01], Array("plain".utf8), [0xED, 0xA0, 0x80], []]
      let data = try directory.file("bytes.txt", lines.flatMap { $0 + [10] })
      let run = try TrainingRun("--batch-size 6 --steps 1 --noise-multiplier 1 --accountant rdp", data: data)
      #expect(try run.metrics().first?.examples == 6, "all records, with sampling rate 1")
      // Targets of a record: its bytes and the end of text.
      #expect(try run.report().tokens == lines.reduce(0) { $0 + $1.count + 1 })
    }

    @Test func summaryIsForPeopleAndNothingIsWrittenWithoutOutput() throws {
      let directory = try TemporaryDirectory()
      let options = "\(Self.options) --seq-len 32 --steps 2".split(separator: " ").map(String.init)
      let arguments = ["--data", Fixture.records] + options
      let outcome = try MPILauncher(built: "dp-mpirun").run(arguments, ranks: 2, directory: URL(filePath: directory.path))
      #expect(outcome.status == 0, "\(outcome.standardError)")
      for word in ["epsilon", "delta", "tokens/s", "peak memory"] { #expect(outcome.standardOutput.contains(word), "\(word)") }
      #expect(outcome.outputLines.filter { $0.hasPrefix("mode") }.count == 1, "printed by one rank")
      #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == [])
    }

    /// The default path: no σ, no ε, no data. The held-out tenth is evaluated, and the budget kept.
    @Test func defaultsSpendAtMostEpsilonEight() throws {
      let outcome = try Program.run(["--steps", "3", "--seq-len", "32", "--batch-size", "16", "--json"])
      try #require(outcome.status == 0, "\(outcome.standardError)")
      let report = try Report.decode(outcome.standardOutput)
      #expect(report.epsilon.value <= 8 && report.epsilon.value > 6, "\(report.epsilon.value)")
      #expect(report.steps == 3 && report.noiseMultiplier > 0 && report.evalLoss != nil && report.output == nil)
      #expect(try jsonObject(outcome.standardOutput)["output"] is NSNull)
      #expect(outcome.standardError.contains("unigram entropy"))
    }

    @Test func budgetIsNeverExceeded() throws {
      let run = try TrainingRun("--batch-size 6 --steps 5 --target-epsilon 3 --accountant rdp --mode hooks", ranks: 2)
      let report = try run.report()
      #expect(report.epsilon.value <= 3 && report.epsilon.value > 2.5, "\(report.epsilon.value)")
      #expect(report.steps == 5 && report.noiseMultiplier > 0.3)
    }
  }
}
