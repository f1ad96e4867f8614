import Foundation

/// The Gaussian mechanism's exact trade-off between ε and δ.
///
/// With μ = sensitivity / noise deviation, δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ): Balle & Wang 2018, Theorem 8
/// (arXiv 1805.06530v2). It holds for compositions of full-batch steps too, with μ² = Σ 1/σ².
package struct AnalyticGaussian {
  package let mu: Double

  /// Bound on the relative error that rounding leaves in ε, far above what the tests see.
  static let relativeError = 1e-10

  package init(mu: Double) {
    self.mu = mu
  }

  /// log δ at `epsilon`; −∞ where μ = 0.
  package func logDelta(epsilon: Double) -> Double {
    guard mu > 0 else { return -.infinity }
    guard mu < .infinity else { return 0 }
    let first = NormalDistribution.logUpperTail(epsilon / mu - mu / 2)
    let second = epsilon + NormalDistribution.logUpperTail(epsilon / mu + mu / 2)
    guard second < first else { return -.infinity }
    return first + log(-expm1(second - first))
  }

  /// The ε at which δ(ε) = `delta`; 0 where δ(0) is already below.
  package func epsilon(delta: Double) -> Double {
    guard mu > 0 else { return 0 }
    guard mu < .infinity else { return .infinity }
    let target = log(delta)
    guard logDelta(epsilon: 0) > target else { return 0 }
    // At ε = μ²/2 + zμ the first term alone is P(X > z), so z with that tail is above the root.
    var low = 0.0
    var high = mu * mu / 2 + mu * ((-2 * target).squareRoot() + 1)
    while logDelta(epsilon: high) > target { high *= 2 }
    for _ in 0..<200 {
      let middle = low + (high - low) / 2
      guard middle > low, middle < high, high - low > 1e-15 * high else { break }
      if logDelta(epsilon: middle) > target { low = middle } else { high = middle }
    }
    return high
  }
}
