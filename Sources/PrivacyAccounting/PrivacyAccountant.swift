/// The accountants there are.
public enum AccountantKind: String, Codable, CaseIterable, Sendable {
  /// Privacy loss distributions: a rigorous upper bound and a lower bound. The default.
  case pld
  /// Rényi differential privacy: a rigorous upper bound, looser.
  case rdp
  /// Gaussian differential privacy's central limit: an approximation, no bound.
  case gdp

  /// The accountant of this name; `prv` (privacy random variables, Gopi et al. 2021) is an alias of `pld`.
  public init?(name: String) {
    switch name.lowercased() {
    case "prv": self = .pld
    case let name: self.init(rawValue: name)
    }
  }
}

/// Adds up what events cost and answers ε(δ) and δ(ε).
///
/// An accountant's encoded form holds the events it was given, not numbers derived from them, so that a
/// checkpoint read by a later version gets the later version's answers.
public protocol PrivacyAccountant: Codable, Sendable {
  static var kind: AccountantKind { get }

  /// An accountant that has seen nothing: ε = 0.
  init()

  /// Adds `event`, `count` times.
  ///
  /// - Throws: ``AccountingError/unsupportedEvent(_:accountant:)`` for an event that isn't modelled, or the
  ///   error of a value out of range. The accountant is then unchanged.
  mutating func compose(_ event: PrivacyEvent, count: Int) throws(AccountingError)

  /// The ε at `delta`, strictly between 0 and 1.
  func epsilon(delta: Double) throws(AccountingError) -> EpsilonBounds

  /// The δ at `epsilon`, at least 0.
  func delta(epsilon: Double) throws(AccountingError) -> DeltaBounds
}

extension PrivacyAccountant {
  /// Adds `event` once.
  public mutating func compose(_ event: PrivacyEvent) throws(AccountingError) {
    try compose(event, count: 1)
  }

  /// Adds all steps of `phase`.
  public mutating func compose(_ phase: DPSGDPhase) throws(AccountingError) {
    try compose(PrivacyEvent(phase), count: 1)
  }
}

func checkDelta(_ delta: Double) throws(AccountingError) {
  guard delta > 0, delta < 1 else { throw .invalidDelta(delta) }
}

func checkEpsilon(_ epsilon: Double) throws(AccountingError) {
  guard epsilon >= 0 else { throw .invalidEpsilon(epsilon) }
}
