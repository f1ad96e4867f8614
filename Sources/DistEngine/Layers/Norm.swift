/// Normalisation over the last dimension, by mean and variance or by the root mean square.
///
/// The forward pass keeps `x̂` and the factor that made it; the backward pass needs nothing else, so the residual stream itself isn't kept.
package struct Norm: Sendable {
  package enum Kind: Sendable {
    /// `y = γ ⊙ x̂ + β`, `x̂ = (x - mean) / sqrt(var + ε)` (Ba et al. 2016).
    case layer
    /// `y = γ ⊙ x̂`, `x̂ = x / sqrt(mean(x²) + ε)` (Zhang & Sennrich 2019).
    case rms
  }

  private let kind: Kind
  private let gain: ParameterID
  /// nil: root mean square.
  private let bias: ParameterID?
  private let epsilon: Float
  private let width: Int
  /// `x̂ [R,d]`.
  let normalized: PassBufferID
  private let rstd: PassBufferID

  /// Declares `name.weight`, and `name.bias` of a layer norm.
  ///
  /// - Parameter label: of its buffers.
  init(_ name: String, kind: Kind = .layer, label: String, width: Int, epsilon: Double, in d: inout ModelDeclaration) {
    self.kind = kind
    let group = d.newGroup()
    gain = d.parameter(name + ".weight", [width], role: .gain, group: group, fresh: .ones)
    bias = kind == .layer ? d.parameter(name + ".bias", [width], role: .bias, group: group, fresh: .zeros) : nil
    self.epsilon = Float(epsilon)
    self.width = width
    normalized = d.activation("\(label) normalized", columns: width)
    rstd = d.activation("\(label) rstd", columns: 1)
    d.needsColumnSums(2 * width)
  }

  /// The last read of the output gradient by the norm's own parameters.
  func lastRead(in d: ModelDeclaration) -> Int? {
    [d.lastRead(gain), bias.flatMap { d.lastRead($0) }].compactMap { $0 }.max()
  }

  /// - Parameter continues: whether the gradient at the input is needed.
  func declareBackward(outputGradient: PassBufferID, continues: Bool, in d: inout ModelDeclaration) {
    d.keepUntilBackward(outputGradient)
    d.keep(outputGradient, until: lastRead(in: d))
    d.keep(normalized, until: d.lastRead(gain))
    guard continues else { return }
    d.keepUntilBackward(normalized)
    d.keepUntilBackward(rstd)
  }

  /// Extends what the backward pass needs: it runs once more.
  func keep(until point: Int, in d: inout ModelDeclaration) {
    d.keep(normalized, until: point)
    d.keep(rstd, until: point)
  }

  /// Writes, with gain and bias, `y[R,d]`.
  func forward(_ x: Matrix, into y: Matrix, in pass: Pass) {
    let normalized = pass.matrix(normalized, columns: width)
    switch kind {
    case .layer: RowKernels.layerNorm(x, epsilon: epsilon, normalized: normalized, rstd: pass.vector(rstd))
    case .rms: RowKernels.rmsNorm(x, epsilon: epsilon, normalized: normalized, rstd: pass.vector(rstd))
    }
    RowKernels.scaleShift(normalized, gain: pass.vector(gain), bias: bias.map { pass.vector($0) }, into: y)
  }

  /// The result, as a linear layer's input.
  func output(in pass: Pass) -> LinearInput {
    .normalized(pass.matrix(normalized, columns: width), gain: pass.vector(gain), bias: bias.map { pass.vector($0) })
  }

  /// Writes `residualOut[R,d] = residualIn +` the gradient at this layer's input. The result may be `residualIn` or, without that, `dy`.
  ///
  /// - Parameter residualIn: nil: 0, of a layer norm.
  func backward(outputGradient dy: Matrix, residualIn: Matrix?, residualOut: Matrix, in pass: Pass) {
    let (normalized, rstd, gain) = (pass.matrix(normalized, columns: width), pass.vector(rstd), pass.vector(gain))
    switch kind {
    case .layer:
      RowKernels.layerNormBackward(
        outputGradient: dy, normalized: normalized, rstd: rstd, gain: gain, residualIn: residualIn, residualOut: residualOut)
    case .rms:
      guard let residualIn else { preconditionFailure("a root mean square norm behind its layer") }
      RowKernels.rmsNormBackward(
        outputGradient: dy, normalized: normalized, rstd: rstd, gain: gain, residualIn: residualIn, residualOut: residualOut)
    }
  }

  func isTrained(in pass: Pass) -> Bool { pass.tensor(gain) != nil || bias.flatMap { pass.tensor($0) } != nil }

  func gradient(outputGradient: Matrix, in pass: Pass) -> NormGradient {
    NormGradient(
      primary: pass.tensor(gain), secondary: bias.flatMap { pass.tensor($0) }, normalized: pass.matrix(normalized, columns: width),
      outputGradient: outputGradient)
  }
}

/// Example i's gradient: `Σ_t g_t ⊙ x̂_t` for the gain, `Σ_t g_t` for the bias.
package struct NormGradient {
  /// The gain; nil: frozen.
  package let primary: Int?
  /// The bias; nil: frozen, or there is none.
  package let secondary: Int?
  let normalized: Matrix
  let outputGradient: Matrix

  package func sumGradient(rows: Range<Int>, into target: GradientTarget, workspace: GradientWorkspace) {
    guard let sums = sums(of: target, workspace: workspace) else { return }
    RowKernels.layerNormGradient(
      outputGradient: outputGradient.rows(rows), normalized: normalized.rows(rows), gainGradient: sums.gain,
      biasGradient: sums.bias)
  }

  /// Where a target takes gain and bias. The one of them that isn't the target's goes to scratch; nil where neither is.
  private func sums(of target: GradientTarget, workspace: GradientWorkspace) -> (gain: Vector, bias: Vector)? {
    let (gain, bias) = (primary.flatMap { target.clearedPart(of: $0) }, secondary.flatMap { target.clearedPart(of: $0) })
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
    return SquaredNorms(
      primary: primary == nil ? 0 : RowKernels.squaredNorm(gain), secondary: secondary == nil ? 0 : RowKernels.squaredNorm(bias))
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

extension ModelDeclaration {
  /// Where the gradient at a block's norm's output goes: in a place of its own where the book keeps it, else in one that all share.
  mutating func normGradient(_ name: String, of norm: Norm, columns: Int) -> PassBufferID {
    policy.booksBlocks && norm.lastRead(in: self) != nil
      ? gradient(name, columns: columns)
      : blockScratch("layer norm output gradient", count: capacity.rows * columns, backwardOnly: true)
  }
}
