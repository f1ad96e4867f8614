import Foundation

/// Whose data set holds the unit in which the two differ.
enum NeighbouringDirection: CaseIterable {
  /// δ of P against Q: the unit is removed.
  case remove
  /// δ of Q against P: the unit is added.
  case add
}

/// Which side of the truth a discretisation is on.
enum BoundSide {
  case upper
  case lower
}

/// A pair's privacy loss in one direction on a lattice of losses `offset + (firstIndex + i)·spacing`.
struct LossLattice {
  let spacing: Double
  let offset: Double
  let firstIndex: Int
  /// log of the mass at each lattice point under the first distribution of the pair; −∞ for none.
  let logMasses: [Double]
  /// Mass at loss +∞.
  let infinityMass: Double

  /// log Σ mass·e^{t·k·spacing}, k counted from the lattice's own zero: the offset is left out.
  func logMoment(tilt: Double) -> Double {
    var peak = -Double.infinity
    for (i, logMass) in logMasses.enumerated() {
      peak = max(peak, logMass + tilt * spacing * Double(firstIndex + i))
    }
    guard peak > -.infinity else { return -.infinity }
    var sum = 0.0
    for (i, logMass) in logMasses.enumerated() {
      let exponent = logMass + tilt * spacing * Double(firstIndex + i) - peak
      if exponent > -60 { sum += exp(exponent) }
    }
    return peak + log(sum) + (sum > 0 ? Double(logMasses.count) * 1e-26 : 0)
  }
}

/// A pair's loss rounded to a lattice from above and from below.
///
/// Write H(α) for the pair's hockey-stick curve sup_A P(A) − αQ(A). A pair on the lattice is piecewise linear in α
/// there, with knots α_k = e^{y_k}, and a pair whose curve is above (below) H everywhere gives an upper (lower)
/// bound of δ under any composition (Blackwell; Zhu, Dong & Wang 2022, arXiv 2106.08567v4, Theorem 10).
///
/// - Upper: the chords of H. Each cell's mass goes to the cell's two ends so that P- and Q-mass are both kept:
///   "connect the dots" (Doroshenko et al. 2022, arXiv 2207.04380v2).
/// - Lower: in each cell a tangent of H, at c_k. At a knot the two tangents lie E_k(c_k) and D_{k−1}(c_{k−1}) below H; the
///   curve through H(α_k) − max(E_k, D_{k−1}) is below both, so below H. With c_k well chosen the two differ in the
///   fourth order of the spacing, so this loses no more than connect-the-dots does.
///
/// All sums here are of positive terms from Gauss–Legendre quadrature in x; nothing is a difference of
/// distribution functions.
struct LossDiscretisation {
  let pair: GaussianPair
  let spacing: Double
  /// Largest relative error of a mass, from quadrature and rounding.
  let relativeError: Double
  private var upperMasses: [Double]
  private var lowerMasses: [Double]
  /// Excess over the base loss at which the lower curve's knots start.
  private let lowerStart: Double
  /// P- and Q-mass above the last lattice point, and below the first.
  private let aboveP: Double
  private let aboveQ: Double
  private let belowP: Double
  private let belowQ: Double

  /// - Parameter tail: probability that may be moved to infinite loss.
  init(pair: GaussianPair, spacing: Double, tail: Double) {
    self.pair = pair
    self.spacing = spacing
    let extent = pair.excess(at: pair.highestPosition(tail: tail))
    let cells = max(2, Int((extent / spacing).rounded(.up)))

    var upper = [Double](repeating: 0, count: cells + 1)
    var low = pair.lowestPosition
    for k in 0..<cells {
      let high = max(low, pair.position(excess: Double(k + 1) * spacing))
      let cell =
        k == 0 && !pair.isFullBatch
        ? LossCell(pair: pair, below: spacing, spacing: spacing, at: high)
        : LossCell(pair: pair, excess: Double(k) * spacing, spacing: spacing, from: low, to: high)
      upper[k] += cell.massToLowEnd
      upper[k + 1] += cell.massToHighEnd
      low = high
    }
    upperMasses = upper
    (lowerMasses, lowerStart) = Self.lowerMasses(pair: pair, spacing: spacing, cells: cells)
    let end = pair.position(excess: Double(cells) * spacing)
    aboveP = pair.upperTailOfP(end)
    aboveQ = pair.upperTailOfQ(end)
    let bottom = pair.lowestPosition
    belowP = pair.isFullBatch ? NormalDistribution.upperTail((1 - bottom) / pair.noiseMultiplier) : 0
    belowQ = pair.isFullBatch ? NormalDistribution.upperTail(-bottom / pair.noiseMultiplier) : 0
    let reach = max(abs(end), pair.isFullBatch ? abs(bottom) : 0) / pair.noiseMultiplier
    relativeError = 2e-12 + 8 * Double.ulpOfOne * reach * reach
  }

