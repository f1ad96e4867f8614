/// The Gaussian mechanism on a sum of clipped gradients: adds N(0, (σC)² I), once for a logical batch (Dwork & Roth 2014,
/// Theorem A.1; Abadi et al. 2016, Algorithm 1).
///
/// The noise of step s for parameter element j, in canonical order, is a function of (key, s, j) alone. So it doesn't matter
/// which rank draws it, or how many ranks, microbatches or slices there are; it must be added exactly once.
package struct GaussianMechanism {
  /// σ: standard deviation of the noise over the sensitivity, C and the margin of rounding.
  package let noiseMultiplier: Double
  private let margin: Double
  private let source: GaussianSource

  /// - Parameter expectedBatchSize: B, of which the margin of rounding is a function (``ClippedGradientSum/roundingMargin(expectedBatchSize:)``).
  package init(noiseMultiplier: Double, expectedBatchSize: Int, source: GaussianSource) {
    precondition(noiseMultiplier >= 0 && noiseMultiplier.isFinite, "noise multiplier \(noiseMultiplier)")
    self.noiseMultiplier = noiseMultiplier
    margin = ClippedGradientSum.roundingMargin(expectedBatchSize: expectedBatchSize)
    self.source = source
  }

  /// Adds the noise of `step` to every element of the sum that this rank holds and that lies within `elements`: the ranks' ranges,
  /// or the parts that they hold, must neither overlap nor leave a gap.
  package func addNoise(to sum: ClippedGradientSum, step: Int, elements: Range<Int> = 0..<Int.max) {
    guard noiseMultiplier > 0 else { return }
    for part in sum.parts {
      guard let part = part.clamped(to: elements) else { continue }
      source.add(
        step: UInt64(step), elements: part.elements, scale: noiseMultiplier * sum.maxGradNorm * (1 + margin), to: part.values)
    }
  }
}
