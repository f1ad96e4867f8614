extension Accounting {
  /// The largest number of steps, at most `limit`, that keeps within (`targetEpsilon`, `delta`) after `spent`.
  ///
  /// - Returns: 0 where not even one step fits.
  /// - Throws: ``AccountingError/budgetAlreadySpent(targetEpsilon:delta:)``, or the error of a value out of range.
  public static func maximumSteps(
    targetEpsilon: Double, delta: Double, samplingRate: Double, noiseMultiplier: Double,
    accountant kind: AccountantKind = .pld, spent: [DPSGDPhase] = [], upTo limit: Int = 10_000_000
  ) throws(AccountingError) -> Int {
    let target = try CalibrationTarget(epsilon: targetEpsilon, delta: delta, accountant: kind, spent: spent)
    _ = try DPSGDPhase(samplingRate: samplingRate, noiseMultiplier: noiseMultiplier, steps: limit)
    try target.checkBudgetIsLeft()

    func fits(_ steps: Int) throws(AccountingError) -> Bool {
      let phase = try DPSGDPhase(
        samplingRate: samplingRate, noiseMultiplier: noiseMultiplier, steps: steps)
      return try target.isMet(adding: phase)
    }
    var fitting = 0
    var stride = 1
    var exceeding = limit
    if try fits(limit) { return limit }
    while exceeding - fitting > 1 {
      let next = min(fitting + stride, exceeding - 1)
      guard try fits(next) else {
        exceeding = next
        break
      }
      fitting = next
      stride *= 2
    }
    while exceeding - fitting > 1 {
      let middle = fitting + (exceeding - fitting) / 2
      if try fits(middle) { fitting = middle } else { exceeding = middle }
    }
    return fitting
  }
}
