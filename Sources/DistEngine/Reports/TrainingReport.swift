import Foundation
import PrivacyAccounting

/// The outcome of a run: what `dp-mpirun train --json` prints.
public struct TrainingReport: Sendable, Codable {
  public var mode: TrainingMode
  public var ranks: Int
  /// Steps done.
  public var steps: Int
  /// Mean over the first and last tenth of the non-empty steps, in nats a target; nil where no step drew a record.
  public var lossFirst: Double?
  public var lossLast: Double?
  /// Nats a target over the held-out records; nil without any.
  public var evalLoss: Double?
  /// The part of the held-out records that a classifier labels right; nil of a language model, or without any.
  public var evalAccuracy: Double?
  /// What losses are nats of, a target or a classifier's record; not printed as JSON.
  public var lossUnit: String
  public var epsilon: ExtendedReal
  public var delta: Double?
  public var noiseMultiplier: Double
  public var tokens: Int
  public var tokensPerSecond: Double
  public var stepSecondsMedian: Double
  public var secondsPerToken: Double
  /// MB, by rank.
  public var peakRssMb: [Double]
  /// MB, by node: the largest sum of PSS over a node's ranks that was seen at a step's end.
  public var nodePssMb: [Double]
  /// MB, by rank.
  public var plannedMb: [Double]
  /// MB, by rank: what the program, its libraries and its records held before anything that was planned. The rest of the peak compares
  /// with the plan.
  public var baselineRssMb: [Double]
  public var parameters: Int
  public var parametersL2: Double
  public var output: String?
  /// Whether ε and δ hold, and what they don't cover: as in `privacy.json`.
  public var isPrivate: Bool
  public var warnings: [String]
  /// Keys whose values are computed from private data without noise.
  public static let notCovered = [
    "loss_first", "loss_last", "eval_loss", "tokens", "tokens_per_second", "step_seconds_median", "seconds_per_token", "peak_rss_mb",
    "node_pss_mb", "planned_mb", "baseline_rss_mb",
  ]

  enum CodingKeys: String, CodingKey {
    case mode, ranks, steps, epsilon, delta, tokens, parameters, output, warnings
    case isPrivate = "private"
    case notCovered = "not_covered_by_guarantee"
    case lossFirst = "loss_first"
    case lossLast = "loss_last"
    case evalLoss = "eval_loss"
    case evalAccuracy = "eval_accuracy"
    case lossUnit = "loss_unit"
    case noiseMultiplier = "noise_multiplier"
    case tokensPerSecond = "tokens_per_second"
    case stepSecondsMedian = "step_seconds_median"
    case secondsPerToken = "seconds_per_token"
    case peakRssMb = "peak_rss_mb"
    case nodePssMb = "node_pss_mb"
    case plannedMb = "planned_mb"
    case baselineRssMb = "baseline_rss_mb"
    case parametersL2 = "parameters_l2"
  }

  /// All keys, null where there is no value; a classifier's alone where the model is one.
  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(mode, forKey: .mode)
    try values.encode(ranks, forKey: .ranks)
    try values.encode(steps, forKey: .steps)
    // JSON has no NaN: a loss that isn't finite is infinite to whoever reads it.
    let loss = { (value: Double?) in value.map { ExtendedReal(value: $0.isFinite ? $0 : .infinity) } }
    try values.encode(loss(lossFirst), forKey: .lossFirst)
    try values.encode(loss(lossLast), forKey: .lossLast)
    try values.encode(loss(evalLoss), forKey: .evalLoss)
    try values.encodeIfPresent(evalAccuracy, forKey: .evalAccuracy)
    // A language model's, which is what all readers know, goes without saying.
    if lossUnit != "target" { try values.encode(lossUnit, forKey: .lossUnit) }
    try values.encode(epsilon, forKey: .epsilon)
    try values.encode(delta, forKey: .delta)
    try values.encode(noiseMultiplier, forKey: .noiseMultiplier)
    try values.encode(tokens, forKey: .tokens)
    try values.encode(tokensPerSecond, forKey: .tokensPerSecond)
    try values.encode(stepSecondsMedian, forKey: .stepSecondsMedian)
    try values.encode(secondsPerToken, forKey: .secondsPerToken)
    try values.encode(peakRssMb, forKey: .peakRssMb)
    try values.encode(nodePssMb, forKey: .nodePssMb)
    try values.encode(plannedMb, forKey: .plannedMb)
    try values.encode(baselineRssMb, forKey: .baselineRssMb)
    try values.encode(parameters, forKey: .parameters)
    try values.encode(parametersL2, forKey: .parametersL2)
    try values.encode(output, forKey: .output)
    try values.encode(isPrivate, forKey: .isPrivate)
    try values.encode(warnings, forKey: .warnings)
    try values.encode(Self.notCovered + (evalAccuracy == nil ? [] : ["eval_accuracy"]), forKey: .notCovered)
  }
}

