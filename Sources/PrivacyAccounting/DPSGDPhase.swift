/// A stretch of DP-SGD with one sampling rate and one noise multiplier.
public struct DPSGDPhase: Codable, Hashable, Sendable {
  /// The most steps a phase may have: beyond 2^53 a step count isn't exact in floating point.
  public static let maximumSteps = 1 << 53

  /// Probability with which each unit is in a step's batch, in [0, 1].
  public let samplingRate: Double
  /// Standard deviation of the noise divided by the clipping norm, at least 0.
  public let noiseMultiplier: Double
  /// Number of optimizer steps, at least 0.
  public let steps: Int

  /// - Throws: ``AccountingError`` that names the value outside its range.
  public init(samplingRate: Double, noiseMultiplier: Double, steps: Int) throws(AccountingError) {
    guard samplingRate >= 0, samplingRate <= 1 else { throw .invalidSamplingRate(samplingRate) }
    guard noiseMultiplier >= 0, noiseMultiplier.isFinite else {
      throw .invalidNoiseMultiplier(noiseMultiplier)
    }
    guard (0...Self.maximumSteps).contains(steps) else { throw .invalidSteps(steps) }
    self.samplingRate = samplingRate
    self.noiseMultiplier = noiseMultiplier
    self.steps = steps
  }

  /// A phase written `q:σ:steps`, as `0.01:1.1:5000`.
  ///
  /// - Throws: ``AccountingError/malformedPhase(_:)`` unless there are three numbers, the last a whole one;
  ///   otherwise as ``init(samplingRate:noiseMultiplier:steps:)``.
  public init(parsing text: String) throws(AccountingError) {
    let fields = text.split(separator: ":", omittingEmptySubsequences: false)
    guard fields.count == 3, let rate = Double(fields[0]), let noise = Double(fields[1]),
      let steps = Int(fields[2])
    else { throw .malformedPhase(text) }
    try self.init(samplingRate: rate, noiseMultiplier: noise, steps: steps)
  }

  private enum CodingKeys: String, CodingKey {
    case samplingRate = "sampling_rate"
    case noiseMultiplier = "noise_multiplier"
    case steps
  }

  /// Decoding checks the same ranges as the initialiser: a checkpoint's bytes are input too.
  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      samplingRate: fields.decode(Double.self, forKey: .samplingRate),
      noiseMultiplier: fields.decode(Double.self, forKey: .noiseMultiplier),
      steps: fields.decode(Int.self, forKey: .steps))
  }
}
