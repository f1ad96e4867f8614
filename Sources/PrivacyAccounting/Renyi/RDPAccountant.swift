import Foundation

/// Rényi differential privacy: a rigorous upper bound without a grid of losses, looser than ``PLDAccountant``.
///
/// Per-step divergences at fractional and integer orders (Mironov, Talwar & Zhang 2019, arXiv 1908.10530v1), added up
/// over steps (Mironov 2017, arXiv 1702.07476v3, Proposition 1), converted by Balle et al. 2020 (arXiv 1905.09982v2,
/// Theorem 21), the same as Canonne, Kamath & Steinke 2020 (arXiv 2004.00010v3, Proposition 12):
/// ε = r + log(1 − 1/a) − (log δ + log a)/(a − 1).
///
/// The remove direction is the larger of the two at every order (Mironov, Talwar & Zhang 2019, Section 3.2), so it alone
/// is computed.
public struct RDPAccountant: PrivacyAccountant {
  public static let kind = AccountantKind.rdp

  /// Orders searched first: from 1.001 (large ε) to 10^6 (small ε), denser where optima usually lie. Between
  /// the best one's neighbours the order is then refined continuously: every order gives a valid bound.
  public static let defaultOrders: [Double] =
    [1.001, 1.002, 1.005, 1.01, 1.02, 1.03, 1.05, 1.07]
    + stride(from: 1.1, to: 11, by: 0.3) + stride(from: 11.0, to: 64, by: 3)
    + stride(from: 6, through: 20, by: 0.25).map { exp2($0) }

  private var composition = GaussianComposition()

  public init() {}

  public mutating func compose(_ event: PrivacyEvent, count: Int) throws(AccountingError) {
    try composition.add(event, count: count, for: Self.kind)
  }

  public func epsilon(delta: Double) throws(AccountingError) -> EpsilonBounds {
    try checkDelta(delta)
    guard !composition.isEmpty else { return .nothingReleased }
    guard !composition.hasUnprotectedRelease else { return .unprotected }
    let best = minimum { excess, divergence in
      Self.epsilon(divergence: divergence, excess: excess, delta: delta)
    }
    return Self.bounds(best, edges: (Self.excesses.first!, Self.excesses.last!))
  }

  /// The ε at `delta` by the best of `orders` alone, as libraries with a fixed list of orders compute it.
  ///
  /// - Throws: ``AccountingError/invalidOrder(_:)`` unless all orders are finite and above 1 and there is one.
  public func epsilon(delta: Double, orders: [Double]) throws(AccountingError) -> EpsilonBounds {
    try checkDelta(delta)
    guard let least = orders.min(), let most = orders.max() else { throw .invalidOrder(.nan) }
    for order in orders where !(order > 1 && order < .infinity) { throw .invalidOrder(order) }
    guard !composition.isEmpty else { return .nothingReleased }
    guard !composition.hasUnprotectedRelease else { return .unprotected }
    let candidates = orders.map { order in
      (value: Self.epsilon(divergence: divergence(excess: order - 1), excess: order - 1, delta: delta), excess: order - 1)
    }
    return Self.bounds(candidates.min { $0.value < $1.value }!, edges: (least - 1, most - 1))
  }

  public func delta(epsilon: Double) throws(AccountingError) -> DeltaBounds {
    try checkEpsilon(epsilon)
    guard !composition.isEmpty else { return .nothingReleased }
    guard !composition.hasUnprotectedRelease else { return .unprotected }
    let best = minimum { excess, divergence in
      divergence < .infinity ? excess * (divergence - epsilon + Self.logShrink(excess)) - log1p(excess) : .infinity
    }
    // What underflows is not 0.
    return DeltaBounds(upper: min(1, max(exp(best.value), Double.leastNormalMagnitude)))
  }

  /// The Rényi divergence of order `order` > 1 of everything composed, in nats; an upper bound that is within
  /// a relative 1e-8.
  ///
  /// - Throws: ``AccountingError/invalidOrder(_:)`` unless the order is finite and above 1.
  public func renyiDivergence(order: Double) throws(AccountingError) -> Double {
    guard order > 1, order < .infinity else { throw .invalidOrder(order) }
    return composition.hasUnprotectedRelease ? .infinity : divergence(excess: order - 1)
  }

  private func divergence(excess: Double) -> Double {
    // The quadrature's and rounding's relative error is below 1e-9; the factor keeps the bound above it.
    composition.sampled.reduce((1 + excess) * composition.fullBatchSquaredMu / 2) { sum, phase in
      let moments = SampledGaussianMoments(
        samplingRate: phase.samplingRate, noiseMultiplier: phase.noiseMultiplier)
      return sum + Double(phase.steps) * moments.renyiDivergence(excess: excess)
    } * (1 + 5e-9)
  }

  /// The conversion at one order, unclipped.
  package static func epsilon(divergence: Double, order: Double, delta: Double) -> Double {
    epsilon(divergence: divergence, excess: order - 1, delta: delta)
  }

  private static func epsilon(divergence: Double, excess: Double, delta: Double) -> Double {
    divergence + logShrink(excess) - (log(delta) + log1p(excess)) / excess
  }

  /// log(1 − 1/a).
  private static func logShrink(_ excess: Double) -> Double { log(excess) - log1p(excess) }

  /// a − 1 of the orders searched: where ε is huge, orders much closer to 1 than a double can say serve best.
  private static let excesses = stride(from: -60.0, through: -11, by: 1).map { exp2($0 * 1.5) } + defaultOrders.map { $0 - 1 }

  /// The smallest value of `objective(order − 1, divergence)` over all orders between the listed ones' ends.
  private func minimum(
    of objective: (_ excess: Double, _ divergence: Double) -> Double
  ) -> (value: Double, excess: Double) {
    func value(_ excess: Double) -> Double {
      let value = objective(excess, divergence(excess: excess))
      return value.isNaN ? .infinity : value
    }
    let excesses = Self.excesses
    let values = excesses.map(value)
    let best = values.indices.min { values[$0] < values[$1] }!
    guard best > 0, best < excesses.count - 1 else { return (values[best], excesses[best]) }

    // Golden section in log(a − 1), between the neighbours of the best listed order.
    let golden = (5.0.squareRoot() - 1) / 2
    var low = log(excesses[best - 1])
    var high = log(excesses[best + 1])
    var result = (value: values[best], excess: excesses[best])
    var left = high - golden * (high - low)
    var right = low + golden * (high - low)
    var atLeft = value(exp(left))
    var atRight = value(exp(right))
    for _ in 0..<24 {
      if atLeft < atRight {
        if atLeft < result.value { result = (atLeft, exp(left)) }
        (high, right, atRight) = (right, left, atLeft)
        left = high - golden * (high - low)
        atLeft = value(exp(left))
      } else {
        if atRight < result.value { result = (atRight, exp(right)) }
        (low, left, atLeft) = (left, right, atRight)
        right = low + golden * (high - low)
        atRight = value(exp(right))
      }
    }
    return result
  }

  private static func bounds(
    _ best: (value: Double, excess: Double), edges: (least: Double, most: Double)
  ) -> EpsilonBounds {
    var notes: [String] = []
    if best.excess == edges.least || best.excess == edges.most {
      notes.append(
        "the best Rényi order, \(1 + best.excess), is at the edge of the orders tried: a smaller bound may exist")
    }
    // An objective that isn't a number was taken for infinite: `max` would make 0 of it.
    return EpsilonBounds(upper: best.value > 0 ? best.value : 0, notes: notes)
  }
}
