import Foundation

/// The cumulant generating function of the composed privacy loss in one direction, by quadrature.
///
/// With it the accountant foresees where δ comes from: the exponential tilt at which a Fourier transform resolves
/// it, the window of losses that matters, and the lattice spacing that the wanted gap asks for. No bound rests on
/// these numbers; a poor one only costs a refinement.
struct LossCumulants {
  struct Value {
    var log: Double
    var mean: Double
    var variance: Double
  }

  private struct Term {
    var moments: SampledGaussianMoments
    var count: Double
    /// Outcomes beyond are moved to infinite loss.
    var limit: Double
  }

  let direction: NeighbouringDirection
  private let terms: [Term]
  private let fullBatchSquaredMu: Double
  /// Sums of the steps' infima and suprema of the loss, possibly infinite, without what was moved to infinite loss.
  private let infimum: Double
  let supremum: Double

  /// - Parameter tail: probability of the whole composition that is moved to infinite loss.
  init(_ composition: GaussianComposition, direction: NeighbouringDirection, tail: Double) {
    self.direction = direction
    let stepTail = composition.stepTail(total: tail)
    terms = composition.sampled.map { phase in
      Term(
        moments: SampledGaussianMoments(
          samplingRate: phase.samplingRate, noiseMultiplier: phase.noiseMultiplier),
        count: Double(phase.steps), limit: GaussianPair(phase: phase).highestPosition(tail: stepTail))
    }
    fullBatchSquaredMu = composition.fullBatchSquaredMu
    var lowest = 0.0
    var highest = 0.0
    for phase in composition.sampled {
      let pair = GaussianPair(phase: phase)
      lowest += Double(phase.steps) * pair.baseLoss
      highest +=
        Double(phase.steps) * (pair.baseLoss + pair.excess(at: pair.highestPosition(tail: stepTail)))
    }
    let isBounded = fullBatchSquaredMu == 0
    infimum = isBounded && direction == .remove ? lowest : -.infinity
    // A little above, for the rounding of the sums.
    supremum = isBounded ? (direction == .remove ? highest : -lowest) * (1 + 1e-12) + 1e-12 : .infinity
  }

  /// log E e^{tL}, and mean and variance of L under the tilt.
  func value(_ tilt: Double) -> Value {
    var sum = Value(
      log: fullBatchSquaredMu * tilt * (tilt + 1) / 2, mean: fullBatchSquaredMu * (tilt + 0.5),
      variance: fullBatchSquaredMu)
    for term in terms {
      let step = tilted(term, tilt)
      sum.log += term.count * step.log
      sum.mean += term.count * (direction == .remove ? step.mean : -step.mean)
      sum.variance += term.count * step.variance
    }
    return sum
  }

  /// log E e^{al}, and moments of l, of one step: E_P e^{tL} = E_Q e^{(t+1)l} when removing; L = −l under Q when adding.
  private func tilted(_ term: Term, _ tilt: Double) -> (log: Double, mean: Double, variance: Double) {
    term.moments.tilted(order: direction == .remove ? tilt + 1 : -tilt, limit: term.limit)
  }

  /// Variance that rounding each step's loss to a lattice adds, roughly, under the tilt: spacing²/6, or the loss
  /// times the spacing where losses are smaller than a cell.
  func latticeVariance(tilt: Double) -> (_ spacing: Double) -> Double {
    let excesses = terms.map { term in
      let mean = tilted(term, tilt).mean - log1p(-term.moments.samplingRate)
      return (count: term.count, excess: max(0, mean))
    }
    let fullBatch = fullBatchSquaredMu > 0 ? 1.0 : 0
    return { spacing in
      excesses.reduce(fullBatch * spacing * spacing / 6) {
        $0 + $1.count * min(spacing * spacing / 6, $1.excess * spacing)
      }
    }
  }

