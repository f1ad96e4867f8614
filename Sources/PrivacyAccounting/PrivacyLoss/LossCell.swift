import Foundation

/// Integrals over one cell of losses, [y, y + spacing] above a pair's base loss.
struct LossCell {
  /// P-mass that connect-the-dots puts on the cell's ends.
  let massToLowEnd: Double
  let massToHighEnd: Double
  /// How far the cell's tangent lies below the hockey-stick curve at the cell's ends.
  let gapAtLowEnd: Double
  let gapAtHighEnd: Double

  /// The cell that starts at the excess y over the base loss and covers x from `low` to `high`.
  ///
  /// Its tangent touches in the middle, moved so that neighbouring cells' tangents meet near the knot between
  /// them: any place is valid, this one loses least.
  init(pair: GaussianPair, excess: Double, spacing: Double, from low: Double, to high: Double) {
    // e^{L − base} = e^y·(1 + κ·expm1((x − low)/σ²)) with κ the posterior at `low`, so that with d = L − base − y the
    // wanted masses g·(1 − e^{−d}) and g·(e^{spacing − d} − 1) are φ·e^y·κ times simple differences.
    let logScale = pair.baseLoss + (pair.isFullBatch ? excess : excess > 40 ? excess : log(expm1(excess)))
    let variance = pair.noiseMultiplier * pair.noiseMultiplier
    let top = expm1((high - low) / variance)
    func integrate(_ from: Double, _ to: Double) -> (aboveLow: Double, belowHigh: Double) {
      var aboveLow = 0.0
      var belowHigh = 0.0
      GaussLegendre.forEachNode(from: from, to: to, scale: pair.noiseMultiplier) { x, weight in
        let density = weight * exp(logScale - x * x / (2 * variance))
        let ratio = expm1((x - low) / variance)
        aboveLow += density * max(0, ratio)
        belowHigh += density * max(0, top - ratio)
      }
      return (aboveLow / pair.densityNormaliser, belowHigh / pair.densityNormaliser)
    }

    let middle = excess + spacing / 2
    let slope = pair.logDensitySlope(at: pair.position(excess: middle))
    let shift = min(max(-slope * spacing / 12, -0.35), 0.35)
    let touch = min(max(pair.position(excess: middle + shift * spacing), low), high)
    let left = integrate(low, touch)
    let right = integrate(touch, high)
    massToHighEnd = (left.aboveLow + right.aboveLow) / -expm1(-spacing)
    massToLowEnd = (left.belowHigh + right.belowHigh) / expm1(spacing)
    gapAtLowEnd = left.aboveLow
    gapAtHighEnd = right.belowHigh
  }

  /// The cell that ends at the excess `end` and starts at or below the infimum of losses (q < 1): all that is
  /// below `high`, the x at its end.
  ///
  /// There the curve is the line 1 − α, and that is the tangent.
  init(pair: GaussianPair, below end: Double, spacing: Double, at high: Double) {
    let variance = pair.noiseMultiplier * pair.noiseMultiplier
    let logScale = pair.baseLoss + (end > 40 ? end : log(expm1(end)))
    let surplus = exp(-logScale + pair.baseLoss) * -expm1(end - spacing)
    var aboveLow = 0.0
    var belowHigh = 0.0
    GaussLegendre.forEachNode(
      from: min(pair.lowestPosition, high), to: high, scale: pair.noiseMultiplier
    ) { x, weight in
      let density = weight * exp(logScale - x * x / (2 * variance))
      let shift = (x - high) / variance
      aboveLow += density * (exp(shift) + surplus)
      belowHigh += density * max(0, -expm1(shift))
    }
    massToHighEnd = aboveLow / pair.densityNormaliser / -expm1(-spacing)
    massToLowEnd = belowHigh / pair.densityNormaliser / expm1(spacing)
    gapAtLowEnd = 0
    gapAtHighEnd = belowHigh / pair.densityNormaliser
  }
}

/// Gauss–Legendre quadrature of products of Gaussians and exponentials of width `scale`.
enum GaussLegendre {
  /// Calls `body(x, weight)` for nodes over [from, to], in pieces short enough that the relative error is below 1e-12
  /// wherever the integrand isn't negligible.
  @inline(__always)
  static func forEachNode(
    from: Double, to: Double, scale: Double, _ body: (_ x: Double, _ weight: Double) -> Void
  ) {
    guard to > from else { return }
    let width = (to - from) / scale
    let pieces = max(1, Int((width / 0.4).rounded(.up)))
    let half = (to - from) / Double(2 * pieces)
    for piece in 0..<pieces {
      let middle = from + half * Double(2 * piece + 1)
      if width < 0.03 {
        for (node, weight) in four {
          body(middle - half * node, half * weight)
          body(middle + half * node, half * weight)
        }
      } else {
        for (node, weight) in eight {
          body(middle - half * node, half * weight)
          body(middle + half * node, half * weight)
        }
      }
    }
  }

  /// Positive nodes and weights of the 4- and the 8-point rule on [−1, 1].
  private static let four: [(Double, Double)] = [
    (0.339981043584856264802665759103, 0.652145154862546142626936050778),
    (0.861136311594052575223946488893, 0.347854845137453857373063949222),
  ]
  private static let eight: [(Double, Double)] = [
    (0.183434642495649804939476142360, 0.362683783378361982965150449277),
    (0.525532409916328985817739049189, 0.313706645877887287337962201987),
    (0.796666477413626739591553936476, 0.222381034453374470544355994426),
    (0.960289856497536231683560868569, 0.101228536290376259152531354310),
  ]
}
