import Foundation

/// The composition of lattice losses in one direction: δ as a function of ε, as a bound on one side.
///
/// The powers are taken of an exponentially tilted distribution, p_k e^{ty_k}/M(t), whose bulk lies where δ comes from.
/// Without the tilt the error of a Fourier transform, about 10^{-16} a step and the same at every loss, is soon larger
/// than a small δ; with it the error is relative to what is computed. Every error is counted into the bound:
/// masses' relative errors, the transforms' rounding, what wraps around the window, what was cut off.
struct ComposedLoss {
  struct Factor {
    var lattice: LossLattice
    var count: Int
    /// Relative error of the lattice's masses.
    var relativeError: Double
  }

  let side: BoundSide
  private let spacing: Double
  /// Loss at index 0.
  private let origin: Double
  /// Index of the window's first element.
  private let firstIndex: Int
  private let tilt: Double
  /// log of what the tilted distribution is to be multiplied with: M(t)^n and the masses' relative error.
  private let logScale: Double
  /// Tilted probabilities, by index from the window's first.
  private let probabilities: [Double]
  /// Bound on the 2-norm of the probabilities' errors, times that of the weights they are summed with.
  private let roundingError: Double
  /// Bound on what is added at any ε: mass at infinity, mass above the window.
  private let missedDelta: Double
  /// Bound on what wrapped into the window, in the same unit as ``roundingError``.
  private let wrappedError: Double

  /// - Returns: nil where a lattice holds nothing, as a lower one far too coarse does.
  init?(
    _ factors: [Factor], side: BoundSide, tilt: Double, window: LossWindow, transform: RealFourierTransform
  ) {
    let size = transform.count
    let spacing = factors[0].lattice.spacing
    self.side = side
    self.spacing = spacing
    self.tilt = tilt
    origin = factors.reduce(0) { $0 + Double($1.count) * $1.lattice.offset }
    firstIndex = Int(((window.bottom - origin) / spacing).rounded(.down))

    var logScale = 0.0
    var logAbove = 0.0
    var logBelow = 0.0
    var infinityMass = 0.0
    var spectrum: RealFourierTransform.Spectrum?
    // X^n is off by n|X|^{n−1} times the error of X, which is at most ``RealFourierTransform/relativeError`` at every
    // frequency, the tilted masses' sum being 1. Where |X| is at least some modulus that is relative to X^n; elsewhere
    // X^n is tiny for large n.
    var relativeError = transform.relativeError
    var absoluteError = 0.0
    var lowestIndex = 0.0
    for factor in factors {
      let count = Double(factor.count)
      let logMoment = factor.lattice.logMoment(tilt: tilt)
      guard logMoment > -.infinity else { return nil }
      var power = transform.forward(
        Self.wrapped(factor.lattice, tilt: tilt, logMoment: logMoment, size: size))
      power.raise(to: factor.count)
      if spectrum == nil { spectrum = power } else { spectrum?.multiply(by: power) }
      let modulus = count > 5000 ? 0.99 : 0.5
      relativeError +=
        count * (transform.relativeError / modulus + RealFourierTransform.Spectrum.powerErrorPerUnit)
      absoluteError += count * transform.relativeError * pow(modulus, count - 1)
      lowestIndex += count * Double(factor.lattice.firstIndex)
      logScale += count * (logMoment + (side == .upper ? 1 : -1) * factor.relativeError)
      logAbove += count * (factor.lattice.logMoment(tilt: tilt + window.upwards) - logMoment)
      logBelow += count * (factor.lattice.logMoment(tilt: tilt - window.downwards) - logMoment)
      infinityMass += count * factor.lattice.infinityMass
    }
    let composed = transform.inverse(spectrum!)
    let start = Self.remainder(firstIndex, size)
    probabilities = Array(composed[start...] + composed[..<start])

    let end = Double(firstIndex + size) * spacing
    logAbove -= window.upwards * end
    logBelow += window.downwards * Double(firstIndex) * spacing
    if Double(firstIndex) <= lowestIndex { logBelow = -.infinity }
    self.logScale = logScale
    missedDelta = side == .upper ? infinityMass + exp(logScale - tilt * end + min(0, logAbove)) : 0
    let norm = composed.reduce(0) { $0 + $1 * $1 }.squareRoot()
    roundingError =
      (relativeError * norm + absoluteError) * 1.01
      * Self.weightNorm(tilt: tilt, spacing: spacing, size: size)
    // A wrapped outcome weighs at most sup_u e^{−tu}(1 − e^{−u}).
    let largestWeight = exp(tilt > 0 ? tilt * log(tilt / (1 + tilt)) : 0) / (1 + tilt)
    wrappedError = side == .lower ? largestWeight * min(1, exp(logAbove) + exp(logBelow)) : 0
  }

