import PrivacyAccounting

/// Everything that the privacy guarantee rests on. What can't change it is in ``PerformanceOptions``.
public struct PrivacyParameters: Sendable, Equatable {
  public let clipping: Clipping
  /// C: bound of one unit's gradient, L2.
  public let maxGradNorm: Double
  /// σ.
  public let noiseMultiplier: Double
  /// N₀: the public number of units.
  public let datasetSize: Int
  /// B: the sum is divided by it, whatever was drawn.
  public let expectedBatchSize: Int
  public let delta: Double
  public let accountant: AccountantKind
  /// What earlier runs spent on the same records: composed into every ε of this one.
  public let spent: [DPSGDPhase]

  public init(
    clipping: Clipping, maxGradNorm: Double, noiseMultiplier: Double, datasetSize: Int, expectedBatchSize: Int,
    delta: Double, accountant: AccountantKind, spent: [DPSGDPhase] = []
  ) {
    self.clipping = clipping
    self.maxGradNorm = maxGradNorm
    self.noiseMultiplier = noiseMultiplier
    self.datasetSize = datasetSize
    self.expectedBatchSize = expectedBatchSize
    self.delta = delta
    self.accountant = accountant
    self.spent = spent
  }

  /// q = B/N₀, derived: the integers are what is kept.
  public var samplingRate: Double { Double(expectedBatchSize) / Double(datasetSize) }
}
