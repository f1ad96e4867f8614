import Foundation

/// Moments of the privacy loss of one step of the Poisson-sampled Gaussian mechanism.
///
/// With x ~ N(0, σ²) and l(x) = log(1 − q + q e^{(x − 1/2)/σ²}), everything here is about A_a = E e^{a l(x)}
/// (Mironov, Talwar & Zhang 2019, arXiv 1908.10530v1, Section 3): the Rényi divergence of order a is
/// log A_a / (a − 1). The published binomial series cancels badly for fractional orders near 1 and tiny q, so
/// A_a is integrated by the trapezoidal rule, which converges exponentially for such integrands.
package struct SampledGaussianMoments {
  package let samplingRate: Double
  package let noiseMultiplier: Double
  private let variance: Double
  private let logOdds: Double

  /// - Parameter samplingRate: strictly between 0 and 1.
  package init(samplingRate: Double, noiseMultiplier: Double) {
    self.samplingRate = samplingRate
    self.noiseMultiplier = noiseMultiplier
    variance = noiseMultiplier * noiseMultiplier
    logOdds = log(samplingRate) - log1p(-samplingRate)
  }

  /// l(x).
  @inline(__always)
  private func loss(_ x: Double) -> Double {
    let exponent = (x - 0.5) / variance
    if exponent > 30 {
      let scaled = log(samplingRate) + exponent
      return scaled > 700 ? scaled : log1p(-samplingRate) + log1p(exp(scaled) / (1 - samplingRate))
    }
    return log1p(samplingRate * expm1(exponent))
  }

  /// Probability that the unit was in the sample, given x: σ² times the slope of l.
  private func posterior(_ x: Double) -> Double {
    1 / (1 + exp(-((x - 0.5) / variance + logOdds)))
  }

  // MARK: Rényi divergence

  /// Noise multipliers whose integrands have a number of nodes, and exponents, that quadrature can do with.
  private static let quadratureRange = 0.02...1e100
  /// Orders for which it can.
  private static let quadratureExcess = 1e-7...2e6

  /// The Rényi divergence of order 1 + `excess` > 1 of one step, in nats: within a relative 1e-9, or, where that can't be had, an
  /// upper bound.
  package func renyiDivergence(excess: Double) -> Double {
    let bound = convexityBound(excess: excess)
    guard Self.quadratureRange.contains(noiseMultiplier), Self.quadratureExcess.contains(excess) else { return bound }
    let divergence = logMoment(excess: excess) / excess
    // What isn't a number, or isn't positive where nothing is zero, is no bound.
    return divergence > 0 ? min(divergence, bound) : bound
  }

  /// (1 − q + q e^u)^a ≤ 1 − q + q e^{au}, since a-th powers are convex: log A_a ≤ log(1 − q + q e^{a(a − 1)/(2σ²)}).
  private func convexityBound(excess: Double) -> Double {
    // Divided twice: the square of a small σ is no double. All of it rounded up.
    let exponent = excess * (1 + excess) / 2 / noiseMultiplier / noiseMultiplier * (1 + 1e-9)
    let logMoment = exponent > 500 ? exponent : log1p(samplingRate * expm1(exponent))
    return max(logMoment, Double.leastNormalMagnitude) / excess
  }

  /// log A_a for a = 1 + `excess`.
  private func logMoment(excess: Double) -> Double {
    let order = 1 + excess
    // A large moment is one of positive terms without cancellation. A small one is 1 + something tiny, and
    // since E(e^l − 1) = 0, the tiny part is E[(e^{al} − 1) − a(e^l − 1)], whose integrand is never negative.
    let grid = quadrature(order: order) { peak in peak > 20 ? peak - 60 : -110 }
    let normaliser = grid.step / (noiseMultiplier * (2 * Double.pi).squareRoot())
    let peak = max(exponent(order, grid.peaks.low), exponent(order, grid.peaks.high))
    var sum = 0.0
    for node in grid.nodes {
      let x = Double(node) * grid.step
      if peak > 20 {
        sum += exp(exponent(order, x) - peak)
      } else {
        sum += convexityGap(excess: excess, at: x)
      }
    }
    return peak > 20 ? peak + log(sum * normaliser) : log1p(sum * normaliser)
  }

  /// φ·[(e^{al} − 1) − a(e^l − 1)] without φ's normaliser: never negative for a > 1, and without cancellation for
  /// small l.
  private func convexityGap(excess s: Double, at x: Double) -> Double {
    let a = 1 + s
    let l = loss(x)
    let gaussian = -x * x / (2 * variance)
    if abs(a * l) <= 1e-3 {
      // a l²/2 · [(a − 1) + (a² − 1) l/3 + (a³ − 1) l²/12 + (a⁴ − 1) l³/60 + …]
      let a2 = a * a
      let tail = (a2 * a - 1) * l / 12 + (a2 * a2 - 1) * l * l / 60 + (a2 * a2 * a - 1) * l * l * l / 360
      return exp(gaussian) * 0.5 * a * l * l * (s + s * (2 + s) * l / 3 + tail * l)
    }
    // As e^l(e^{sl} − 1) − s(e^l − 1), which loses nothing near order 1; e^l alone may be no double where the product is.
    if s * l > 1 { return exp(a * l + gaussian) - a * exp(l + gaussian) + s * exp(gaussian) }
    if l > 1 { return exp(l + gaussian) * (expm1(s * l) - s) + s * exp(gaussian) }
    return exp(gaussian) * (exp(l) * expm1(s * l) - s * expm1(l))
  }

  // MARK: Tilted moments

  /// log A_a, and mean and variance of l under the density proportional to φ e^{al}, for any real order a.
  ///
  /// These guide the choice of tilts, windows and grids; no bound rests on their accuracy.
  ///
  /// - Parameter limit: only x up to here count. Far outcomes of tiny probability would otherwise rule the
  ///   moments of high order.
  package func tilted(order: Double, limit: Double) -> (log: Double, mean: Double, variance: Double) {
    let grid = quadrature(order: order, limit: limit) { peak in peak - 40 }
    let peak = max(exponent(order, grid.peaks.low), exponent(order, grid.peaks.high))
    var mass = 0.0
    var first = 0.0
    var second = 0.0
    for node in grid.nodes {
      let x = Double(node) * grid.step
      let l = loss(x)
      let weight = exp(order * l - x * x / (2 * variance) - peak)
      mass += weight
      first += weight * l
      second += weight * l * l
    }
    guard mass > 0 else { return (peak, loss(min(limit, grid.peaks.high)), 0) }
    let mean = first / mass
    let normaliser = grid.step / (noiseMultiplier * (2 * Double.pi).squareRoot())
    return (peak + log(mass * normaliser), mean, max(0, second / mass - mean * mean))
  }

  // MARK: Quadrature

  /// Where the trapezoidal rule has nodes: multiples i·step of a common step, i in some ranges.
  private struct Quadrature {
    var step: Double
    var peaks: (low: Double, high: Double)
    var ranges: [ClosedRange<Int>]

    var nodes: some Sequence<Int> { ranges.joined() }
  }

  /// log of φ e^{al}, without φ's normaliser.
  private func exponent(_ order: Double, _ x: Double) -> Double {
    order * loss(x) - x * x / (2 * variance)
  }

  /// Nodes wherever the exponent is above `floor(peak)`.
  ///
  /// Stationary points of φ e^{al} solve x = a·posterior(x): one for a ≤ 1, at most three (peak, trough, peak) for
  /// a > 1, all between 0 and a. So it falls from each peak outwards, and the nodes of two walks are
  /// all there are. Poles of l are πσ² off the real line, and φ varies on the scale σ, which sets the step: the
  /// rule's error is about e^{-2π·distance/step}.
  private func quadrature(
    order: Double, limit: Double = .infinity, floor: (Double) -> Double
  ) -> Quadrature {
    let step = min(0.45 * noiseMultiplier, 0.28 * variance)
    // The first node beyond the limit still counts: rather too much than too little.
    let limit = limit < .infinity ? ((limit / step).rounded(.down) + 1) * step : limit
    var peaks = stationaryPoints(order: order)
    peaks = (min(peaks.low, limit), min(peaks.high, limit))
    let lowPeak = Int((peaks.low / step).rounded())
    let highPeak = Int((peaks.high / step).rounded())
    let threshold = floor(max(exponent(order, peaks.low), exponent(order, peaks.high)))
    func isAbove(_ index: Int) -> Bool {
      let x = Double(index) * step
      return x <= limit * (1 + 1e-12) && exponent(order, x) > threshold
    }

    var ranges: [ClosedRange<Int>] = []
    if isAbove(lowPeak) {
      var (first, last) = (lowPeak, lowPeak)
      while isAbove(first - 1) { first -= 1 }
      while last < highPeak, isAbove(last + 1) { last += 1 }
      ranges.append(first...last)
    }
    let covered = ranges.last?.upperBound ?? Int.min
    if isAbove(highPeak) {
      var (first, last) = (max(highPeak, covered + 1), highPeak)
      while first - 1 > covered, isAbove(first - 1) { first -= 1 }
      while isAbove(last + 1) { last += 1 }
      if first <= last { ranges.append(first...last) }
    }
    return Quadrature(step: step, peaks: peaks, ranges: ranges)
  }

  /// The lowest and the highest solution of x = a·posterior(x): the peaks of φ e^{al}.
  private func stationaryPoints(order: Double) -> (low: Double, high: Double) {
    guard order > 0 else {
      // The right-hand side falls with x: one solution, found by bisection.
      var (low, high) = (order, 0.0)
      for _ in 0..<60 {
        let middle = (low + high) / 2
        if order * posterior(middle) > middle { low = middle } else { high = middle }
      }
      return (low, low)
    }
    // The right-hand side rises with x: iterating from either end approaches the outermost solutions.
    var low = 0.0
    var high = order
    for _ in 0..<100 {
      low = order * posterior(low)
      high = order * posterior(high)
    }
    return (low, high)
  }
}
