/// `Σ_i min(1, C/‖∇_i‖)·∇_i` over the units of a batch, or a rank's part of it: the only thing to which the Gaussian
/// mechanism adds noise.
///
/// Adding or removing one unit changes the sum by at most `sensitivity` in L2. The type is made by clipping alone, so that
/// an unclipped sum can't be mistaken for it.
package struct ClippedGradientSum {
  /// What of the sum this rank holds, in canonical order.
  package let parts: [GradientPart]
  /// The largest L2 norm of one unit's contribution over all tensors: C and the margin.
  package let sensitivity: Double

  /// Norms and sums are computed in float: a contribution may exceed C by rounding. The noise is scaled for C·(1 + margin),
  /// which is far above what rounding does and far below what training notices.
  package static let roundingMargin = 0x1p-12

  /// - Parameters:
  ///   - sum: one to which nothing but clipped gradients has been added.
  ///   - maxGradNorm: C.
  package init(_ sum: any GradientSum, maxGradNorm: Double) {
    parts = sum.parts
    sensitivity = maxGradNorm * (1 + Self.roundingMargin)
  }
}
