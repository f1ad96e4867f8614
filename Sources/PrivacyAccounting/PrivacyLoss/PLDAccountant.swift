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
      return EpsilonBounds(
        upper: exact * (1 + AnalyticGaussian.relativeError), lower: exact * (1 - AnalyticGaussian.relativeError))
    }
    return PrivacyLossProfile(composition, gap: gap).epsilon(delta: delta)
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
      let error = AnalyticGaussian.relativeError
      return DeltaBounds(
        upper: min(1, exp(fullBatch.logDelta(epsilon: epsilon * (1 - error)))),
        lower: exp(fullBatch.logDelta(epsilon: epsilon * (1 + error))))
    }
    return PrivacyLossProfile(composition, gap: gap).delta(epsilon: epsilon, scale: scale)
  }

  private var fullBatch: AnalyticGaussian {
    AnalyticGaussian(mu: composition.fullBatchSquaredMu.squareRoot())
  }
}
