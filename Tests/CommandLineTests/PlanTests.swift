import DistEngine
import Foundation
import PrivacyAccounting
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// `plan` says what `train` does, before it does it.
  @Suite struct PlanTests {
    private static let noise = ["--noise-multiplier", "1", "--accountant", "rdp", "--batch-size", "8", "--data", Fixture.records]

    /// What `plan --json` prints, in part.
    private struct Plan: Decodable {
      let plannedMb, nodePlannedMb, noiseMultiplier, flopsPerStep, flopsPerToken: Double
      let parameters, ranks, ranksPerNode, steps, microbatchExamples, microbatchRows: Int
      let epsilon: ExtendedReal
      let delta: Double?
      let `private`, keepsOnlyExample: Bool
      let categoriesMb: [String: Double]
      let norms: [Norm]

      struct Norm: Decodable {
        let inputs, outputs, gramUpToTargets: Int
        let gramSeconds, instantiateSeconds: Double
      }
    }

    private func plan(_ arguments: [String]) throws -> Plan {
      let outcome = try Program.run(["plan", "--json"] + arguments)
      try #require(outcome.status == 0, "\(arguments): \(outcome.standardError)")
      #expect(outcome.standardError == "")
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      return try decoder.decode(Plan.self, from: Data(outcome.standardOutput.utf8))
    }

    @Test(arguments: TrainingMode.allCases)
    func aRunNeedsAndSpendsWhatItsPlanSays(mode: TrainingMode) throws {
      var options = "--mode \(mode.rawValue) --seq-len 32 --steps 2 --batch-size 8 --microbatch 4 --seed 1"
      if mode.isPrivate { options += " --target-epsilon 3 --accountant rdp" }
      let planned = try plan(options.split(separator: " ").map(String.init) + ["--data", Fixture.records])
      let run = try TrainingRun(options)
      let report = try run.report()
      #expect(planned.plannedMb == report.plannedMb[0])
      #expect(planned.parameters == report.parameters && planned.steps == report.steps)
      #expect(planned.noiseMultiplier == report.noiseMultiplier)
      #expect(planned.delta == report.delta && planned.epsilon == report.epsilon)
      #expect(!planned.private, "a seed is known, and standard isn't private")
      let microbatch = try #require(try run.object("run.json")["microbatch"] as? [String: Int])
      #expect(microbatch == ["examples": planned.microbatchExamples, "rows": planned.microbatchRows])
      // Beyond the program itself: libraries touch some memory of their own.
      let beyond = report.peakRssMb[0] - report.baselineRssMb[0]
      #expect(beyond > 0.7 * planned.plannedMb && beyond < planned.plannedMb + 16, "\(beyond) of \(planned.plannedMb) MB")
    }

    @Test func nodesHoldTheirRanksCopies() throws {
      // Without it, a rank alone plans for all cores.
      let options = Self.noise + ["--threads", "1"]
      let one = try plan(options)
      #expect(one.nodePlannedMb == one.plannedMb && one.ranks == 1 && one.ranksPerNode == 1)
      let copies = options + ["--shard", "none"]
      let four = try plan(copies + ["--ranks", "8", "--ranks-per-node", "4"])
      #expect(four.plannedMb == one.plannedMb && four.nodePlannedMb == 4 * one.plannedMb)
      #expect(try plan(copies + ["--ranks", "8"]).nodePlannedMb == 8 * one.plannedMb)
    }

    /// By default the ranks of a node share one model: it is counted once, and sum and moments are in slices.
    @Test func nodesHoldTheirRanksSharedModelOnce() throws {
      let options = Self.noise + ["--model", "small", "--ranks", "4"]
      let (shared, copies) = (try plan(options), try plan(options + ["--shard", "none"]))
      let parameters = copies.categoriesMb["parameters"]!
      #expect(shared.categoriesMb["parameters"] == parameters)
      #expect(abs(shared.categoriesMb["gradients"]! - parameters / 4) < 1)
      #expect(abs(shared.categoriesMb["optimizer state"]! - 2 * parameters / 4) < 1)
      #expect(abs(4 * (shared.plannedMb - parameters) + parameters - shared.nodePlannedMb) < 1e-6)
      #expect(shared.nodePlannedMb < 0.5 * copies.nodePlannedMb)
    }

    /// Nothing is allocated: a plan of many gigabytes takes no more than a small one.
    @Test(arguments: ModelPreset.allCases, TrainingMode.allCases)
    func everyPresetIsPlanned(preset: ModelPreset, mode: TrainingMode) throws {
      let noise = mode.isPrivate ? ["--noise-multiplier", "1", "--accountant", "rdp"] : []
      let planned = try plan(
        ["--model", preset.rawValue, "--mode", mode.rawValue, "--batch-size", "8", "--seq-len", "64"] + noise
          // An encoder classifies.
          + (preset.configuration.isEncoder ? ["--label-field", "label"] : ["--data", Fixture.records]))
      let parameters = preset.configuration.parameterCount
      // AdamW: parameters, gradient sum, two moments.
      #expect(planned.plannedMb > 16 * Double(parameters) / Double(1 << 20))
      #expect(planned.categoriesMb.values.reduce(0, +) <= planned.plannedMb)
      #expect(planned.categoriesMb["optimizer state"] == 2 * planned.categoriesMb["parameters"]!)
      let tables = (preset.configuration.vocabularySize + (preset.configuration.isEncoder ? preset.configuration.positions : 0)) * preset.configuration.width
      #expect(planned.flopsPerToken > 5 * Double(parameters - tables))
      #expect(planned.norms.isEmpty == (mode != .ghost))
      for norm in planned.norms { #expect(norm.gramSeconds > 0 && norm.instantiateSeconds > 0 && norm.gramUpToTargets >= 0) }
    }

    @Test func aBudgetChangesTheChoices() throws {
      let options = Self.noise + ["--model", "seed-medium", "--microbatch", "1"]
      #expect(try !plan(options + ["--memory-budget", "0%"]).keepsOnlyExample)
      #expect(try plan(options + ["--memory-budget", "100%"]).keepsOnlyExample)
    }

    /// A way that is faster today may not be tomorrow, and rounds otherwise.
    @Test func withASeedNothingHangsOnTimings() throws {
      #expect(try !plan(Self.noise).norms.isEmpty)
      #expect(try plan(Self.noise + ["--seed", "1"]).norms.isEmpty)
    }

    /// What a plan counts of the private records is named, and is there under its name.
    @Test func whatTheGuaranteeDoesNotCoverIsNamed() throws {
      let outcome = try Program.run(["plan", "--json"] + Self.noise)
      let plan = try jsonObject(outcome.standardOutput)
      let named = try #require(plan["not_covered_by_guarantee"] as? [String])
      #expect(Set(named).count == named.count)
      for key in named { #expect(plan[key] != nil, "\(key)") }
      for key in ["training_records", "sequence_length", "microbatch_examples", "microbatch_rows", "planned_mb", "flops_per_step", "norms"] {
        #expect(named.contains(key), "\(key) is of the records")
      }
      for key in ["epsilon", "delta", "noise_multiplier", "private", "parameters", "steps", "batch_size"] {
        #expect(!named.contains(key) && plan[key] != nil, "\(key) is covered")
      }
    }

    @Test func timeIsPredictedWhereItIsAskedFor() throws {
      let options = ["plan", "--json"] + Self.noise + ["--threads", "1"]
      let without = try jsonObject(Program.run(options).standardOutput)
      #expect(without["time"] is NSNull)
      let outcome = try Program.run(options + ["--link", "1", "--ranks", "4", "--ranks-per-node", "2"])
      #expect(outcome.status == 0, "\(outcome.standardError)")
      let plan = try jsonObject(outcome.standardOutput)
      let time = try #require(plan["time"] as? [String: Any])
      #expect(time["nodes"] as? Int == 2 && time["ranks_per_node"] as? Int == 2 && time["link_gbit"] as? Double == 1 && time["latency_us"] as? Double == 50)
      let (seconds, parts) = (try #require(time["seconds_per_step"] as? Double), try #require(time["parts_seconds"] as? [String: Double]))
      #expect(parts.count == 7 && abs(parts.values.reduce(0, +) - seconds) < 1e-9)
      let table = try #require(time["table"] as? [[String: Any]])
      #expect(table.compactMap { $0["ranks"] as? Int } == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
      #expect(table[0]["efficiency"] as? Double == 1)
      // 8 records expected.
      #expect(try #require(time["stops_scaling_at_ranks"] as? Int) <= 16 && time["limited_by"] is String)
      #expect((plan["not_covered_by_guarantee"] as? [String])?.contains("time") == true)
      let text = try Program.run(["plan", "--time"] + Self.noise).standardOutput
      for wanted in ["Time, predicted:", "tokens a second", "products and kernels", "efficiency", "--link GBIT"] {
        #expect(text.contains(wanted), "\(wanted) in \(text)")
      }
    }

    @Test(
      arguments: [
        (["--link", "0"], "--link 0.0: must be a number above 0"), (["--link=-1"], "--link -1.0: must be"), (["--link", "nan"], "--link nan: must be"),
        (["--link", "inf"], "--link inf: must be"), (["--link", "1", "--latency=-5"], "--latency -5.0: must be 0 or a number above it"),
        (["--link", "1", "--latency", "nan"], "--latency nan: must be"), (["--latency", "5"], "--latency is for --link"),
        (["--time", "--ranks", "4", "--ranks-per-node", "2"], "--time: 4 ranks on nodes of 2 need --link GBIT"),
      ] as [([String], String)])
    func whatCannotBePredictedIsRefused(arguments: [String], line: String) throws {
      let outcome = try Program.run(["plan"] + arguments + Self.noise)
      #expect(outcome.status == 64 && outcome.standardOutput == "")
      #expect(outcome.standardError.hasPrefix("Error: \(line)") && outcome.standardError.split(separator: "\n").count == 1, "\(outcome.standardError)")
    }

    @Test func peopleGetTheSame() throws {
      let outcome = try Program.run(["plan", "--model", "seed-medium", "--ranks", "2"] + Self.noise)
      #expect(outcome.status == 0, "\(outcome.standardError)")
      let wanted = ["parameters", "optimizer state", "gradient sum", "epsilon", "a node of 2 ranks", "512 x 1536", "FLOP a step"]
      for text in wanted { #expect(outcome.standardOutput.contains(text), "\(text) in \(outcome.standardOutput)") }
    }
  }
}
