/// Layer normalisation `y = γ ⊙ x̂ + β`, `x̂ = (x - mean) / sqrt(var + ε)`, over the last dimension (Ba et al. 2016).
///
/// The forward pass keeps `x̂` and `1/sqrt(var + ε)`; the backward pass needs nothing else, so the residual stream itself
/// isn't kept.
package struct LayerNorm {
  package let gainTensor: Int
  package let biasTensor: Int
  package let gain: Vector
  package let bias: Vector
  package let epsilon: Float

  package init(gainTensor: Int, biasTensor: Int, epsilon: Float, parameters: TensorSlab) {
    self.gainTensor = gainTensor
    self.biasTensor = biasTensor
    self.epsilon = epsilon
    gain = parameters.vector(gainTensor)
    bias = parameters.vector(biasTensor)
  }

  /// Writes `normalized[R,d]`, `rstd[R]` and, with gain and bias, `y[R,d]`.
  package func forward(_ x: Matrix, normalized: Matrix, rstd: Vector, into y: Matrix) {
    RowKernels.layerNorm(x, epsilon: epsilon, normalized: normalized, rstd: rstd)
    RowKernels.scaleShift(normalized, gain: gain, bias: bias, into: y)
  }

  /// Writes `residualOut[R,d] = residualIn +` the gradient at this layer's input; the two may be the same.
  package func backward(
    outputGradient dy: Matrix, normalized: Matrix, rstd: Vector, residualIn: Matrix, residualOut: Matrix
  ) {
    RowKernels.layerNormBackward(
      outputGradient: dy, normalized: normalized, rstd: rstd, gain: gain, residualIn: residualIn,
      residualOut: residualOut)
  }

  package func gradient(normalized: Matrix, outputGradient: Matrix) -> LayerNormGradient {
    LayerNormGradient(
      gainTensor: gainTensor, biasTensor: biasTensor, normalized: normalized, outputGradient: outputGradient)
  }
}

/// Example i's gradient: `Σ_t g_t ⊙ x̂_t` for the gain, `Σ_t g_t` for the bias.
package struct LayerNormGradient: LayerGradient {
  let gainTensor: Int
  let biasTensor: Int
  let normalized: Matrix
  let outputGradient: Matrix

  package var primary: Int { gainTensor }
  package var secondary: Int? { biasTensor }
  package var kind: LayerGradientKind { .norm(self) }

  package func sumGradient(rows: Range<Int>, into target: GradientTarget, workspace: GradientWorkspace) {
    guard let sums = sums(of: target, workspace: workspace) else { return }
    RowKernels.layerNormGradient(
      outputGradient: outputGradient.rows(rows), normalized: normalized.rows(rows), gainGradient: sums.gain,
      biasGradient: sums.bias)
  }

  /// Where a target takes gain and bias. The one of them that isn't the target's goes to scratch; nil where neither is.
  private func sums(of target: GradientTarget, workspace: GradientWorkspace) -> (gain: Vector, bias: Vector)? {
    let (gain, bias) = (target.clearedPart(of: gainTensor), target.clearedPart(of: biasTensor))
    guard gain != nil || bias != nil else { return nil }
    let discarded = discarded(workspace)
    return (gain?.matrix.elements ?? discarded.gain, bias?.matrix.elements ?? discarded.bias)
  }

  private func discarded(_ workspace: GradientWorkspace) -> (gain: Vector, bias: Vector) {
    let width = outputGradient.columns
    return (
      Vector(rebasing: workspace.columnSums[..<width]), Vector(rebasing: workspace.columnSums[width..<2 * width])
    )
  }

  package func squaredGradientNorms(rows: Range<Int>, workspace: GradientWorkspace) -> SquaredNorms {
    let width = outputGradient.columns
    let gain = Vector(rebasing: workspace.columnSums[..<width])
    let bias = Vector(rebasing: workspace.columnSums[width..<2 * width])
    gain.update(repeating: 0)
    bias.update(repeating: 0)
    RowKernels.layerNormGradient(
      outputGradient: outputGradient.rows(rows), normalized: normalized.rows(rows), gainGradient: gain,
      biasGradient: bias)
    return SquaredNorms(primary: RowKernels.squaredNorm(gain), secondary: RowKernels.squaredNorm(bias))
  }

  package func sumWeightedGradients(
    _ weights: GradientWeights, into target: GradientTarget, workspace: GradientWorkspace
  ) {
    guard let sums = sums(of: target, workspace: workspace) else { return }
    // Gain and bias may leave out different examples (per-layer clipping), so each runs over its own rows; what the
    // other one would have added goes to scratch.
    let discarded = discarded(workspace)
    if weights.primary.runs == weights.secondary.runs {
      for rows in weights.primary.runs { add(rows, weights, sums.gain, sums.bias) }
    } else {
      for rows in weights.primary.runs { add(rows, weights, sums.gain, discarded.bias) }
      for rows in weights.secondary.runs { add(rows, weights, discarded.gain, sums.bias) }
    }
  }

  private func add(_ rows: Range<Int>, _ weights: GradientWeights, _ gain: Vector, _ bias: Vector) {
    RowKernels.layerNormGradient(
      outputGradient: outputGradient.rows(rows), normalized: normalized.rows(rows),
      gainWeights: weights.primary.weights(rows), biasWeights: weights.secondary.weights(rows), gainGradient: gain,
      biasGradient: bias)
  }
}
