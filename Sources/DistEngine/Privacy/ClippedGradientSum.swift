/// `Σ_i min(1, C/‖∇_i‖)·∇_i` over the units of a batch, or a rank's part of it: the only thing to which the Gaussian
/// mechanism adds noise.
///
/// Adding or removing one unit changes the sum by at most C in L2, and by what rounding does. The type is made by clipping alone, so that
/// an unclipped sum can't be mistaken for it.
package struct ClippedGradientSum {
  /// What of the sum this rank holds, in canonical order.
  package let parts: [GradientPart]
  /// C.
  package let maxGradNorm: Double

  /// What rounding may make of the bound, as a part of C: the noise is scaled for C·(1 + margin).
  ///
  /// A contribution may exceed C because norms and sums are computed in float. And one unit more changes the order in which all others are added up:
  /// n units' sum, nC at most, is rounded by up to u = 2⁻²⁴ of what is there at each of n additions at most, and with signs at random two sums differ by
  /// about u·n^1.5·C/2 where each unit is a microbatch of its own and all point one way: that is the margin. A fifth of it is the most that was measured
  /// with several units a microbatch (docs/privacy.md).
  package static func roundingMargin(expectedBatchSize: Int) -> Double {
    max(0x1p-12, 0x1p-25 * Double(expectedBatchSize) * Double(expectedBatchSize).squareRoot())
  }

  /// - Parameters:
  ///   - sum: one to which nothing but clipped gradients has been added.
  ///   - maxGradNorm: C.
  package init(_ sum: any GradientSum, maxGradNorm: Double) {
    parts = sum.parts
    self.maxGradNorm = maxGradNorm
  }
}