  /// A tilt together with the ε whose δ it resolves.
  struct Saddle {
    var tilt: Double
    var epsilon: Double
    /// log δ(ε), estimated.
    var logDelta: Double
    var value: Value
  }

  /// The saddle of e^{K(t) − εt}/(t(1 + t)), and the estimate of δ from it, for the ε whose saddle is `tilt`.
  func saddle(tilt: Double) -> Saddle {
    let value = value(tilt)
    let epsilon = value.mean - 1 / tilt - 1 / (1 + tilt)
    let curvature = value.variance + 1 / (tilt * tilt) + 1 / ((1 + tilt) * (1 + tilt))
    let logDelta =
      value.log - epsilon * tilt - log(tilt) - log1p(tilt) - 0.5 * log(2 * Double.pi * curvature)
    return Saddle(tilt: tilt, epsilon: epsilon, logDelta: logDelta, value: value)
  }

  /// The saddle at which δ is about `delta`; one of ε near 0 where ε would be negative.
  func saddle(delta: Double) -> Saddle {
    // Where the tilt is far too large, nothing is a number any more: that is beyond, too.
    let found = search { !($0.logDelta >= log(delta)) }
    return found.epsilon >= 0 ? found : saddle(epsilon: 0)
  }

  /// The saddle of `epsilon`.
  func saddle(epsilon: Double) -> Saddle {
    search { !($0.epsilon <= epsilon) }
  }

  /// The smallest tilt, to about 0.1%, whose saddle is `beyond`.
  private func search(_ beyond: (Saddle) -> Bool) -> Saddle {
    let deviation = value(0).variance.squareRoot()
    var high = min(max(1 / deviation, 1e-6), 1e8)
    var low = high
    var atHigh = saddle(tilt: high)
    if beyond(atHigh) {
      while low > 1e-9 {
        low /= 4
        let atLow = saddle(tilt: low)
        guard beyond(atLow) else { break }
        (high, atHigh) = (low, atLow)
      }
    } else {
      while high < 1e9 {
        low = high
        high *= 2
        atHigh = saddle(tilt: high)
        if beyond(atHigh) { break }
      }
    }
    while high > low * 1.002 {
      let middle = (low * high).squareRoot()
      let atMiddle = saddle(tilt: middle)
      if beyond(atMiddle) { (high, atHigh) = (middle, atMiddle) } else { low = middle }
    }
    return atHigh
  }

  /// Losses outside of which the tilted composition has little probability, and the tilts whose Chernoff
  /// bounds say so.
  struct Window {
    var bottom: Double
    var top: Double
    /// Chernoff bound for losses above the top: tilt + this.
    var upwards: Double
    /// Chernoff bound for losses below the bottom: tilt − this.
    var downwards: Double
  }

  /// - Parameter logTail: log of the probability to be left out at either end.
  func window(_ saddle: Saddle, logTail: Double) -> Window {
    let gaussian = min((-2 * logTail / max(saddle.value.variance, 1e-18)).squareRoot(), 1e9)
    func best(_ factors: [Double], _ distance: (Double) -> Double) -> (distance: Double, tilt: Double) {
      factors.map { (distance(gaussian * $0), gaussian * $0) }.min { $0.0 < $1.0 }!
    }
    let up = best([0.125, 0.25, 0.5, 0.75, 1, 1.5]) { shift in
      (value(saddle.tilt + shift).log - saddle.value.log - logTail) / shift
    }
    let down = best([0.25, 0.5, 1, 2, 4, 8]) { shift in
      (value(saddle.tilt - shift).log - saddle.value.log - logTail) / shift
    }
    // Where the quadrature fails, far from any loss that matters, some window serves.
    let reach = 10 * saddle.value.variance.squareRoot()
    let bottom = down.distance.isFinite ? -down.distance : saddle.value.mean - reach
    let top = up.distance.isFinite ? up.distance : saddle.value.mean + reach
    return Window(bottom: max(bottom, infimum), top: top, upwards: up.tilt, downwards: down.tilt)
  }
}
