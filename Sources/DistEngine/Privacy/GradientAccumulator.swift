/// Sums the gradients of a rank's share of a batch, microbatch by microbatch: plain, or clipped by unit.
package protocol GradientAccumulator: GradientSink {
  /// Where the sum grows.
  var sum: any GradientSum { get }
  /// Norms and factors of the last microbatch; nil where units aren't told apart.
  var clipFactors: ClipFactors? { get }

  /// Starts a batch: the sum is 0.
  func beginBatch()
  /// Starts a microbatch of so many units, before its forward pass.
  func beginMicrobatch(units: Int)
  /// Ends a microbatch, after its backward pass and before the next forward pass.
  ///
  /// - Parameter source: makes again what isn't kept.
  func endMicrobatch(_ source: some GradientSource)
  /// The sum of a private batch, as the Gaussian mechanism takes it; nil where nothing was clipped.
  var clippedSum: ClippedGradientSum? { get }
}

extension GradientAccumulator {
  package func beginBatch() { sum.clear() }
}