  /// The lower curve's masses, and the excess over the base loss of the first of them.
  ///
  /// For q < 1 the curve starts with the line 1 − α, which is H below the infimum of losses. The first knot is
  /// put where the next cell's tangent meets that line: a gap too wide there would be one of first order
  /// in the spacing, and with tiny q most of the mass is near the infimum.
  private static func lowerMasses(
    pair: GaussianPair, spacing: Double, cells: Int
  ) -> (masses: [Double], start: Double) {
    let start = pair.isFullBatch ? 0 : firstKnot(pair: pair, spacing: spacing, cells: cells)
    let cells = max(2, cells - Int(start / spacing))
    var masses = [Double](repeating: 0, count: cells + 1)
    var gaps = [Double](repeating: 0, count: cells + 1)
    var low = pair.lowestPosition
    var gapBefore = 0.0
    if !pair.isFullBatch {
      low = max(low, pair.position(excess: start))
      let line = LossCell(pair: pair, below: start, spacing: spacing, at: low)
      masses[0] = line.massToHighEnd
      gaps[0] = line.gapAtHighEnd
    }
    for k in 0..<cells {
      let excess = start + Double(k) * spacing
      let high = max(low, pair.position(excess: excess + spacing))
      let cell = LossCell(pair: pair, excess: excess, spacing: spacing, from: low, to: high)
      masses[k] += cell.massToLowEnd
      masses[k + 1] += cell.massToHighEnd
      gaps[k] = max(gaps[k], cell.gapAtLowEnd)
      gaps[k + 1] = cell.gapAtHighEnd
      low = high
    }
    // A tail is cut off above (and below, for q = 1): there the curve stays as far below H as at the end.
    gaps[cells] = max(gaps[cells], gaps[cells - 1])
    if pair.isFullBatch {
      gaps[0] = max(gaps[0], gaps[1])
      gapBefore = gaps[0]
    }
    let up = expm1(spacing)
    let down = -expm1(-spacing)
    for k in 0...cells {
      let below = k > 0 ? gaps[k - 1] : gapBefore
      let above = k < cells ? gaps[k + 1] : gaps[cells]
      masses[k] -= (above - gaps[k]) / up - (gaps[k] - below) / down
    }
    return (convexHull(of: masses, spacing: spacing), start)
  }

  /// The excess at which the line 1 − α and the tangent of the cell above are equally far below H.
  private static func firstKnot(pair: GaussianPair, spacing: Double, cells: Int) -> Double {
    func isPast(_ excess: Double) -> Bool {
      let low = max(pair.lowestPosition, pair.position(excess: excess))
      let high = max(low, pair.position(excess: excess + spacing))
      let line = LossCell(pair: pair, below: excess, spacing: spacing, at: low)
      let cell = LossCell(pair: pair, excess: excess, spacing: spacing, from: low, to: high)
      return line.gapAtHighEnd > cell.gapAtLowEnd
    }
    var low = 0.0
    var high = spacing
    while !isPast(high), high < Double(cells) * spacing {
      low = high
      high *= 1.5
    }
    for _ in 0..<24 {
      let middle = (low + high) / 2
      if isPast(middle) { high = middle } else { low = middle }
    }
    return high
  }

  /// Removes knots at which the curve is concave (a negative mass), always to the curve's lower convex hull.
  ///
  /// A removed knot's mass goes to the knots beside it, P- and Q-mass both kept, as in connect-the-dots; that of the
  /// first one goes to the next, which keeps the P-mass, h(0).
  private static func convexHull(of masses: [Double], spacing: Double) -> [Double] {
    guard masses.contains(where: { $0 < 0 }) else { return masses }
    var result = masses
    var kept: [Int] = []
    for k in masses.indices {
      while let top = kept.last, result[top] < 0 {
        kept.removeLast()
        let mass = result[top]
        result[top] = 0
        guard let below = kept.last else {
          result[k] += mass
          break
        }
        let toAbove = expm1(-Double(top - below) * spacing) / expm1(-Double(k - below) * spacing)
        result[k] += mass * toAbove
        result[below] += mass * (1 - toAbove)
      }
      kept.append(k)
    }
    // If the mass at the last knot is negative, there is no such curve; an empty one is always below.
    return result[result.count - 1] >= 0 ? result : result.map { _ in 0 }
  }

  /// The losses of removing a unit.
  func removing(_ side: BoundSide) -> LossLattice {
    switch side {
    case .upper:
      var masses = upperMasses
      masses[0] += belowP
      return LossLattice(
        spacing: spacing, offset: pair.baseLoss, firstIndex: 0, logMasses: masses.map { log($0) },
        infinityMass: aboveP)
    case .lower:
      return LossLattice(
        spacing: spacing, offset: pair.baseLoss + lowerStart, firstIndex: 0,
        logMasses: lowerMasses.map { log($0) }, infinityMass: 0)
    }
  }

  /// The losses of adding a unit, from above: the same pair reversed, so that losses change sign, P and Q places, and
  /// connect-the-dots serves as it is. From below nothing is needed, since a lower bound in one direction is
  /// one on the larger of both.
  func adding() -> LossLattice {
    let last = upperMasses.count - 1
    var logMasses = (0...last).map { i in
      log(upperMasses[last - i]) - (pair.baseLoss + Double(last - i) * spacing)
    }
    logMasses[0] = log(exp(logMasses[0]) + aboveQ)
    return LossLattice(
      spacing: spacing, offset: -pair.baseLoss, firstIndex: -last, logMasses: logMasses, infinityMass: belowQ)
  }
}
