import Crypto
import Foundation

/// What must hold of a run's directory after every start, whatever ended it. Files are read by this program's own means: nothing of the trainer is
/// trusted.
struct Checks {
  let run: Run
  let place: Place
  private(set) var failures: [String] = []

  init(_ run: Run, in place: Place) { (self.run, self.place) = (run, place) }

  private mutating func expect(_ holds: Bool, _ failure: String) {
    if !holds { failures.append(failure) }
  }

  /// - Parameters:
  ///   - before: from before the start.
  ///   - saysWhatWasSpent: whether the start ended in an orderly way, so that `privacy.json` says what the ledger says.
  mutating func look(before: Trail, now: Trail, saysWhatWasSpent: Bool) {
    checkLedger(before, now)
    expect(now.newestStep >= before.newestStep, "the newest checkpoint is of step \(now.newestStep) and was of \(before.newestStep)")
    expect(now.metricsLines >= before.metricsLines, "metrics.jsonl has \(now.metricsLines) lines and had \(before.metricsLines)")
    for step in Trail.checkpoints(of: run) { checkCheckpoint(step, charges: now.charges) }
    checkStatement(now.charges, isExact: saysWhatWasSpent)
    for name in ["run.json", "checkpoints/report.json", "model/config.json", "model/privacy.json"] where exists(name) { _ = object(name) }
    expect(!exists("model/model.safetensors") || exists("model/privacy.json"), "there is a model without a statement")
    if let line = (FileManager.default.contents(atPath: run.path("metrics.jsonl")) ?? Data()).split(separator: 10).first {
      expect((try? JSONSerialization.jsonObject(with: line)) != nil, "metrics.jsonl: its first line is not JSON")
    }
  }

  private mutating func checkLedger(_ before: Trail, _ now: Trail) {
    guard run.noise != .none else { return expect(now.charges == 0, "a run that isn't private has charges") }
    let whole = before.ledger.prefix(upTo: before.ledger.lastIndex(of: 10).map { $0 + 1 } ?? 0)
    expect(now.ledger.starts(with: whole), "the ledger lost lines that it had")
    expect(now.charges >= before.charges, "the ledger has \(now.charges) lines and had \(before.charges)")
    expect(now.metricsLines <= now.charges, "metrics.jsonl has \(now.metricsLines) steps and the ledger \(now.charges) charges")
    expect(
      now.metricsLines - before.metricsLines <= now.charges - before.charges,
      "this start has done \(now.metricsLines - before.metricsLines) steps and charged \(now.charges - before.charges)")
    for (index, line) in now.ledger.split(separator: 10).enumerated() where index + 1 < now.charges || now.ledger.last == 10 {
      expect((try? JSONSerialization.jsonObject(with: line)) != nil, "line \(index + 1) of the ledger is not JSON: \(String(decoding: line, as: UTF8.self))")
    }
  }

  private mutating func checkCheckpoint(_ step: Int, charges: Int) {
    let name = "checkpoints/step-\(step)"
    guard let manifest = object("\(name)/manifest.json"), let files = manifest["files"] as? [[String: Any]] else {
      return expect(false, "\(name) has no manifest")
    }
    expect(manifest["step"] as? Int == step, "\(name) is of step \(manifest["step"] ?? "?")")
    if run.noise != .none {
      let counted = manifest["charges"] as? Int ?? .max
      expect(step <= counted && counted <= charges, "\(name) counts \(counted) charges of the ledger's \(charges)")
    }
    var names: Set = ["manifest.json"]
    for file in files {
      guard let file = (file["name"] as? String).map({ (name: $0, digest: file["sha256"] as? String, bytes: file["bytes"] as? Int) }) else { continue }
      names.insert(file.name)
      guard let bytes = FileManager.default.contents(atPath: run.path("\(name)/\(file.name)")) else {
        expect(false, "\(name)/\(file.name) is missing")
        continue
      }
      let digest = SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined()
      expect(digest == file.digest && bytes.count == file.bytes, "\(name)/\(file.name) is not what the manifest says")
    }
    expect(!files.isEmpty, "\(name) has no files")
    let there = Set((try? FileManager.default.contentsOfDirectory(atPath: run.path(name))) ?? [])
    expect(there == names, "\(name) holds \(there.sorted()), and its manifest names \(names.sorted())")
  }

