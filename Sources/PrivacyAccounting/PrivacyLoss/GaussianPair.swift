import Foundation

/// The two output densities that dominate one step, and the privacy loss between them.
///
/// With Q = N(0, σ²) and P = (1 − q) N(0, σ²) + q N(1, σ²), the loss L(x) = log(dP/dQ) grows with x. (P, Q) dominates
/// removing a unit, (Q, P) adding one (Zhu, Dong & Wang 2022, arXiv 2106.08567v4, Theorem 11). For q = 1 the pair is
/// a plain Gaussian one, and then several steps are one pair of a smaller σ.
///
/// Losses are measured from ``baseLoss``: for q < 1 that is their infimum log(1 − q), which makes the small
/// differences that tiny q leaves exact.
struct GaussianPair {
  let samplingRate: Double
  let noiseMultiplier: Double
  /// How often the pair occurs.
  let count: Int
  let baseLoss: Double
  private let variance: Double
  private let logOdds: Double

  init(phase: DPSGDPhase) {
    samplingRate = phase.samplingRate
    noiseMultiplier = phase.noiseMultiplier
    count = phase.steps
    variance = noiseMultiplier * noiseMultiplier
    logOdds = log(samplingRate) - log1p(-samplingRate)
    baseLoss = log1p(-samplingRate)
  }

  /// All full-batch steps together: μ² = Σ 1/σ².
  ///
  /// - Parameter tail: probability under Q that may fall below the base loss.
  init(fullBatchSquaredMu squaredMu: Double, tail: Double) {
    samplingRate = 1
    variance = 1 / squaredMu
    noiseMultiplier = variance.squareRoot()
    count = 1
    logOdds = .infinity
    baseLoss = (-noiseMultiplier * Self.quantile(upperTail: tail) - 0.5) / variance
  }

  var isFullBatch: Bool { samplingRate == 1 }

  /// φ's normaliser, σ√(2π).
  var densityNormaliser: Double { noiseMultiplier * (2 * Double.pi).squareRoot() }

  /// The x whose loss is `baseLoss + excess`.
  func position(excess: Double) -> Double {
    if isFullBatch { return 0.5 + variance * (baseLoss + excess) }
    // 1 + e^u = e^excess with u = (x − 1/2)/σ² + log(q/(1 − q)).
    let u = excess > 40 ? excess : log(expm1(excess))
    return 0.5 + variance * (u - logOdds)
  }

  /// Loss above ``baseLoss`` at x.
  func excess(at x: Double) -> Double {
    if isFullBatch { return (x - 0.5) / variance - baseLoss }
    let u = (x - 0.5) / variance + logOdds
    return u > 40 ? u : log1p(exp(u))
  }

  /// Lowest x that matters: below, Q's mass is less than the smallest double, or what the caller allowed.
  var lowestPosition: Double {
    isFullBatch ? position(excess: 0) : -38.5 * noiseMultiplier
  }

  /// Slope in the loss of log √(dP dQ)/dL at x, used to place cells' tangents.
  func logDensitySlope(at x: Double) -> Double {
    if isFullBatch { return 0.5 - x }
    let posterior = 1 / (1 + exp(-((x - 0.5) / variance + logOdds)))
    return (1.5 * posterior - 1 - x) / posterior
  }

  /// P(X > x) under P, above.
  func upperTailOfP(_ x: Double) -> Double {
    let shifted = NormalDistribution.upperTail((x - 1) / noiseMultiplier)
    if isFullBatch { return shifted }
    return (1 - samplingRate) * upperTailOfQ(x) + samplingRate * shifted
  }

  /// P(X > x) under Q.
  func upperTailOfQ(_ x: Double) -> Double {
    NormalDistribution.upperTail(x / noiseMultiplier)
  }

  /// An x beyond which P has at most `tail`.
  func highestPosition(tail: Double) -> Double {
    var low = 0.0
    var high = 1 + 38 * noiseMultiplier
    for _ in 0..<60 {
      let middle = (low + high) / 2
      if upperTailOfP(middle) > tail { low = middle } else { high = middle }
    }
    return high
  }

  /// An x with P(N(0, 1) > x) ≤ `upperTail`.
  private static func quantile(upperTail: Double) -> Double {
    var low = 0.0
    var high = 38.0
    for _ in 0..<60 {
      let middle = (low + high) / 2
      if NormalDistribution.upperTail(middle) > upperTail { low = middle } else { high = middle }
    }
    return high
  }
}
