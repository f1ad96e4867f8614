import Foundation

/// The standard normal distribution, accurate in its tails.
package enum NormalDistribution {
  /// P(X > x), with full relative accuracy wherever it doesn't underflow (x < 37).
  package static func upperTail(_ x: Double) -> Double {
    0.5 * erfc(x / 2.0.squareRoot())
  }

  /// log P(X > x), for every x.
  package static func logUpperTail(_ x: Double) -> Double {
    if x < -5 { return log1p(-upperTail(-x)) }
    if x < 30 { return log(upperTail(x)) }
    // Mills ratio as Laplace's continued fraction, evaluated from its tail: x + 1/(x + 2/(x + 3/(…))).
    var tail = x
    for term in stride(from: 30.0, through: 1, by: -1) { tail = x + term / tail }
    return -0.5 * x * x - 0.5 * log(2 * Double.pi) - log(tail)
  }
}
