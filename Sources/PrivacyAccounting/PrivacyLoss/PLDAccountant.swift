import Foundation

/// Privacy loss distributions: a rigorous upper bound on ε and a lower bound, as close as asked for.
///
/// The losses of the pair that dominates a step (Zhu, Dong & Wang 2022, arXiv 2106.08567v4) are rounded to a lattice from
/// above and from below (``LossDiscretisation``) and composed by Fourier transform under an exponential tilt
/// (``ComposedLoss``), for removing and for adding a unit; the lattice is refined until the bounds are within
/// ``gap``. Full-batch steps alone have a closed form (``AnalyticGaussian``), and that is used.
public struct PLDAccountant: PrivacyAccountant {
  public static let kind = AccountantKind.pld

  /// How far apart the bounds may be.
  public let gap: AccountingGap
  private var composition = GaussianComposition()

  public init() {
    self.init(gap: .standard)
  }

  public init(gap: AccountingGap) {
    self.gap = gap
  }

  public mutating func compose(_ event: PrivacyEvent, count: Int) throws(AccountingError) {
    try composition.add(event, count: count, for: Self.kind)
  }

  public func epsilon(delta: Double) throws(AccountingError) -> EpsilonBounds {
    try checkDelta(delta)
    guard !composition.isEmpty else { return .nothingReleased }
    guard !composition.hasUnprotectedRelease else { return .unprotected }
    guard !composition.sampled.isEmpty else {
      let exact = fullBatch.epsilon(delta: delta)
      guard exact < .infinity else { return EpsilonBounds(upper: .infinity, lower: .greatestFiniteMagnitude) }
      // Where δ(0) is below δ by more than rounding, ε is 0 without an error.
      let isZero = fullBatch.logDelta(epsilon: 0) < log(delta) - 1e-10
      let error = isZero ? 0 : fullBatch.error(at: exact)
      return EpsilonBounds(upper: exact + error, lower: max(0, exact - error))
    }
    if composition.suitsLattices, delta > Self.smallestLatticeDelta {
      let bounds = PrivacyLossProfile(composition, gap: gap).epsilon(delta: delta)
      if bounds.notes.isEmpty { return bounds }
      return try closedForm(delta: delta, besides: bounds)
    }
    return try closedForm(delta: delta, besides: nil)
  }

  /// Below, what lattices leave out isn't small beside δ in doubles.
  private static let smallestLatticeDelta = 1e-280

  /// The best of what needs no lattice, and of what one gave.
  private func closedForm(delta: Double, besides lattice: EpsilonBounds?) throws(AccountingError) -> EpsilonBounds {
    let participation = ParticipationBounds(composition, delta: delta)
    var rdp = RDPAccountant()
    for phase in composition.phases { try rdp.compose(phase) }
    let upper = min(participation.upperEpsilon(delta: delta), try rdp.epsilon(delta: delta).upper, lattice?.upper ?? .infinity)
    let lower = min(upper, max(participation.lowerEpsilon(delta: delta), lattice?.lower ?? 0))
    let isClose = upper < .infinity && upper - lower <= max(gap.relative * upper, gap.absolute)
    return EpsilonBounds(
      upper: upper, lower: lower,
      notes: isClose ? [] : ["the bounds are further apart than asked for: no lattice of losses holds such a run more finely"])
  }

  public func delta(epsilon: Double) throws(AccountingError) -> DeltaBounds {
    try delta(epsilon: epsilon, scale: nil)
  }

  /// As ``delta(epsilon:)``, but a δ far below `scale` needn't be told from 0, which is quicker.
  func delta(epsilon: Double, scale: Double?) throws(AccountingError) -> DeltaBounds {
    try checkEpsilon(epsilon)
    guard !composition.isEmpty else { return .nothingReleased }
    guard !composition.hasUnprotectedRelease, epsilon < .infinity else {
      return epsilon < .infinity ? .unprotected : DeltaBounds(upper: composition.hasUnprotectedRelease ? 1 : 0)
    }
    guard !composition.sampled.isEmpty else {
      let error = fullBatch.error(at: epsilon)
      return DeltaBounds(
        upper: min(1, exp(fullBatch.logDelta(epsilon: epsilon - error))),
        lower: exp(fullBatch.logDelta(epsilon: epsilon + error)))
    }
    if composition.suitsLattices, scale ?? 1 > Self.smallestLatticeDelta {
      return PrivacyLossProfile(composition, gap: gap).delta(epsilon: epsilon, scale: scale)
    }
    let participation = ParticipationBounds(composition, delta: scale ?? 1e-12)
    var rdp = RDPAccountant()
    for phase in composition.phases { try rdp.compose(phase) }
    return DeltaBounds(
      upper: min(participation.upperDelta(epsilon: epsilon), try rdp.delta(epsilon: epsilon).upper),
      lower: 0)
  }

  private var fullBatch: AnalyticGaussian {
    AnalyticGaussian(mu: composition.fullBatchSquaredMu.squareRoot())
  }
}

extension GaussianComposition {
  /// Whether the losses of every phase are few and far enough apart for a lattice: elsewhere its bounds are valid at best and far apart, and
  /// what isn't a number is taken for small.
  var suitsLattices: Bool {
    sampled.allSatisfy { (0.02...1e5).contains($0.noiseMultiplier) && $0.samplingRate < 1 - 1e-9 }
      && fullBatchSquaredMu < 1e6
  }
}
