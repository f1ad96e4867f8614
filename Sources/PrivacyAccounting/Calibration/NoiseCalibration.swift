import Foundation

extension Accounting {
  /// The smallest noise multiplier with which `steps` more steps at `samplingRate` keep within
  /// (`targetEpsilon`, `delta`), after the phases already `spent`.
  ///
  /// The bound at the value returned is verified to meet the target; it is at most a relative 1e-3 above the
  /// smallest that does. With nothing to protect (no steps, or q = 0) it is 0. Noise below
  /// ``smallestNoiseMultiplier`` isn't tried.
  ///
  /// - Throws: ``AccountingError/budgetAlreadySpent(targetEpsilon:delta:)`` where no noise helps,
  ///   ``AccountingError/unreachableTarget(targetEpsilon:delta:limit:)`` where it'd have to exceed
  ///   ``largestNoiseMultiplier``, or the error of a value out of range.
  public static func noiseMultiplier(
    targetEpsilon: Double, delta: Double, samplingRate: Double, steps: Int,
    accountant kind: AccountantKind = .pld, spent: [DPSGDPhase] = []
  ) throws(AccountingError) -> Double {
    let target = try CalibrationTarget(epsilon: targetEpsilon, delta: delta, accountant: kind, spent: spent)
    let idle = try DPSGDPhase(samplingRate: samplingRate, noiseMultiplier: 0, steps: steps)
    try target.checkBudgetIsLeft()
    guard idle.steps > 0, idle.samplingRate > 0 else { return 0 }

    func excess(_ logNoise: Double, tolerance: Double) throws(AccountingError) -> Double {
      let phase = try DPSGDPhase(
        samplingRate: samplingRate, noiseMultiplier: exp(logNoise), steps: steps)
      return try target.logExcess(adding: phase, tolerance: tolerance)
    }
    let floor = log(smallestNoiseMultiplier)
    let ceiling = log(largestNoiseMultiplier)
    guard
      let bracket = try Bracket(from: 0, in: floor...ceiling, of: { u throws(AccountingError) in
        try excess(u, tolerance: Bracket.coarse)
      })
    else {
      guard try excess(floor, tolerance: Bracket.coarse) > 0 else { return smallestNoiseMultiplier }
      throw .unreachableTarget(targetEpsilon: targetEpsilon, delta: delta, limit: largestNoiseMultiplier)
    }
    return exp(try bracket.refinedRoot(in: floor...ceiling, of: excess))
  }

  /// ε at `delta` of phases that were calibrated to a target, known finely enough to be at most the target.
  public static func calibratedEpsilon(
    of phases: [DPSGDPhase], delta: Double, accountant kind: AccountantKind = .pld, targetEpsilon: Double
  ) throws(AccountingError) -> EpsilonBounds {
    var bounds = EpsilonBounds(upper: .infinity)
    for relative in [1e-3, 1e-4, 1e-5, 1e-6] {
      let gap = AccountingGap(uncheckedRelative: relative, absolute: 0)
      bounds = try epsilon(of: phases, delta: delta, accountant: kind, gap: gap)
      if bounds.upper <= targetEpsilon { break }
    }
    return bounds
  }

  /// Noise multipliers below this are never returned: they protect next to nothing.
  public static let smallestNoiseMultiplier = 1e-6
  /// Noise multipliers above this are never returned.
  public static let largestNoiseMultiplier = 1e12
}

/// A budget, and what has been spent of it.
struct CalibrationTarget {
  let epsilon: Double
  let delta: Double
  let accountant: AccountantKind
  let spent: [DPSGDPhase]

  init(
    epsilon: Double, delta: Double, accountant: AccountantKind, spent: [DPSGDPhase]
  ) throws(AccountingError) {
    guard epsilon > 0, epsilon < .infinity else { throw .invalidEpsilon(epsilon) }
    try checkDelta(delta)
    self.epsilon = epsilon
    self.delta = delta
    self.accountant = accountant
    self.spent = spent
  }

  func checkBudgetIsLeft() throws(AccountingError) {
    let used = try Accounting.delta(of: spent, epsilon: epsilon, accountant: accountant)
    if used.upper > delta { throw .budgetAlreadySpent(targetEpsilon: epsilon, delta: delta) }
  }

  /// log(δ(target ε) / target δ) after `spent` and `phase`: at most 0 where the target is met.
  ///
  /// δ at a fixed ε is the smoother function to solve with: ε itself is flat at 0 for large noise.
  func logExcess(adding phase: DPSGDPhase, tolerance: Double) throws(AccountingError) -> Double {
    let upper = try bounds(adding: phase, tolerance: tolerance).upper
    return upper > 0 ? log(upper / delta) : -1000
  }
}

extension CalibrationTarget {
  /// δ at the target ε after `spent` and `phase`, to a relative tolerance; far below the target δ only roughly.
  private func bounds(adding phase: DPSGDPhase, tolerance: Double) throws(AccountingError) -> DeltaBounds {
    guard accountant == .pld else {
      return try Accounting.delta(of: spent + [phase], epsilon: epsilon, accountant: accountant)
    }
    var pld = PLDAccountant(gap: AccountingGap(uncheckedRelative: tolerance, absolute: 0))
    for phase in spent + [phase] { try pld.compose(phase) }
    return try pld.delta(epsilon: epsilon, scale: delta)
  }

  /// Whether the target is certainly met after `spent` and `phase`.
  func isMet(adding phase: DPSGDPhase) throws(AccountingError) -> Bool {
    for tolerance in [0.05, 2e-3, 1e-4, 5e-6] {
      let bounds = try bounds(adding: phase, tolerance: tolerance)
      if bounds.upper <= delta { return true }
      if let lower = bounds.lower, lower <= delta { continue }
      return false
    }
    return false
  }
}
