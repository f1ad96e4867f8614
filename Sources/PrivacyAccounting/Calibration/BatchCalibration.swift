extension Accounting {
  /// The smallest expected batch at which the noise in the mean gradient is at most what the caller tolerates.
  ///
  /// The mean's noise deviation is σC/B per element. For a fixed budget σ grows more slowly than the batch B, so larger
  /// batches carry relatively less noise (Li et al. 2021, arXiv 2110.05679, Section 3), at the price of more
  /// work a step. σ is calibrated for each batch tried, as by
  /// ``noiseMultiplier(targetEpsilon:delta:samplingRate:steps:accountant:spent:)``.
  ///
  /// - Parameters:
  ///   - datasetSize: the public number of units N₀; the sampling rate is B / N₀.
  ///   - noiseToBatchRatio: the largest σ/B that is tolerated, above 0.
  ///   - steps: the number of steps for a batch size: constant, or falling with it for a fixed number of epochs.
  /// - Returns: the batch, in 1...datasetSize, and its noise multiplier.
  /// - Throws: ``AccountingError/noBatchFits(targetEpsilon:delta:ratio:)`` where not even the whole data set does, or
  ///   as the calibration.
  public static func minimumExpectedBatchSize(
    targetEpsilon: Double, delta: Double, datasetSize: Int, noiseToBatchRatio: Double,
    accountant kind: AccountantKind = .pld, spent: [DPSGDPhase] = [], steps: (_ batchSize: Int) -> Int
  ) throws(AccountingError) -> (batchSize: Int, noiseMultiplier: Double) {
    guard datasetSize >= 1 else { throw .invalidDatasetSize(datasetSize) }
    guard noiseToBatchRatio > 0 else { throw .invalidNoiseMultiplier(noiseToBatchRatio) }

    func noise(_ batch: Int) throws(AccountingError) -> Double {
      try noiseMultiplier(
        targetEpsilon: targetEpsilon, delta: delta, samplingRate: Double(batch) / Double(datasetSize),
        steps: steps(batch), accountant: kind, spent: spent)
    }
    var fitting = (batchSize: datasetSize, noiseMultiplier: try noise(datasetSize))
    guard fitting.noiseMultiplier <= noiseToBatchRatio * Double(datasetSize) else {
      throw .noBatchFits(targetEpsilon: targetEpsilon, delta: delta, ratio: noiseToBatchRatio)
    }
    var tooSmall = 0
    while fitting.batchSize - tooSmall > 1 {
      let middle = tooSmall + (fitting.batchSize - tooSmall) / 2
      let needed = try noise(middle)
      if needed <= noiseToBatchRatio * Double(middle) { fitting = (middle, needed) } else { tooSmall = middle }
    }
    return fitting
  }
}
