import Foundation

/// ε(δ) and δ(ε) of a composition, bounded from both sides, on lattices refined until the bounds are close.
struct PrivacyLossProfile {
  private let composition: GaussianComposition
  private let gap: AccountingGap

  /// Probability left out at either end of a window, under the tilt.
  private static let logTail = -24.0
  /// The longest transform, in points.
  private static let largestTransform = 1 << 22
  private static let smallestTransform = 1 << 8
  /// The most points of a single step's lattice.
  private static let largestLattice = 1 << 21

  /// - Parameter composition: not empty, no unprotected release.
  init(_ composition: GaussianComposition, gap: AccountingGap) {
    self.composition = composition
    self.gap = gap
  }

  // MARK: Questions

  func epsilon(delta: Double) -> EpsilonBounds {
    let tail = 0.02 * gap.relative * delta
    let cumulants = NeighbouringDirection.allCases.map { direction in
      LossCumulants(composition, direction: direction, tail: tail)
    }
    var best = (upper: Double.infinity, lower: 0.0)
    var isClose: Bool {
      best.upper < .infinity && best.upper - best.lower <= max(gap.relative * best.upper, gap.absolute)
    }
    // The saddle of δ can be far from the ε that is found, where rare large losses count as much as
    // many small ones: then the saddle of that ε resolves it better.
    for isFirst in [true, false] where !isClose {
      let found = best.upper
      guard isFirst || found < .infinity else { break }
      let plans = cumulants.map { cumulants in
        let saddle = isFirst ? cumulants.saddle(delta: delta) : cumulants.saddle(epsilon: found)
        return Plan(cumulants: cumulants, saddle: saddle, tail: Self.logTail)
      }
      tighten(&best, plans: plans, delta: delta, tail: tail)
    }
    return EpsilonBounds(
      upper: best.upper, lower: min(best.lower, best.upper),
      notes: isClose ? [] : ["the bounds are further apart than asked for: the finest lattice was not enough"])
  }

  private func tighten(_ best: inout (upper: Double, lower: Double), plans: [Plan], delta: Double, tail: Double) {
    let leading = plans.max { $0.saddle.epsilon < $1.saddle.epsilon }!
    let aim = max(gap.relative * leading.saddle.epsilon, gap.absolute / 1000, 1e-9)
    refine(plans, leading: leading, aim: aim, tail: tail) { lattices in
      var upper = 0.0
      var lower = 0.0
      for (plan, lattices) in zip(plans, lattices) {
        let most = plan.cumulants.direction == .add ? plan.cumulants.supremum : .infinity
        if most <= lower { continue }
        if let bound = lattices.chernoffEpsilon(plan: plan, delta: delta), bound <= lower { continue }
        upper = max(upper, min(most, lattices.composed(.upper)?.epsilon(delta: delta) ?? .infinity))
        lower = max(lower, lattices.composed(.lower)?.epsilon(delta: delta) ?? 0)
      }
      best.upper = min(best.upper, upper * (1 + 1e-12) + lattices[0].positionError)
      best.lower = max(best.lower, lower * (1 - 1e-12) - lattices[0].positionError)
      return (best.upper - best.lower) / max(gap.relative * best.lower, gap.absolute)
    }
  }

  /// - Parameter scale: a δ of which far smaller ones needn't be told from 0; nil to know δ whatever its size.
  func delta(epsilon: Double, scale: Double?) -> DeltaBounds {
    if let scale {
      return delta(epsilon: epsilon, tail: 0.02 * gap.relative * scale, allowed: 0.1 * gap.relative * scale)
    }
    // How much may go to infinite loss depends on δ itself: its size is approached from above, roughly first.
    let rough = PrivacyLossProfile(composition, gap: AccountingGap(uncheckedRelative: 0.5, absolute: 0))
    var scale = 1.0
    while scale > 1e-40 {
      let bound = rough.delta(epsilon: epsilon, tail: 0.01 * scale, allowed: 0.02 * scale).upper
      if bound > 0.2 * scale { break }
      scale = max(bound, 1e-3 * scale)
    }
    return delta(epsilon: epsilon, tail: 0.004 * gap.relative * scale, allowed: 0.01 * gap.relative * scale)
  }

