import Crypto
import DistEngine
import Foundation
import PrivacyAccounting
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// What a start model has seen is carried into what is made from it.
  @Suite struct StartModelTests {
    private static let noise = "--batch-size 6 --accountant rdp --noise-multiplier 1"
    private static let q = 6.0 / Double(Fixture.recordCount)
    private static let standard = "--mode standard --batch-size 6"

    private func phase(_ steps: Int, sigma: Double = 1) throws -> DPSGDPhase {
      try DPSGDPhase(samplingRate: Self.q, noiseMultiplier: sigma, steps: steps)
    }

    private func epsilon(_ phases: DPSGDPhase...) throws -> Double {
      try Accounting.epsilon(of: phases, delta: 1.0 / (10 * Double(Fixture.recordCount)), accountant: .rdp).upper
    }

    private func spent(_ run: TrainingRun) throws -> [DPSGDPhase] {
      let value = try #require(try run.object("privacy.json")["spent"])
      return try JSONDecoder().decode([DPSGDPhase].self, from: JSONSerialization.data(withJSONObject: value))
    }

    private func fixtureLines() throws -> [ArraySlice<UInt8>] {
      try FileBytes.read(Fixture.records).split(separator: UInt8(ascii: "\n"))
    }

    private func file(_ lines: [ArraySlice<UInt8>], _ directory: TemporaryDirectory, _ name: String) throws -> String {
      try directory.file(name, Array(lines.joined(separator: [UInt8(ascii: "\n")])) + [UInt8(ascii: "\n")])
    }

    /// As many records as the fixture has, none of them the fixture's.
    private func otherRecords(_ directory: TemporaryDirectory) throws -> String {
      try file(fixtureLines().map { Array("not ".utf8)[...] + $0 }, directory, "other.txt")
    }

    /// Data that have some record of the fixture's.
    private func overlaps(_ directory: TemporaryDirectory) throws -> [String] {
      let (lines, others) = (try fixtureLines(), try fixtureLines().map { Array("not ".utf8)[...] + $0 })
      return [
        try file(lines + [Array("one more".utf8)[...]], directory, "plus-one.txt"),
        try file(Array(lines[(lines.count / 2)...]), directory, "half.txt"),
        try file(others + [lines[0]], directory, "one-of-them.txt"),
        try file(lines.reversed(), directory, "another-order.txt"),
      ]
    }

    /// A model as it is passed on, without the directory of the run that made it.
    private func released(_ model: String, _ directory: TemporaryDirectory, name: String = "released") throws -> String {
      try FileManager.default.copyItem(atPath: model, toPath: "\(directory.path)/\(name)")
      return "\(directory.path)/\(name)"
    }

    private func edit(_ model: String, _ change: (inout [String: Any]) -> Void) throws {
      let path = "\(model)/privacy.json"
      var fields = try jsonObject(String(contentsOfFile: path, encoding: .utf8))
      change(&fields)
      try JSONSerialization.data(withJSONObject: fields).write(to: URL(filePath: path))
    }

    /// The attack: a model that knows its records by heart, and a private step that changes nothing.
    @Test func whatWasTrainedWithoutPrivacyDoesNotBecomePrivate() throws {
      let directory = try TemporaryDirectory()
      let first = try TrainingRun(Self.standard)
      let step = "\(Self.noise) --steps 1 --learning-rate 0"
      for model in [first.model, try released(first.model, directory)] {
        let run = try TrainingRun(step, model: model, ranks: 2)
        let statement = try run.privacy()
        #expect(!statement.private && statement.epsilon.value == .infinity)
        #expect(statement.warnings.contains { $0.contains("start model") && $0.contains("NOT private") }, "\(statement.warnings)")
        let report = try jsonObject(run.outcome.standardOutput)
        #expect(report["private"] as? Bool == false && report["epsilon"] as? String == "inf")
        #expect(try run.lines("metrics.jsonl").last?.contains("\"epsilon\":\"inf\"") == true)
        #expect(run.outcome.standardError.contains("NOT private"))
      }
      for (model, isKnown) in [(first.model, true), ("\(directory.path)/released", false)] {
        let assumed = try TrainingRun("\(step) --base-is-public", model: model).privacy()
        #expect(assumed.private && assumed.epsilon.value.isFinite)
        #expect(assumed.warnings.contains { $0.contains("--base-is-public") && $0.contains("say otherwise") == isKnown }, "\(assumed.warnings)")
      }

      // On other data the run is private, and what it started from says its part; back on the first data it isn't.
      let apart = try TrainingRun(step, model: first.model, data: otherRecords(directory))
      let other = try apart.privacy()
      #expect(other.private && other.warnings.contains { $0.contains("without privacy on data that have no record") }, "\(other.warnings)")
      let back = try TrainingRun(step, model: apart.model).privacy()
      #expect(!back.private, "the model's own start is not forgotten")
    }

    /// The same attack on data that aren't quite the same: any record in both is enough.
    @Test func aRecordInBothSetsIsEnough() throws {
      let directory = try TemporaryDirectory()
      let (exposed, spending) = (try TrainingRun(Self.standard), try TrainingRun("\(Self.noise) --steps 2"))
      let step = "\(Self.noise) --steps 1 --learning-rate 0"
      let two = try phase(2)
      for data in try overlaps(directory) {
        let statement = try TrainingRun(step, model: exposed.model, data: data).privacy()
        #expect(!statement.private && statement.epsilon.value == .infinity, "\(data)")
        #expect(try spent(TrainingRun(step, model: spending.model, data: data)) == [two], "\(data)")
      }
      // A set of which a part is missing is apart from nothing.
      let seen = "\(exposed.path)/seen"
      let name = try #require(FileManager.default.contentsOfDirectory(atPath: seen).first)
      let other = try otherRecords(directory)
      #expect(try TrainingRun(step, model: exposed.model, data: other).privacy().private)
      try AtomicFile.write(Array(FileBytes.read("\(seen)/\(name)").dropLast(8)), to: "\(seen)/\(name)")
      #expect(try !TrainingRun(step, model: exposed.model, data: other).privacy().private)
    }

    /// What was taken for granted of one run's records isn't of another's that are known to be among what the model has seen.
    @Test func whatIsTakenForGrantedIsOfOneRunsRecords() throws {
      let directory = try TemporaryDirectory()
      let step = "\(Self.noise) --steps 1 --learning-rate 0"
      let first = try TrainingRun(Self.standard)
      let apart = try TrainingRun("\(step) --base-is-public", model: first.model, data: otherRecords(directory))
      #expect(try apart.privacy().private)
      #expect(try !TrainingRun(step, model: apart.model).privacy().private)
      // Where nothing says that it is wrong it holds on.
      let copied = try released(apart.model, directory)
      let next = try TrainingRun(step, model: copied).privacy()
      #expect(next.private && next.warnings.contains { $0.contains("takes for granted") }, "\(next.warnings)")
    }

    @Test func whatAPrivateModelSpentIsComposed() throws {
      let directory = try TemporaryDirectory()
      let first = try TrainingRun("\(Self.noise) --steps 2")
      let second = try TrainingRun("\(Self.noise) --steps 3 --log-every 1", model: first.model, ranks: 2)
      let two = try phase(2)
      #expect(try spent(second) == [two])
      let total = try epsilon(phase(2), phase(3))
      let statement = try second.privacy()
      #expect(statement.private && statement.steps == 3 && abs(statement.epsilon.value - total) < 1e-9 * total)
      let logged = [try epsilon(phase(2), phase(1)), try epsilon(phase(2), phase(2)), total]
      #expect(try second.metrics().map { $0.epsilon ?? 0 } == logged)
      #expect(statement.warnings.contains { $0.contains("epsilon includes") }, "\(statement.warnings)")

      // Copied away nothing can be compared, and all counts.
      let third = try TrainingRun("\(Self.noise) --steps 1", model: released(second.model, directory))
      let three = try phase(3)
      #expect(try spent(third) == [two, three])

      // On other data nothing of it counts.
      let apart = try TrainingRun("\(Self.noise) --steps 1", model: second.model, data: otherRecords(directory))
      #expect(try spent(apart).isEmpty)
      let other = try apart.privacy()
      #expect(other.private && other.warnings.contains { $0.contains("isn't in epsilon") }, "\(other.warnings)")

      // A target is for all that was spent.
      let target = "--batch-size 6 --accountant rdp --target-epsilon 8 --steps 2"
      let (fresh, further) = (try TrainingRun(target).report(), try TrainingRun(target, model: first.model).report())
      #expect(further.noiseMultiplier > 1.002 * fresh.noiseMultiplier, "\(further.noiseMultiplier) after \(fresh.noiseMultiplier)")
      #expect(further.epsilon.value <= 8 && further.epsilon.value > 7.5, "\(further.epsilon.value)")
    }

    @Test func theReleasedCopyNamesItsStartAndHoldsNothingOfTheRecords() throws {
      let first = try TrainingRun("\(Self.noise) --steps 1")
      let second = try TrainingRun("\(Self.noise) --steps 1", model: first.model)
      let statement = try second.object("model/privacy.json")
      let inTheRun = try second.object("privacy.json")
      #expect(NSDictionary(dictionary: statement) == NSDictionary(dictionary: inTheRun))
      let start = try #require(statement["start_model"] as? [String: Any])
      let weights = SHA256.hash(data: try FileBytes.read("\(first.model)/model.safetensors"))
      #expect(start["sha256"] as? String == weights.map { String(format: "%02x", $0) }.joined())
      let (own, before) = (try #require(statement["run_id"] as? String), try #require(try first.object("privacy.json")["run_id"] as? String))
      #expect((start["statement"] as? [String: Any])?["run_id"] as? String == before && own != before && own.count == 32)

      let fingerprints = try #require(try second.object("run.json")["data_fingerprints"] as? [String: String])
      #expect(Set(fingerprints.keys) == [own, before] && fingerprints[own] == fingerprints[before])
      let released = try FileManager.default.subpathsOfDirectory(atPath: second.model)
      #expect(Set(released) == ["config.json", "model.safetensors", "privacy.json"])
      for path in ["\(second.model)/privacy.json", "\(second.path)/privacy.json"] {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(!text.contains(fingerprints[own]!))
      }
      // Its user alone may read which records it was: once for both runs, which saw the same.
      let seen = "\(second.path)/seen"
      #expect(try FileManager.default.contentsOfDirectory(atPath: seen) == [fingerprints[own]!])
      for (path, permissions) in [(seen, 0o700), ("\(seen)/\(fingerprints[own]!)", 0o600)] {
        #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == permissions)
      }
    }

    @Test func withoutAStatementTheModelsOwnTrainingIsNotCovered() throws {
      let statement = try TrainingRun("\(Self.noise) --steps 1", model: Fixture.model).privacy()
      #expect(statement.private && statement.warnings.contains { $0.contains("no privacy.json") }, "\(statement.warnings)")
    }

    @Test func whatTheUserSaysWasSpentIsComposed() throws {
      let options = "\(Self.noise) --steps 2 --spent \(Self.q):1:4 --spent \(Self.q):2:1"
      let run = try TrainingRun(options)
      let total = try epsilon(phase(4), phase(1, sigma: 2), phase(2))
      let stated = try run.privacy().epsilon.value
      #expect(abs(stated - total) < 1e-9 * total)
      let (four, one) = (try phase(4), try phase(1, sigma: 2))
      #expect(try spent(run) == [four, one])
      let plan = try Program.run(["plan", "--json", "--data", Fixture.records] + options.split(separator: " ").map(String.init))
      let planned = try jsonObject(plan.standardOutput)["epsilon"] as? Double ?? 0
      #expect(abs(planned - total) < 1e-9 * total, "\(plan.standardError)")
      // Both what the model says and what the user says, once each.
      let next = try TrainingRun("\(Self.noise) --steps 1 --spent \(Self.q):3:1", model: run.model)
      let all = [four, one, try phase(2), try phase(1, sigma: 3)]
      #expect(try spent(next) == all)
    }

    @Test func statementsThatSayTooLittleAreRefused() throws {
      let directory = try TemporaryDirectory()
      let run = try TrainingRun("\(Self.noise) --steps 1")
      func options(_ model: String, _ more: String = "") -> [String] {
        ["--model", model, "--data", Fixture.records, "--seq-len", "32", "--steps", "1", "--json"]
          + "\(Self.noise) \(more)".split(separator: " ").map(String.init)
      }
      func expectRefusal(_ arguments: [String], _ culprits: String...) throws {
        for ranks in [nil, 2] {
          let outcome = try Program.run(arguments, ranks: ranks)
          #expect(outcome.status == ExitStatus.refused, "\(arguments): \(outcome.standardError)")
          let errors = outcome.standardError.split(separator: "\n").filter { $0.hasPrefix("Error: ") }
          #expect(errors.count == 1 && culprits.allSatisfy { errors[0].contains($0) }, "\(outcome.standardError)")
        }
      }
      for (index, damage) in ["", "{", "[]", "{\"private\": 1}", "{\"epsilon\": 3}"].enumerated() {
        let model = try released(run.model, directory, name: "damaged\(index)")
        _ = try directory.file("damaged\(index)/privacy.json", damage)
        try expectRefusal(options(model), "\(model)/privacy.json")
      }
      for key in ["sampling_rate", "noise_multiplier", "steps", "spent"] {
        let model = try released(run.model, directory, name: key)
        try edit(model) { $0[key] = nil }
        try expectRefusal(options(model), "\(model)/privacy.json", key, "--spent")
      }
      let model = "\(directory.path)/steps"
      for more in ["--spent \(Self.q):1:1", "--base-is-public"] {
        let outcome = try Program.run(options(model, more))
        #expect(outcome.status == 0, "\(outcome.standardError)")
        #expect(try jsonObject(outcome.standardOutput)["private"] as? Bool == true)
        #expect(outcome.standardError.contains("taken for granted"))
      }
      let usage = [
        ["--spent", "1:2"], ["--spent", "2:1:1"], ["--base-is-public", "--model", "tiny"], ["--mode", "standard", "--spent", "0.1:1:1"],
      ]
      for arguments in usage {
        let outcome = try Program.run(arguments + ["--data", Fixture.records])
        #expect(outcome.status == ExitStatus.usage && outcome.standardError.contains(arguments[0]), "\(outcome.standardError)")
      }
    }
  }
}