extension TrainingReport {
  /// What ``encode(to:)`` wrote.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    let loss = { (key: CodingKeys) in try values.decodeIfPresent(ExtendedReal.self, forKey: key)?.value }
    self.init(
      mode: try values.decode(TrainingMode.self, forKey: .mode), ranks: try values.decode(Int.self, forKey: .ranks),
      steps: try values.decode(Int.self, forKey: .steps), lossFirst: try loss(.lossFirst), lossLast: try loss(.lossLast),
      evalLoss: try loss(.evalLoss), evalAccuracy: try values.decodeIfPresent(Double.self, forKey: .evalAccuracy),
      lossUnit: try values.decodeIfPresent(String.self, forKey: .lossUnit) ?? "target",
      epsilon: try values.decode(ExtendedReal.self, forKey: .epsilon),
      delta: try values.decodeIfPresent(Double.self, forKey: .delta), noiseMultiplier: try values.decode(Double.self, forKey: .noiseMultiplier),
      tokens: try values.decode(Int.self, forKey: .tokens), tokensPerSecond: try values.decode(Double.self, forKey: .tokensPerSecond),
      stepSecondsMedian: try values.decode(Double.self, forKey: .stepSecondsMedian),
      secondsPerToken: try values.decode(Double.self, forKey: .secondsPerToken), peakRssMb: try values.decode([Double].self, forKey: .peakRssMb),
      nodePssMb: try values.decode([Double].self, forKey: .nodePssMb), plannedMb: try values.decode([Double].self, forKey: .plannedMb),
      baselineRssMb: try values.decode([Double].self, forKey: .baselineRssMb), parameters: try values.decode(Int.self, forKey: .parameters),
      parametersL2: try values.decode(Double.self, forKey: .parametersL2), output: try values.decodeIfPresent(String.self, forKey: .output),
      isPrivate: try values.decode(Bool.self, forKey: .isPrivate), warnings: try values.decode([String].self, forKey: .warnings))
  }
}

/// What a person or a file is told while a run goes on. Called on rank 0 alone.
public protocol TrainingObserver {
  /// Before anything is decided: how far the reading of large data is, in a line.
  mutating func didRead(_ progress: String)
  mutating func didStart(_ overview: TrainingOverview)
  /// - Parameters:
  ///   - epsilon: spent so far, at the steps that are logged; nil without privacy.
  ///   - isLogged: one of some twenty, or of those that `--log-every` names.
  mutating func didFinish(_ step: StepReport, epsilon: Double?, isLogged: Bool)
  /// - Parameter accuracy: of a classifier.
  mutating func didEvaluate(step: Int, loss: Double, accuracy: Double?)
  /// A checkpoint is on the disk; the steps waited for it so many seconds.
  mutating func didCheckpoint(stepsDone: Int, seconds: Double)
  /// After the last step and what it left to be written.
  mutating func didEnd()
}

extension TrainingObserver {
  public mutating func didRead(_ progress: String) {}
}

/// A run as it was decided, before its first step.
public struct TrainingOverview: Sendable {
  public let mode: TrainingMode
  public let ranks: Int
  public let hosts: [String]
  /// Of rank 0.
  public let usableCores: Int
  /// By rank.
  public let threads: [Int]
  public let parameters: Int
  public let trainingRecords: Int
  public let evaluationRecords: Int
  public let longestRecord: Int
  public let steps: Int
  public let expectedBatchSize: Int
  /// nil in `standard`.
  public let privacy: PrivacyParameters?
  public let warnings: [String]
  public let plannedBytes: Int
  /// Of the linear layers' products.
  public let precision: Precision
  public let sharding: Sharding
  public let noise: NoisePlacement
  /// Of a classifier; nil: a language model.
  public let labels: [String]?
  /// Entropy of the held-out targets' unigram distribution in nats, for the built-in corpus: what a model that knows only how
  /// often each byte occurs can reach at best.
  public let unigramEntropy: Double?

  /// What losses are nats of.
  public var lossUnit: String { labels == nil ? "target" : "record" }
}