  /// The tilted masses, added up modulo the window.
  private static func wrapped(
    _ lattice: LossLattice, tilt: Double, logMoment: Double, size: Int
  ) -> [Double] {
    var values = [Double](repeating: 0, count: size)
    var index = remainder(lattice.firstIndex, size)
    for (i, logMass) in lattice.logMasses.enumerated() {
      let exponent = logMass + tilt * lattice.spacing * Double(lattice.firstIndex + i) - logMoment
      if exponent > -700 { values[index] += exp(exponent) }
      index = index + 1 == size ? 0 : index + 1
    }
    return values
  }

  /// Bound on the 2-norm of e^{−tu}(1 − e^{−u}) over u = spacing, 2·spacing, ….
  private static func weightNorm(tilt: Double, spacing: Double, size: Int) -> Double {
    let ratio = exp(-2 * tilt * spacing)
    let rest = -expm1(-2 * tilt * spacing)
    let linear = spacing * spacing * ratio * (1 + ratio) / (rest * rest * rest)
    return min(Double(size), ratio / rest, linear).squareRoot()
  }

  private static func remainder(_ index: Int, _ size: Int) -> Int {
    let value = index % size
    return value < 0 ? value + size : value
  }
}

/// The window of composed losses that a transform covers.
typealias LossWindow = LossCumulants.Window

// MARK: - Queries

extension ComposedLoss {
  /// Sums over the probabilities above one lattice point, and where that point is.
  private struct Tail {
    /// Σ p_j e^{−tu}(1 − e^{−u}) over losses u above the point.
    var weighted = 0.0
    /// Σ p_j e^{−(t+1)u}.
    var shifted = 0.0
  }

  /// Loss at index `k` of the window.
  private func loss(_ k: Int) -> Double { origin + Double(firstIndex + k) * spacing }

  /// log of what a tail at index `k` is multiplied with to give δ.
  private func logFactor(_ k: Int) -> Double { logScale - tilt * Double(firstIndex + k) * spacing }

  /// What has to be added to a tail's weighted sum for a bound (in an upper one), or taken off (in a lower).
  private var margin: Double {
    side == .upper ? roundingError : -(roundingError + wrappedError)
  }

  /// The bound on ε at `delta`: an upper one may be infinite, a lower one 0, where the window doesn't reach.
  func epsilon(delta: Double) -> Double {
    let wanted = delta - missedDelta
    guard wanted > 0 else { return .infinity }
    var found: Double?
    scan { k, tail in
      // The same comparison without an exponential for each point: only near the crossing is it made exactly.
      let threshold = exp(log(wanted) - logFactor(k))
      guard tail.weighted + margin > threshold else { return loss(k) > 0 }
      let reach = log1p(max(0, tail.weighted + margin - threshold) / tail.shifted)
      found = loss(k) + min(max(0, reach), spacing)
      return false
    }
    switch side {
    case .upper: return max(0, found ?? max(0, loss(0)))
    case .lower: return max(0, found ?? 0)
    }
  }

  /// The bound on δ at `epsilon`.
  func delta(epsilon: Double) -> Double {
    var result: Double?
    let index = Int(((epsilon - origin) / spacing).rounded(.down)) - firstIndex
    scan { k, tail in
      guard k <= index else { return true }
      let sum = tail.weighted - expm1(max(0, epsilon - loss(k))) * tail.shifted + margin
      result = exp(logFactor(k)) * sum
      return false
    }
    switch side {
    case .upper: return min(1, max(0, (result ?? 1) + missedDelta))
    case .lower: return min(1, max(0, result ?? 0))
    }
  }

  /// Visits the window's points from the top down with the tails above them, until `visit` returns false.
  private func scan(_ visit: (_ index: Int, _ tail: Tail) -> Bool) {
    let decay = exp(-tilt * spacing)
    let step = -expm1(-spacing)
    let fasterDecay = exp(-(tilt + 1) * spacing)
    var tail = Tail()
    for k in stride(from: probabilities.count - 1, through: 0, by: -1) {
      guard visit(k, tail) else { return }
      let above = tail.shifted + probabilities[k]
      tail.weighted = decay * (tail.weighted + step * above)
      tail.shifted = fasterDecay * above
    }
  }
}
