/// The accountants as functions, for programs that have phases and want numbers.
public enum Accounting {
  /// ε at `delta` after all of `phases`.
  ///
  /// - Parameter gap: how far apart the PLD accountant's two bounds may be; the others have no gap to close.
  /// - Throws: ``AccountingError`` for δ outside (0, 1).
  public static func epsilon(
    of phases: [DPSGDPhase], delta: Double, accountant kind: AccountantKind = .pld,
    gap: AccountingGap = .standard
  ) throws(AccountingError) -> EpsilonBounds {
    try accountant(kind, after: phases, gap: gap).epsilon(delta: delta)
  }

  /// δ at `epsilon` after all of `phases`.
  ///
  /// - Throws: ``AccountingError`` for a negative ε.
  public static func delta(
    of phases: [DPSGDPhase], epsilon: Double, accountant kind: AccountantKind = .pld,
    gap: AccountingGap = .standard
  ) throws(AccountingError) -> DeltaBounds {
    try accountant(kind, after: phases, gap: gap).delta(epsilon: epsilon)
  }

  /// An accountant of this kind that has seen `phases`.
  public static func accountant(
    _ kind: AccountantKind, after phases: [DPSGDPhase], gap: AccountingGap = .standard
  ) throws(AccountingError) -> any PrivacyAccountant {
    var accountant: any PrivacyAccountant =
      switch kind {
      case .pld: PLDAccountant(gap: gap)
      case .rdp: RDPAccountant()
      case .gdp: GDPAccountant()
      }
    for phase in phases { try accountant.compose(PrivacyEvent(phase), count: 1) }
    return accountant
  }
}