  /// - Parameters:
  ///   - tail: probability that may be moved to infinite loss.
  ///   - allowed: distance of the bounds that is good enough whatever δ is.
  private func delta(epsilon: Double, tail: Double, allowed: Double) -> DeltaBounds {
    let plans = NeighbouringDirection.allCases.compactMap { direction -> Plan? in
      let cumulants = LossCumulants(composition, direction: direction, tail: tail)
      // No loss reaches ε but one that was moved to infinity.
      guard epsilon < cumulants.supremum else { return nil }
      return Plan(cumulants: cumulants, saddle: cumulants.saddle(epsilon: epsilon), tail: Self.logTail)
    }
    guard !plans.isEmpty else { return DeltaBounds(upper: tail, lower: 0) }
    // log δ falls by the tilt for each unit of ε.
    let leading = plans.max { $0.saddle.logDelta < $1.saddle.logDelta }!
    var best = (upper: 1.0, lower: 0.0)
    refine(plans, leading: leading, aim: gap.relative / leading.saddle.tilt, tail: tail) { lattices in
      var upper = 0.0
      var lower = 0.0
      for (plan, lattices) in zip(plans, lattices) {
        guard lattices.chernoffDelta(plan: plan, epsilon: epsilon) > lower else { continue }
        // A lattice's losses are exact to the position error: the bound at an ε that much off covers it.
        let error = lattices.positionError + 1e-12 * epsilon
        upper = max(upper, lattices.composed(.upper)?.delta(epsilon: epsilon - error) ?? 1)
        lower = max(lower, lattices.composed(.lower)?.delta(epsilon: epsilon + error) ?? 0)
      }
      best.upper = min(best.upper, max(upper, tail))
      best.lower = max(best.lower, lower)
      return (best.upper - best.lower) / max(gap.relative * best.upper, allowed)
    }
    return DeltaBounds(upper: best.upper, lower: min(best.lower, best.upper))
  }

  // MARK: Refinement

  /// What is known of a direction before any lattice is made.
  struct Plan {
    let cumulants: LossCumulants
    let saddle: LossCumulants.Saddle
    let window: LossWindow

    init(cumulants: LossCumulants, saddle: LossCumulants.Saddle, tail: Double) {
      self.cumulants = cumulants
      self.saddle = saddle
      var window = cumulants.window(saddle, logTail: tail)
      // A saddle's ε can lie below the bulk of the tilted losses, where δ is large.
      let margin = 0.02 * (window.top - window.bottom)
      window.bottom = min(window.bottom, max(0, saddle.epsilon) - margin)
      window.top = max(window.top, max(0, saddle.epsilon) + margin)
      self.window = window
    }
  }

  /// Makes ever finer lattices until `evaluate`, which returns the gap reached relative to the one allowed, has
  /// returned at most 1, or the longest transform has been used.
  private func refine(
    _ plans: [Plan], leading: Plan, aim: Double, tail: Double, evaluate: ([DirectedLattices]) -> Double
  ) {
    let widest = max(1e-12, leading.window.top - leading.window.bottom)
    let stepTail = composition.stepTail(total: tail)
    let pairs = pairs(tail: stepTail)
    // Neither a transform nor a single step's lattice may grow beyond bounds.
    let extent = pairs.map { $0.excess(at: $0.highestPosition(tail: stepTail)) }.max()!
    let finest = max(widest / Double(Self.largestTransform - 2), extent / Double(Self.largestLattice))
    var spacing = min(widest / Double(Self.smallestTransform - 2), self.spacing(for: aim, plan: leading))
    spacing = max(spacing, extent / Double(Self.largestLattice >> 4))
    for _ in 0..<8 {
      spacing = max(spacing, finest)
      // The transform's length is a power of two anyway: the spacing that fills it costs nothing.
      spacing = max(finest, widest / Double(Self.transformSize(widest / spacing) - 2))
      let discretisations = pairs.map { LossDiscretisation(pair: $0, spacing: spacing, tail: stepTail) }
      let ratio = evaluate(plans.map { DirectedLattices(discretisations, plan: $0) })
      guard ratio > 1, spacing > finest * 1.01 else { return }
      // Both bounds' errors fall with the square of the spacing.
      spacing *= ratio.isFinite ? min(0.7, max(0.05, 0.85 / ratio.squareRoot())) : 0.25
    }
  }

  private static func transformSize(_ points: Double) -> Int {
    var size = smallestTransform
    while Double(size - 2) < points, size < largestTransform { size *= 2 }
    return size
  }

  private func pairs(tail: Double) -> [GaussianPair] {
    var pairs = composition.sampled.map(GaussianPair.init(phase:))
    if composition.fullBatchSquaredMu > 0 {
      pairs.append(GaussianPair(fullBatchSquaredMu: composition.fullBatchSquaredMu, tail: tail))
    }
    return pairs
  }

