/// ε after so many steps.
public struct EpsilonCurvePoint: Codable, Equatable, Sendable {
  public let steps: Int
  public let bounds: EpsilonBounds

  public init(steps: Int, bounds: EpsilonBounds) {
    self.steps = steps
    self.bounds = bounds
  }
}

extension EpsilonCurvePoint {
  private enum CodingKeys: String, CodingKey { case steps }

  public init(from decoder: any Decoder) throws {
    let steps = try decoder.container(keyedBy: CodingKeys.self).decode(Int.self, forKey: .steps)
    self.init(steps: steps, bounds: try EpsilonBounds(from: decoder))
  }

  /// One object: the bounds' fields, and "steps".
  public func encode(to encoder: any Encoder) throws {
    try bounds.encode(to: encoder)
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(steps, forKey: .steps)
  }
}

extension Accounting {
  /// ε at each of `steps`, counted over `phases` in their order; beyond the last phase its ε stays.
  ///
  /// - Parameter spent: what was spent on the same data before the first of those steps: composed into every point, also that of no step.
  /// - Throws: ``AccountingError/invalidSteps(_:)`` for a negative number, or as ``epsilon(of:delta:accountant:gap:)``.
  public static func epsilonCurve(
    of phases: [DPSGDPhase], delta: Double, at steps: [Int], accountant kind: AccountantKind = .pld,
    gap: AccountingGap = .standard, spent: [DPSGDPhase] = []
  ) throws(AccountingError) -> [EpsilonCurvePoint] {
    var points: [EpsilonCurvePoint] = []
    for count in steps {
      let bounds = try epsilon(of: spent + prefix(of: phases, steps: count), delta: delta, accountant: kind, gap: gap)
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

/// ε as a run proceeds, for its log: an upper bound at every step that costs next to nothing.
///
/// ε is computed at anchors, each 2% (and at least one step) beyond the one before, and at the run's last step; in
/// between the next anchor's value is reported, which is a bound since ε never falls with steps. The
/// last step's own value is as fine as ``Accounting/epsilon(of:delta:accountant:gap:)``.
public struct RunningEpsilon: Sendable {
  private let spent: [DPSGDPhase]
  private let phase: DPSGDPhase
  private let delta: Double
  private let kind: AccountantKind
  private var anchor: (steps: Int, bounds: EpsilonBounds)?

  /// - Parameters:
  ///   - phase: the run, with its planned number of steps.
  ///   - spent: what was spent on the same data before.
  public init(
    phase: DPSGDPhase, spent: [DPSGDPhase] = [], delta: Double, accountant kind: AccountantKind = .pld
  ) throws(AccountingError) {
    try checkDelta(delta)
    self.phase = phase
    self.spent = spent
    self.delta = delta
    self.kind = kind
  }

  /// The bound after `steps` steps of the run. Cheap where `steps` rises from call to call.
  public mutating func epsilon(after steps: Int) throws(AccountingError) -> EpsilonBounds {
    if let anchor, steps <= anchor.steps, steps > Int(Double(anchor.steps) / 1.03) { return anchor.bounds }
    guard steps >= 0 else { throw .invalidSteps(steps) }
    let next = min(max(phase.steps, steps), steps + steps / 50)
    let reached = try DPSGDPhase(
      samplingRate: phase.samplingRate, noiseMultiplier: phase.noiseMultiplier, steps: next)
    let bounds = try Accounting.epsilon(of: spent + [reached], delta: delta, accountant: kind)
    anchor = (next, bounds)
    return bounds
  }
}
