import Foundation

/// Bounds on the tail of K ~ Binomial(trials, probability), in log space: how often a unit takes part in a run.
struct BinomialTail {
  let trials: Double
  let probability: Double
  /// 1 − probability, kept apart: from the mirrored variable's it could not be had to all digits.
  let complement: Double

  /// Of the steps of `phase` in which a unit takes part.
  init(_ phase: DPSGDPhase) {
    self.init(trials: Double(phase.steps), probability: phase.samplingRate, complement: 1 - phase.samplingRate)
  }

  init(trials: Double, probability: Double, complement: Double) {
    (self.trials, self.probability, self.complement) = (trials, probability, complement)
  }

  var mean: Double { trials * probability }
  var deviation: Double { (mean * complement).squareRoot() }

  /// log P(K = k), by Loader's saddle-point form (Loader 2000, "Fast and accurate computation of binomial probabilities"):
  /// its error is that of the deviance, not of n log n.
  func logMass(_ k: Double) -> Double {
    if k == 0 { return trials * log1p(-probability) }
    if k == trials { return trials * log(probability) }
    let rest = trials - k
    return Self.stirlingError(trials) - Self.stirlingError(k) - Self.stirlingError(rest)
      - Self.deviance(k, mean) - Self.deviance(rest, trials * complement)
      + 0.5 * (log(trials / rest) - log(2 * Double.pi * k))
  }

  /// At least log P(K > k). Up to 2^53 trials, k + 1 is a double only where k is below them.
  func logUpper(above k: Double) -> Double { k < trials ? logUpper(atLeast: k + 1) : -.infinity }

  /// At least log P(K ≥ k).
  func logUpper(atLeast k: Double) -> Double {
    guard k <= trials else { return -.infinity }
    guard k > mean else { return 0 }
    let ratio = successiveRatio(k)
    guard ratio < 1 else { return 0 }
    return min(0, logMass(k) - log1p(-ratio) + rounding(k, ratio: ratio))
  }

  /// At most log P(K ≥ k).
  func logLower(atLeast k: Double) -> Double {
    guard k > 0 else { return 0 }
    guard k <= trials else { return -.infinity }
    guard k > mean else {
      // P(K < k) is the mirrored variable's upper tail.
      let below = BinomialTail(trials: trials, probability: complement, complement: probability).logUpper(atLeast: trials - k + 1)
      let complement = below < 0 ? log1p(-exp(below)) : -.infinity
      return max(complement, logLower(atLeast: min(trials, mean.rounded(.down) + 1)))
    }
    // The masses' ratios fall: those of `count` terms are at least the last one's.
    let count = min(max(1, (deviation / 2).rounded(.down)), trials - k + 1)
    let ratio = successiveRatio(k + count - 1)
    let sum = ratio < 1 ? log(-expm1(count * log(ratio))) - log1p(-ratio) : log(count)
    return logMass(k) + (ratio > 0 ? max(0, sum) : 0) - rounding(k, ratio: ratio)
  }

  /// Bound on the error of a sum from `k` on: the means are off by an ulp, to which a deviance is sensitive by its distance from them, and so
  /// is a ratio, of which the distance from 1 counts.
  private func rounding(_ k: Double, ratio: Double) -> Double {
    1e-9 + 1e-15 * abs(k - mean) + (ratio < 1 ? 1e-15 / (1 - ratio) : 0)
  }

  /// P(K = k + 1)/P(K = k).
  private func successiveRatio(_ k: Double) -> Double {
    (trials - k) / (k + 1) * (probability / complement)
  }

  /// log n! − log(√(2πn)(n/e)^n).
  private static func stirlingError(_ n: Double) -> Double {
    guard n < 16 else {
      let square = n * n
      return (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - 1.0 / 1680 / square) / square) / square) / n
    }
    return lgamma(n + 1) - (n + 0.5) * log(n) + n - 0.5 * log(2 * Double.pi)
  }

  /// x log(x/m) + m − x.
  private static func deviance(_ x: Double, _ m: Double) -> Double {
    let relative = (x - m) / m
    guard abs(relative) < 0.1 else { return x * log(x / m) + m - x }
    // m·((1 + r) log(1 + r) − r) = m·Σ (−r)^j/(j(j − 1)), j ≥ 2.
    var (sum, power) = (0.0, relative * relative)
    for j in 2..<30 {
      sum += power / Double(j * (j - 1))
      power *= -relative
    }
    return m * sum
  }
}