  /// The spacing at which the bounds should be `aim` of ε apart, going by second moments.
  ///
  /// Rounding losses to the ends of their cells moves ε by about (t + 1)/2 times the variance that it adds, at tilt t,
  /// and the lower bound is half as far off on the other side.
  private func spacing(for aim: Double, plan: Plan) -> Double {
    let tilt = plan.saddle.tilt
    let variance = plan.cumulants.latticeVariance(tilt: tilt)
    func error(_ spacing: Double) -> Double { variance(spacing) * 0.75 * (tilt + 1) }
    var low = 0.0
    var high = 1 / (tilt + 1)
    guard error(high) > aim else { return high }
    for _ in 0..<20 {
      let middle = (low + high) / 2
      if error(middle) > aim { high = middle } else { low = middle }
    }
    return high
  }
}

/// All pairs' lattices in one direction, and the plan they serve.
struct DirectedLattices {
  private let upper: [ComposedLoss.Factor]
  private let lower: [ComposedLoss.Factor]
  private let plan: PrivacyLossProfile.Plan
  /// Bound on the rounding error of the composed losses' positions.
  let positionError: Double

  init(_ discretisations: [LossDiscretisation], plan: PrivacyLossProfile.Plan) {
    func factors(_ lattice: (LossDiscretisation) -> LossLattice) -> [ComposedLoss.Factor] {
      discretisations.map {
        ComposedLoss.Factor(lattice: lattice($0), count: $0.pair.count, relativeError: $0.relativeError)
      }
    }
    switch plan.cumulants.direction {
    case .remove:
      upper = factors { $0.removing(.upper) }
      lower = factors { $0.removing(.lower) }
    case .add:
      upper = factors { $0.adding() }
      lower = []
    }
    self.plan = plan
    positionError = discretisations.reduce(0) { sum, step in
      sum + Double(step.pair.count) * (abs(step.pair.baseLoss) + step.spacing) * 4 * Double.ulpOfOne
    }
  }

  /// The composition, or nil where it has no bound on that side.
  func composed(_ side: BoundSide) -> ComposedLoss? {
    let factors = side == .upper ? upper : lower
    let window = plan.window
    guard !factors.isEmpty, window.bottom.isFinite, window.top.isFinite, window.top > window.bottom else { return nil }
    let spacing = factors[0].lattice.spacing
    var size = 256
    while Double(size - 2) * spacing < plan.window.top - plan.window.bottom { size *= 2 }
    return ComposedLoss(
      factors, side: side, tilt: plan.saddle.tilt, window: plan.window, transform: RealFourierTransform(count: size))
  }

  /// log M(t)^n of the upper lattices at the plan's tilt, and their mass at infinity.
  private var logMoment: (log: Double, infinityMass: Double) {
    upper.reduce((0, 0)) { sum, factor in
      let step = factor.lattice.logMoment(tilt: plan.saddle.tilt) + factor.relativeError
      return (
        sum.0 + Double(factor.count) * (step + plan.saddle.tilt * factor.lattice.offset),
        sum.1 + Double(factor.count) * factor.lattice.infinityMass
      )
    }
  }

  /// log sup_u e^{−tu}(1 − e^{−u}): δ(ε) ≤ M(t)^n e^{−εt} times this.
  private var logLargestWeight: Double {
    let tilt = plan.saddle.tilt
    return tilt * (log(tilt) - log1p(tilt)) - log1p(tilt)
  }

  /// Chernoff's bound on ε at `delta`, nil where it has none.
  func chernoffEpsilon(plan: PrivacyLossProfile.Plan, delta: Double) -> Double? {
    let moment = logMoment
    guard delta > 2 * moment.infinityMass else { return nil }
    return (moment.log + logLargestWeight - log(delta - moment.infinityMass)) / plan.saddle.tilt + 1e-9
  }

  /// Chernoff's bound on δ at `epsilon`.
  func chernoffDelta(plan: PrivacyLossProfile.Plan, epsilon: Double) -> Double {
    let moment = logMoment
    return exp(moment.log + logLargestWeight - plan.saddle.tilt * epsilon + 1e-9) + moment.infinityMass
  }
}

extension GaussianComposition {
  /// The tail that each step may leave out, if all may leave out `total` together.
  func stepTail(total: Double) -> Double {
    total / (sampled.reduce(1) { $0 + Double($1.steps) })
  }
}
