/// `Σ_i min(1, C/‖∇_i‖)·∇_i` over the examples of a batch, or a rank's part of it: the only thing to which the Gaussian
/// mechanism adds noise.
///
/// Adding or removing one example changes the sum by at most `sensitivity` in L2. The type is made by clipping alone, so that
/// an unclipped sum can't be mistaken for it.
package struct ClippedGradientSum {
  /// `[P]` in canonical order.
  package let gradient: TensorSlab
  /// C: the largest L2 norm of one example's contribution over all tensors.
  package let sensitivity: Double

  /// - Parameter gradient: a sum to which nothing but clipped gradients has been added.
  init(gradient: TensorSlab, sensitivity: Double) {
    self.gradient = gradient
    self.sensitivity = sensitivity
  }
}
