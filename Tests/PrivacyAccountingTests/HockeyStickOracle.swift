import Foundation

/// δ(ε) from its definition, ∫ (dP − e^ε dQ)₊, for one, two and three steps of the Poisson-sampled Gaussian.
///
/// Shares nothing with the library: no losses, no lattices, no transforms. Densities are integrated over
/// outcomes; in the last coordinate, where the integrand is positive on a half line, in closed form.
struct HockeyStickOracle {
  var samplingRate: Double
  var noise: Double

  private func q(_ x: Double) -> Double { exp(-x * x / (2 * noise * noise)) / (noise * (2 * .pi).squareRoot()) }
  private func p(_ x: Double) -> Double { (1 - samplingRate) * q(x) + samplingRate * q(x - 1) }
  private func tail(_ x: Double) -> Double { 0.5 * erfc(x / (noise * 2.0.squareRoot())) }

  /// ∫ (p − α q)₊ for any α ≥ 0.
  private func removeOne(_ alpha: Double) -> Double {
    // p/q = 1 − q₀ + q₀ e^{(x − 1/2)/σ²} grows with x.
    let ratio = (alpha - 1 + samplingRate) / samplingRate
    guard ratio > 0 else { return 1 - alpha }
    let x = 0.5 + noise * noise * log(ratio)
    return (1 - samplingRate - alpha) * tail(x) + samplingRate * tail(x - 1)
  }

  /// ∫ (q − α p)₊ for any α ≥ 0.
  private func addOne(_ alpha: Double) -> Double {
    guard alpha > 0 else { return 1 }
    let ratio = (1 / alpha - 1 + samplingRate) / samplingRate
    guard ratio > 0 else { return 0 }
    let x = 0.5 + noise * noise * log(ratio)
    return (1 - alpha * (1 - samplingRate)) * tail(-x) - alpha * samplingRate * tail(1 - x)
  }

  /// δ at `epsilon` after `steps` of at most 3 steps, of the worse of both directions.
  func delta(epsilon: Double, steps: Int) -> Double {
    func remove(_ alpha: Double, _ left: Int) -> Double {
      left == 1 ? removeOne(alpha) : integral { p($0) * remove(alpha * q($0) / p($0), left - 1) }
    }
    func add(_ alpha: Double, _ left: Int) -> Double {
      left == 1 ? addOne(alpha) : integral { q($0) * add(alpha * p($0) / q($0), left - 1) }
    }
    return max(remove(exp(epsilon), steps), add(exp(epsilon), steps))
  }

  /// Simpson's rule over all outcomes that matter.
  private func integral(_ f: (Double) -> Double) -> Double {
    let low = -10 * noise
    let high = 1 + 10 * noise
    let count = 2 * Int(((high - low) / min(noise, noise * noise) * 12).rounded(.up))
    let step = (high - low) / Double(count)
    var sum = f(low) + f(high)
    for i in 1..<count { sum += (i % 2 == 0 ? 2 : 4) * f(low + Double(i) * step) }
    return sum * step / 3
  }
}
