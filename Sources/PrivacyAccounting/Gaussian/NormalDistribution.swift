import Foundation

/// The standard normal distribution, accurate in its tails.
package enum NormalDistribution {
  static let logNormaliser = 0.5 * log(2 * Double.pi)

  /// P(X > x), with full relative accuracy wherever it doesn't underflow (x < 37).
  package static func upperTail(_ x: Double) -> Double {
    0.5 * erfc(x / 2.0.squareRoot())
  }

  /// log P(X > x), for every x.
  package static func logUpperTail(_ x: Double) -> Double {
    if x < -5 { return log1p(-upperTail(-x)) }
    if x < 30 { return log(upperTail(x)) }
    return -0.5 * x * x - logNormaliser - log(x + millsCorrection(x))
  }

  /// log(P(X > x)/φ(x)), without the cancellation that a difference of logarithms has where x is large.
  static func logMills(_ x: Double) -> Double {
    x < 30 ? logUpperTail(x) + 0.5 * x * x + logNormaliser : -log(x + millsCorrection(x))
  }

  /// log E(X − x)₊ = log(φ(x) − x P(X > x)).
  static func logExpectedExcess(over x: Double) -> Double {
    guard x > 2 else { return log(exp(-0.5 * x * x - logNormaliser) - x * upperTail(x)) }
    // 1 − x·Mills = t/(x + t), with t the continued fraction below the first x. It converges slowly where x is small.
    var correction = 0.0
    for term in stride(from: 400.0, through: 1, by: -1) { correction = term / (x + correction) }
    return -0.5 * x * x - logNormaliser + log(correction / (x + correction))
  }

  /// 1/Mills − x for x ≥ 30, by Laplace's continued fraction from its tail: 1/(x + 2/(x + 3/(…))).
  private static func millsCorrection(_ x: Double) -> Double {
    var correction = 0.0
    for term in stride(from: 30.0, through: 1, by: -1) { correction = term / (x + correction) }
    return correction
  }
}
