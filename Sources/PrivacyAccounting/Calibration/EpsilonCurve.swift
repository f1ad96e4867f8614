/// ε after so many steps.
public struct EpsilonCurvePoint: Codable, Equatable, Sendable {
  public let steps: Int
  public let bounds: EpsilonBounds

  public init(steps: Int, bounds: EpsilonBounds) {
    self.steps = steps
    self.bounds = bounds
  }
}

extension Accounting {
  /// ε at each of `steps`, counted over `phases` in their order; beyond the last phase its ε stays.
  ///
  /// - Throws: ``AccountingError/invalidSteps(_:)`` for a negative number, or as ``epsilon(of:delta:accountant:gap:)``.
  public static func epsilonCurve(
    of phases: [DPSGDPhase], delta: Double, at steps: [Int], accountant kind: AccountantKind = .pld,
    gap: AccountingGap = .standard
  ) throws(AccountingError) -> [EpsilonCurvePoint] {
    var points: [EpsilonCurvePoint] = []
    for count in steps {
      let bounds = try epsilon(of: prefix(of: phases, steps: count), delta: delta, accountant: kind, gap: gap)
      points.append(EpsilonCurvePoint(steps: count, bounds: bounds))
    }
    return points
  }

  /// The first `steps` steps of `phases`.
  static func prefix(of phases: [DPSGDPhase], steps: Int) throws(AccountingError) -> [DPSGDPhase] {
    guard steps >= 0 else { throw .invalidSteps(steps) }
    var left = steps
    var result: [DPSGDPhase] = []
    for phase in phases where left > 0 {
      let taken = min(left, phase.steps)
      result.append(
        try DPSGDPhase(
          samplingRate: phase.samplingRate, noiseMultiplier: phase.noiseMultiplier, steps: taken))
      left -= taken
    }
    return result
  }
}
