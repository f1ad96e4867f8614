import Foundation
import PrivacyAccounting
import TestSupport
import Testing

/// A run of `dp-mpirun train --json --output` that ended well, and what it left behind.
struct TrainingRun {
  struct Metrics: Decodable, Equatable {
    let step: Int
    let examples: Int
    let loss: Double?
    let epsilon: Double?
    let computedWithoutNoise: [String]?
  }

  let outcome: MPILauncher.Outcome
  let directory: TemporaryDirectory

  /// - Parameters:
  ///   - options: of `train`, with spaces between them; 32 targets and one step unless they say otherwise.
  ///   - more: options that may hold spaces.
  init(
    _ options: String..., more: [String] = [], model: String = "tiny", data: String = Fixture.records, ranks: Int? = nil,
    environment: [String: String?] = [:]
  ) throws {
    directory = try TemporaryDirectory()
    let given = options.flatMap { $0.split(separator: " ").map(String.init) }
    let defaults = [("--seq-len", "32"), ("--steps", "1")].filter { !given.contains($0.0) }.flatMap { [$0.0, $0.1] }
    let arguments =
      ["train"] + given + more + defaults + ["--model", model, "--data", data, "--json", "--output", "\(directory.path)/run"]
    outcome = try Program.run(arguments, ranks: ranks, environment: environment)
    try #require(outcome.status == 0, "\(arguments.joined(separator: " ")) on \(ranks ?? 1): \(outcome.standardError)")
  }

  var path: String { "\(directory.path)/run" }
  var model: String { "\(path)/model" }

  func report() throws -> Report { try Report.decode(outcome.standardOutput) }

  /// The trained parameters, by name.
  func tensors() throws -> TensorFile { try TensorFile("\(model)/model.safetensors") }

  /// The trained parameters as one vector.
  func parameters() throws -> [Double] { try tensors().elements() }

  func metrics() throws -> [Metrics] {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try lines("metrics.jsonl").map { try decoder.decode(Metrics.self, from: Data($0.utf8)) }
  }

  func lines(_ name: String) throws -> [Substring] {
    try String(contentsOfFile: "\(path)/\(name)", encoding: .utf8).split(separator: "\n")
  }

  func object(_ name: String) throws -> [String: Any] {
    try jsonObject(String(contentsOfFile: "\(path)/\(name)", encoding: .utf8))
  }

  func privacy() throws -> Privacy {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Privacy.self, from: Data(contentsOf: URL(filePath: "\(path)/privacy.json")))
  }
}

/// What `train --json` prints, with the types that it promises. That all keys are there is another matter: null reads as missing.
struct Report: Decodable {
  let mode: String
  let ranks, steps, tokens, parameters: Int
  let lossFirst, lossLast, evalLoss: Double?
  let epsilon: ExtendedReal
  let delta: Double?
  let noiseMultiplier, tokensPerSecond, stepSecondsMedian, secondsPerToken, parametersL2: Double
  let peakRssMb, nodePssMb, plannedMb, baselineRssMb: [Double]
  let output: String?

  static let keys: Set = [
    "mode", "ranks", "steps", "loss_first", "loss_last", "eval_loss", "epsilon", "delta", "noise_multiplier", "tokens",
    "tokens_per_second", "step_seconds_median", "seconds_per_token", "peak_rss_mb", "node_pss_mb", "planned_mb", "baseline_rss_mb", "parameters",
    "parameters_l2", "output", "private", "warnings", "not_covered_by_guarantee",
  ]

  static func decode(_ text: String) throws -> Report {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Report.self, from: Data(text.utf8))
  }
}

/// `privacy.json`.
struct Privacy: Decodable {
  let epsilon: ExtendedReal
  let delta: Double?
  let unit, relation, sampler: String
  let samplingRate, noiseMultiplier: Double
  let maxGradNorm: Double?
  let clipping, accountant: String?
  let steps: Int
  let `private`: Bool
  let warnings: [String]
}

/// The text is one JSON object and nothing else.
func jsonObject(_ text: String) throws -> [String: Any] {
  try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
}
