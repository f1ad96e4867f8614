import Foundation

/// Bounds on ε and δ from the number of steps that a unit takes part in: in closed form, for every σ, q and number of steps.
///
/// A phase of n steps is a mixture over the subsets of steps in which the unit is drawn. Given k of them, the pair of outputs
/// differs by a shift of length √k/σ. Hockey-stick divergences are jointly convex, so with K ~ Binomial(n, q)
///
///     δ(ε) ≤ E δ_Gauss(√K/σ; ε),      in either direction.
///
/// From below, for removing: the event that some k outputs add up to k − zσ√k or more has probability P(K ≥ k)Φ(z) at least
/// with the unit and, by the union bound, (n choose k)·Φ(z − √k/σ) at most without it.
///
/// Both are within about 2σ² log(1/q) of each other, relative: close where σ is small, and there the privacy losses span more than
/// a lattice holds. Both are bounds everywhere.
struct ParticipationBounds {
  private let tail: BinomialTail
  private let noiseMultiplier: Double
  /// μ² of all else: full-batch steps, and other phases at a number of participations that is rarely exceeded.
  private let otherSquaredMu: Double
  /// Probability that other phases exceed it.
  private let otherTail: Double
  /// Numbers of participations at which the mixture is cut, rising.
  private let counts: [Double]

  /// log of the probability that is left above the last of ``counts``: below every δ that a double holds.
  private static let logCutoff = -760.0
  private static let mostCounts = 400

  /// - Parameters:
  ///   - composition: with at least one sampled phase.
  ///   - delta: where there are several phases, the scale of δ that their tails must be below.
  init(_ composition: GaussianComposition, delta: Double) {
    let phases = composition.sampled.sorted { Self.weight($0) < Self.weight($1) }
    let main = phases.last!
    tail = BinomialTail(main)
    noiseMultiplier = main.noiseMultiplier
    let logShare = log(delta) - log(100 * Double(phases.count))
    otherSquaredMu = phases.dropLast().reduce(composition.fullBatchSquaredMu) { sum, phase in
      let tail = BinomialTail(phase)
      return sum + Self.quantile(of: tail, logProbability: logShare) / phase.noiseMultiplier / phase.noiseMultiplier
    }
    otherTail = phases.count > 1 ? delta / 100 : 0
    counts = Self.cuts(of: tail)
  }

  private static func weight(_ phase: DPSGDPhase) -> Double {
    Double(phase.steps) * phase.samplingRate / phase.noiseMultiplier / phase.noiseMultiplier
  }

  /// A k with log P(K > k) ≤ `logProbability`, about the least.
  private static func quantile(of tail: BinomialTail, logProbability: Double) -> Double {
    var (low, high) = (tail.mean.rounded(.down), tail.trials)
    while high - low > 1 {
      let middle = (low + (high - low) / 2).rounded(.down)
      guard middle > low, middle < high else { break }
      if tail.logUpper(above: middle) > logProbability { low = middle } else { high = middle }
    }
    return high
  }

  private static func cuts(of tail: BinomialTail) -> [Double] {
    let first = max(0, (tail.mean - 8 * tail.deviation).rounded(.down))
    let last = quantile(of: tail, logProbability: logCutoff)
    let stride = max(1, ((last - first) / Double(mostCounts)).rounded(.up))
    var counts: [Double] = []
    var count = first
    while count < last, counts.count <= mostCounts {
      counts.append(count)
      count += stride
    }
    return counts + [last]
  }

  private func gaussian(_ count: Double) -> AnalyticGaussian {
    AnalyticGaussian(mu: (count / noiseMultiplier / noiseMultiplier + otherSquaredMu).squareRoot())
  }

  // MARK: Upper bounds

  /// At least δ(ε).
  func upperDelta(epsilon: Double) -> Double {
    // Σ P(K = k) g(k) with g rising: g(k₀) + Σ (g(kᵢ) − g(kᵢ₋₁)) P(K > kᵢ₋₁), cells rounded up.
    // What rounding does to ε/μ − μ/2 where μ is huge is far less than a part in 10¹² of ε does.
    let epsilon = epsilon * (1 - 1e-12)
    func delta(_ count: Double) -> Double { exp(gaussian(count).logDelta(epsilon: epsilon)) * (1 + 1e-6) }
    var before = delta(counts[0])
    var sum = before
    for (previous, count) in zip(counts, counts.dropFirst()) {
      let next = max(before, delta(count))
      sum += (next - before + 1e-12 * next) * exp(tail.logUpper(above: previous))
      before = next
    }
    return min(1, (sum + exp(tail.logUpper(above: counts.last!))) * (1 + 1e-9) + otherTail + Double.leastNormalMagnitude)
  }

  /// An ε whose δ is at most `delta`; infinite where there is none that a double holds.
  func upperEpsilon(delta: Double) -> Double {
    guard upperDelta(epsilon: 0) > delta else { return 0 }
    // At the last count, little more than that count's own ε, which may be 0.
    var high = max(gaussian(counts.last!).epsilon(delta: delta) * 1.01, 1e-9)
    while high < .infinity, upperDelta(epsilon: high) > delta { high *= 2 }
    guard high < .infinity else { return .infinity }
    var low = 0.0
    // ε spans many powers of ten: first its size, then its digits.
    var floor = high / 2
    while floor > 1e-9, upperDelta(epsilon: floor) <= delta { (high, floor) = (floor, floor / 16) }
    low = floor > 1e-9 ? floor : 0
    while high - low > 1e-6 * high + 1e-12 {
      let middle = low + (high - low) / 2
      if upperDelta(epsilon: middle) > delta { low = middle } else { high = middle }
    }
    return high * (1 + 1e-9)
  }

  // MARK: Lower bounds

  /// At most ε(δ), from the main phase alone: what else was released only adds.
  func lowerEpsilon(delta: Double) -> Double {
    var best = 0.0
    for count in counts where count >= 1 {
      let logTail = tail.logLower(atLeast: count)
      guard logTail > log(delta) else { continue }
      let shift = count.squareRoot() / noiseMultiplier
      for z in Self.margins {
        let logHit = logTail + NormalDistribution.logUpperTail(-z)
        guard logHit > log(delta) else { continue }
        let logExcess = logHit + log(-expm1(log(delta) - logHit))
        let logFalse = min(0, logChoices(count) + NormalDistribution.logUpperTail(shift - z))
        best = max(best, logExcess - logFalse * (1 - 1e-12))
      }
    }
    return best < .infinity ? max(0, best * (1 - 1e-9) - 1e-9) : .greatestFiniteMagnitude
  }

  private static let margins = [-3.0, -2, -1, 0, 0.5, 1, 1.5, 2, 3, 4, 6]

  /// At least log (n choose k).
  private func logChoices(_ count: Double) -> Double {
    // From the mass at probability k/n, where the deviance vanishes.
    guard count < tail.trials else { return 0 }
    let rate = count / tail.trials
    let mass = BinomialTail(trials: tail.trials, probability: rate, complement: 1 - rate).logMass(count)
    return (mass - count * log(rate) - (tail.trials - count) * log1p(-rate)) * (1 + 1e-12) + 1e-9
  }
}