  private mutating func checkStatement(_ charges: Int, isExact: Bool) {
    guard exists("privacy.json") else { return expect(charges == 0 && !isExact, "there are \(charges) charges and no privacy.json") }
    guard let statement = object("privacy.json"), let steps = statement["steps"] as? Int else { return expect(false, "privacy.json says no steps") }
    guard run.noise != .none else { return }
    expect(steps >= charges, "privacy.json says \(steps) steps, and \(charges) are charged")
    expect(!isExact || steps == charges, "the run ended in order, and privacy.json says \(steps) steps where \(charges) are charged")
    guard let stated = statement["epsilon"] as? Double else { return expect(false, "privacy.json says epsilon \(statement["epsilon"] ?? "?")") }
    guard charges > 0 else { return }
    do {
      let epsilon = try Accountant.epsilon(statement, steps: charges, place)
      expect(stated >= epsilon * (1 - 1e-9), "privacy.json says epsilon \(stated), and \(charges) charges make \(epsilon)")
      expect(run.noise != .target || epsilon <= 6 * (1 + 1e-9), "\(charges) charges make epsilon \(epsilon), above the target of 6")
    } catch { expect(false, "\(error)") }
  }

  /// Of a run that is done.
  mutating func lookAtEnd(_ now: Trail) {
    for name in ["model/model.safetensors", "model/config.json", "model/privacy.json", "checkpoints/report.json"] {
      expect(exists(name), "the run is done, and \(name) is missing")
    }
    let files = FileManager.default
    let model = (try? files.attributesOfItem(atPath: run.path("model/model.safetensors")))?[.size] as? Int ?? 0
    expect(model > 100_000, "the model has \(model) bytes")
    expect(files.contents(atPath: run.path("model/privacy.json")) == files.contents(atPath: run.path("privacy.json")), "the model has another statement")
    let report = object("checkpoints/report.json")
    let steps = report?["steps"] as? Int ?? -1
    expect(steps == run.steps || run.noise == .target && steps < run.steps, "the report says \(steps) steps of \(run.steps)")
    if run.noise != .none { expect(now.charges >= steps, "\(steps) steps, and \(now.charges) charges") }
    expect(Trail.checkpoints(of: run) == [steps], "checkpoints of steps \(Trail.checkpoints(of: run)) where that of \(steps) is to be kept")
    let lines = (files.contents(atPath: run.path("metrics.jsonl")) ?? Data()).split(separator: 10)
    let seen = Set(lines.compactMap { ((try? JSONSerialization.jsonObject(with: $0)) as? [String: Any])?["step"] as? Int })
    // A line that was torn when its run was cut off is cut off, too: at most one a start, of steps that a checkpoint has.
    expect(seen.isSubset(of: Set(0..<max(0, steps))) || run.noise == .target, "metrics.jsonl has other steps than those of the run")
    expect(seen.count >= steps - 3, "metrics.jsonl has \(seen.count) of \(steps) steps")
    let left = (files.enumerator(atPath: run.directory)?.compactMap { $0 as? String } ?? []).filter {
      let name = $0.split(separator: "/").last ?? ""
      return name.hasPrefix(".") || name.contains(".partial")
    }
    expect(left.isEmpty, "left behind: \(left.sorted())")
  }

  private func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: run.path(name)) }

  private mutating func object(_ name: String) -> [String: Any]? {
    guard let bytes = FileManager.default.contents(atPath: run.path(name)) else { return nil }
    let value = (try? JSONSerialization.jsonObject(with: bytes)) as? [String: Any]
    expect(value != nil, "\(name) is not JSON")
    return value
  }
}

/// ε of so many charges, asked of `dp-mpirun epsilon`.
enum Accountant {
  nonisolated(unsafe) private static var known: [String: Double] = [:]

  static func epsilon(_ statement: [String: Any], steps: Int, _ place: Place) throws -> Double {
    guard let rate = statement["sampling_rate"] as? Double, let sigma = statement["noise_multiplier"] as? Double,
      let delta = statement["delta"] as? Double
    else { throw Trouble("privacy.json says no rate, noise or delta") }
    let key = "\(rate) \(sigma) \(delta) \(steps)"
    if let value = known[key] { return value }
    let text = try place.run(
      [place.program, "epsilon", "--sampling-rate", "\(rate)", "--noise-multiplier", "\(sigma)", "--delta", "\(delta)", "--steps", "\(steps)"]
        + ["--accountant", "rdp", "--json"])
    guard let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any], let value = object["epsilon"] as? Double else {
      throw Trouble("epsilon --json says \(text)")
    }
    known[key] = value
    return value
  }
}
