import Foundation

/// The Gaussian mechanism's exact trade-off between ε and δ.
///
/// With μ = sensitivity / noise deviation and z = ε/μ − μ/2, δ(ε) = Φ(−z) − e^ε Φ(−z − μ): Balle & Wang 2018, Theorem 8
/// (arXiv 1805.06530v2). It holds for compositions of full-batch steps too, with μ² = Σ 1/σ².
package struct AnalyticGaussian {
  package let mu: Double

  /// Bound on the error that rounding, and for small μ a series, leave in `epsilon`, far above what the tests see. A relative error η of δ
  /// is one of η·δ/|δ′| ≤ ημ in ε.
  func error(at epsilon: Double) -> Double {
    (mu < Self.smallMu ? Self.smallMu : max(1e-10, 1e-12 / mu)) * (epsilon + mu)
  }

  /// Below, the two terms of δ agree in too many digits.
  private static let smallMu = 1e-4

  package init(mu: Double) {
    self.mu = mu
  }

  /// log δ at `epsilon`, never below the truth by more than rounding; −∞ where μ = 0.
  package func logDelta(epsilon: Double) -> Double {
    guard mu > 0 else { return -.infinity }
    guard mu < .infinity else { return 0 }
    let z = epsilon / mu - mu / 2
    // δ = E(1 − e^{−μ(X − z)})₊ ≤ μ E(X − z)₊, and at least 1 − μ/2·E(X − z)₊²/E(X − z)₊ of that.
    if mu < Self.smallMu { return min(0, log(mu) + NormalDistribution.logExpectedExcess(over: z)) }
    // e^ε φ(z + μ) = φ(z): written so, nothing cancels where ε is large.
    let second = -0.5 * z * z - NormalDistribution.logNormaliser + NormalDistribution.logMills(z + mu)
    // Where δ is near 1, it's 1 − δ that has digits. (Below −1 both terms of it are below 1/4, since μ ≥ −2z.)
    if z < -1 { return log1p(-(NormalDistribution.upperTail(-z) + exp(second))) }
    let first = NormalDistribution.logUpperTail(z)
    guard second < first else { return -.infinity }
    return first + log(-expm1(second - first))
  }

  /// The ε at which δ(ε) = `delta`; 0 where δ(0) is already below; infinite where no double holds it.
  package func epsilon(delta: Double) -> Double {
    guard mu > 0 else { return 0 }
    let start = mu * mu / 2 + mu * ((-2 * log(delta)).squareRoot() + 1)
    guard start < .infinity else { return .infinity }
    let target = log(delta)
    guard logDelta(epsilon: 0) > target else { return 0 }
    // At ε = μ²/2 + zμ the first term alone is P(X > z), so z with that tail is above the root.
    var low = 0.0
    var high = start
    while logDelta(epsilon: high) > target, high < .infinity { high *= 2 }
    for _ in 0..<200 {
      let middle = low + (high - low) / 2
      guard middle > low, middle < high, high - low > 1e-15 * high else { break }
      if logDelta(epsilon: middle) > target { low = middle } else { high = middle }
    }
    return high
  }
}
