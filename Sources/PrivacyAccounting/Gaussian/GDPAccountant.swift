import Foundation

/// Gaussian differential privacy by its central limit theorem: quick, close for many small steps, no bound.
///
/// Steps with q < 1 add q²(e^{1/σ²} − 1) to μ² (Bu, Dong, Long & Su 2020, arXiv 1911.11607v3, Section 3.2); full-batch
/// steps add 1/σ², exactly. The limit under-reports ε, by a few per cent in ordinary cases and by far more
/// with few steps or small σ, so it is never labelled a bound.
public struct GDPAccountant: PrivacyAccountant {
  public static let kind = AccountantKind.gdp

  private var composition = GaussianComposition()

  public init() {}

  public mutating func compose(_ event: PrivacyEvent, count: Int) throws(AccountingError) {
    try composition.add(event, count: count, for: Self.kind)
  }

  public func epsilon(delta: Double) throws(AccountingError) -> EpsilonBounds {
    try checkDelta(delta)
    guard !composition.isEmpty else { return .nothingReleased }
    guard !composition.hasUnprotectedRelease else { return .unprotected }
    return EpsilonBounds(
      upper: AnalyticGaussian(mu: limitMu).epsilon(delta: delta), isUpperBound: false,
      notes: ["gdp is a central-limit approximation, not an upper bound"])
  }

  public func delta(epsilon: Double) throws(AccountingError) -> DeltaBounds {
    try checkEpsilon(epsilon)
    guard !composition.isEmpty else { return .nothingReleased }
    guard !composition.hasUnprotectedRelease else { return .unprotected }
    return DeltaBounds(
      upper: exp(AnalyticGaussian(mu: limitMu).logDelta(epsilon: epsilon)), isUpperBound: false)
  }

  private var limitMu: Double {
    composition.sampled.reduce(composition.fullBatchSquaredMu) { sum, phase in
      let rate = phase.samplingRate
      let noise = phase.noiseMultiplier
      return sum + Double(phase.steps) * rate * rate * expm1(1 / noise / noise)
    }.squareRoot()
  }
}
