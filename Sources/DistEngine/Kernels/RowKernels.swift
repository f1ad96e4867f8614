import CKernels

/// The typed face of `CKernels`: shapes are checked here, once per call. What each kernel computes, and whether it
/// writes or adds, stands in `CKernels.h`.
package enum RowKernels {
  // MARK: Layer normalisation

  /// Writes `normalized[R,d]` and `rstd[R]`.
  package static func layerNorm(_ x: Matrix, epsilon: Float, normalized: Matrix, rstd: Vector) {
    precondition(normalized.rows == x.rows && normalized.columns == x.columns && normalized.isContiguous)
    precondition(rstd.count >= x.rows)
    ck_layer_norm(x.rows, x.columns, x.base, x.stride, epsilon, normalized.base, rstd.baseAddress)
  }

  /// Writes `y[R,d] = rowScale · (gain · normalized + bias)`.
  package static func scaleShift(_ normalized: Matrix, gain: Vector, bias: Vector, rowScale: Vector? = nil, into y: Matrix) {
    precondition(y.rows == normalized.rows && y.columns == normalized.columns && y.isContiguous && normalized.isContiguous)
    precondition(gain.count == y.columns && bias.count == y.columns && (rowScale?.count ?? y.rows) >= y.rows)
    ck_scale_shift(
      y.rows, y.columns, normalized.base, gain.baseAddress, bias.baseAddress, rowScale?.baseAddress, y.base)
  }

  /// Writes `residualOut[R,d] = residualIn +` the gradient at the layer norm's input; in place where both are the same.
  package static func layerNormBackward(
    outputGradient dy: Matrix, normalized: Matrix, rstd: Vector, gain: Vector, residualIn: Matrix, residualOut: Matrix
  ) {
    for m in [normalized, residualIn, residualOut] {
      precondition(m.rows == dy.rows && m.columns == dy.columns && m.isContiguous)
    }
    precondition(dy.isContiguous && rstd.count >= dy.rows && gain.count == dy.columns)
    ck_layer_norm_backward(
      dy.rows, dy.columns, dy.base, normalized.base, rstd.baseAddress, gain.baseAddress, residualIn.base, residualOut.base)
  }

  /// Adds to `gainGradient[d]` and `biasGradient[d]`, rows weighted.
  package static func layerNormGradient(
    outputGradient dy: Matrix, normalized: Matrix, gainWeights: Vector? = nil, biasWeights: Vector? = nil,
    gainGradient: Vector, biasGradient: Vector
  ) {
    precondition(normalized.rows == dy.rows && normalized.columns == dy.columns && dy.isContiguous && normalized.isContiguous)
    precondition(gainGradient.count == dy.columns && biasGradient.count == dy.columns)
    precondition((gainWeights?.count ?? dy.rows) >= dy.rows && (biasWeights?.count ?? dy.rows) >= dy.rows)
    ck_layer_norm_gradient(
      dy.rows, dy.columns, dy.base, normalized.base, gainWeights?.baseAddress, biasWeights?.baseAddress,
      gainGradient.baseAddress, biasGradient.baseAddress)
  }

  // MARK: Elementwise and rows

  /// Writes `bias[p]` into every row of `y[R,p]`.
  package static func fillRows(_ y: Matrix, with bias: Vector) {
    precondition(bias.count == y.columns)
    ck_fill_rows(y.rows, y.columns, bias.baseAddress, y.base, y.stride)
  }

  /// Adds `bias[p]` to every row of `y[R,p]`.
  package static func addRows(_ y: Matrix, _ bias: Vector) {
    precondition(bias.count == y.columns)
    ck_add_rows(y.rows, y.columns, bias.baseAddress, y.base, y.stride)
  }

  /// Writes `y[r,:] = weights[r] · x[r,:]`; in place where both are the same.
  package static func scaleRows(_ x: Matrix, by weights: Vector, into y: Matrix) {
    precondition(y.rows == x.rows && y.columns == x.columns && weights.count >= x.rows)
    ck_scale_rows(x.rows, x.columns, weights.baseAddress, x.base, x.stride, y.base, y.stride)
  }

  /// Adds the (weighted) sum of the rows of `g[R,p]` to `sums[p]`.
  package static func addColumnSums(of g: Matrix, weights: Vector? = nil, to sums: Vector) {
    precondition(sums.count == g.columns && (weights?.count ?? g.rows) >= g.rows)
    ck_column_sums(g.rows, g.columns, g.base, g.stride, weights?.baseAddress, sums.baseAddress)
  }

  /// Writes `y = gelu_new(x)`.
  package static func gelu(_ x: Vector, into y: Vector) {
    precondition(x.count == y.count)
    ck_gelu(x.count, x.baseAddress, y.baseAddress)
  }

  /// Writes `dx = dy · gelu_new'(x)`; `dx` may be `x` or `dy`.
  package static func geluBackward(input x: Vector, outputGradient dy: Vector, into dx: Vector) {
    precondition(x.count == dy.count && x.count == dx.count)
    ck_gelu_backward(x.count, x.baseAddress, dy.baseAddress, dx.baseAddress)
  }

  // MARK: Sums of squares

  package static func squaredNorm(_ x: Vector) -> Double { ck_squared_norm(x.count, x.baseAddress) }

  package static func dot(_ x: Vector, _ y: Vector) -> Double {
    precondition(x.count == y.count)
    return ck_dot(x.count, x.baseAddress, y.baseAddress)
  }

  /// `⟨A, G⟩` of symmetric `[n,n]` matrices of which the lower triangles are filled.
  package static func symmetricInnerProduct(_ a: Matrix, _ g: Matrix) -> Double {
    precondition(a.rows == a.columns && g.rows == a.rows && g.columns == a.columns)
    return ck_symmetric_inner_product(a.rows, a.base, a.stride, g.base, g.stride)
  }

  /// Adds `alpha · x` to `y`.
  package static func addScaled(_ x: Vector, by alpha: Float, to y: Vector) {
    precondition(x.count == y.count)
    ck_add_scaled(x.count, alpha, x.baseAddress, y.baseAddress)
  }

  // MARK: Embeddings

  /// Writes `x[R,d] = tokenTable[tokens] + positionTable[positions]`. The indices are the caller's to check.
  package static func embed(
    tokens: UnsafeBufferPointer<Int32>, positions: UnsafeBufferPointer<Int32>, tokenTable: Matrix, positionTable: Matrix,
    into x: Matrix
  ) {
    precondition(tokens.count == x.rows && positions.count == x.rows && x.isContiguous)
    precondition(tokenTable.columns == x.columns && positionTable.columns == x.columns)
    ck_embed(
      x.rows, x.columns, tokens.baseAddress, positions.baseAddress, tokenTable.base, positionTable.base, x.base)
  }

  /// Adds `weights[r] · g[r,:]` to row `index[r]` of a table, of which `part` holds the rows from `firstRow` on; what belongs to other rows
  /// is skipped, and so are rows of weight 0.
  package static func scatterAdd(
    _ g: Matrix, at index: UnsafeBufferPointer<Int32>, weights: Vector? = nil, to part: Matrix, firstRow: Int = 0
  ) {
    precondition(index.count == g.rows && g.columns == part.columns && g.isContiguous && part.isContiguous)
    precondition((weights?.count ?? g.rows) >= g.rows && firstRow >= 0)
    ck_scatter_add(
      g.rows, g.columns, index.baseAddress, weights?.baseAddress, g.base, firstRow, part.rows, part.base)
  }

  // MARK: Softmax and cross-entropy

  /// In place: logits become the gradient of `rowScale · loss`; writes `losses`.
  package static func crossEntropy(
    logits: Matrix, targets: UnsafeBufferPointer<Int32>, rowScale: Vector, losses: UnsafeMutableBufferPointer<Double>
  ) {
    precondition(targets.count == logits.rows && rowScale.count >= logits.rows && losses.count >= logits.rows)
    ck_cross_entropy(
      logits.rows, logits.columns, logits.base, logits.stride, targets.baseAddress, rowScale.baseAddress,
      losses.baseAddress)
  }

  /// Writes `losses` alone.
  package static func crossEntropyLosses(
    logits: Matrix, targets: UnsafeBufferPointer<Int32>, losses: UnsafeMutableBufferPointer<Double>
  ) {
    precondition(targets.count == logits.rows && losses.count >= logits.rows)
    ck_cross_entropy_losses(
      logits.rows, logits.columns, logits.base, logits.stride, targets.baseAddress, losses.baseAddress)
  }

  // MARK: Causal attention

  /// Writes `delta[r, head] = ⟨a[r, head·D…], b[r, head·D…]⟩`.
  package static func headDots(_ a: Matrix, _ b: Matrix, heads: Int, into delta: Matrix) {
    precondition(a.rows == b.rows && a.columns == b.columns && a.columns % heads == 0)
    precondition(delta.rows == a.rows && delta.columns == heads)
    ck_head_dots(
      a.rows, heads, a.columns / heads, a.base, a.stride, b.base, b.stride, delta.base, delta.stride)
  }

  /// In place on `scores[rows, columns]`; query `m` of the block sees keys `0...first+m`. `logSumExp` is a column.
  package static func causalSoftmax(scores: Matrix, first: Int, scale: Float, logSumExp: Matrix) {
    precondition(first + scores.rows <= scores.columns && logSumExp.rows == scores.rows && logSumExp.columns == 1)
    ck_causal_softmax(
      scores.rows, scores.columns, first, scale, scores.base, scores.stride, logSumExp.base, logSumExp.stride)
  }

  /// In place: scores become the probabilities that `causalSoftmax` made, from its `logSumExp`.
  package static func causalProbabilities(scores: Matrix, first: Int, scale: Float, logSumExp: Matrix) {
    precondition(first + scores.rows <= scores.columns && logSumExp.rows == scores.rows && logSumExp.columns == 1)
    ck_causal_probabilities(
      scores.rows, scores.columns, first, scale, scores.base, scores.stride, logSumExp.base, logSumExp.stride)
  }

  /// In place: the probabilities' gradients become the raw scores' gradients. `delta` is a column.
  package static func causalSoftmaxBackward(
    probabilities: Matrix, gradient: Matrix, first: Int, scale: Float, delta: Matrix
  ) {
    precondition(probabilities.rows == gradient.rows && probabilities.columns == gradient.columns)
    precondition(first + gradient.rows <= gradient.columns && delta.rows == gradient.rows && delta.columns == 1)
    ck_causal_softmax_backward(
      gradient.rows, gradient.columns, first, scale, probabilities.base, probabilities.stride, gradient.base,
      gradient.stride, delta.base, delta.stride)
  }

  // MARK: Optimizers and noise

  /// One AdamW update; `c1`, `c2` are the bias corrections `1/(1-βᵗ)`.
  package static func adamW(
    parameters: Vector, gradient: Vector, gradientScale: Float, firstMoment: Vector, secondMoment: Vector,
    learningRate: Float, beta1: Float, beta2: Float, epsilon: Float, weightDecay: Float, c1: Float, c2: Float
  ) {
    let n = parameters.count
    precondition(gradient.count == n && firstMoment.count == n && secondMoment.count == n)
    ck_adamw(
      n, parameters.baseAddress, gradient.baseAddress, gradientScale, firstMoment.baseAddress, secondMoment.baseAddress,
      learningRate, beta1, beta2, epsilon, weightDecay, c1, c2)
  }

  /// One SGD update; `velocity` is nil without momentum.
  package static func sgd(
    parameters: Vector, gradient: Vector, gradientScale: Float, velocity: Vector?, learningRate: Float,
    momentum: Float, weightDecay: Float
  ) {
    precondition(gradient.count == parameters.count && (velocity?.count ?? parameters.count) == parameters.count)
    precondition(momentum == 0 || velocity != nil, "momentum needs a velocity")
    ck_sgd(
      parameters.count, parameters.baseAddress, gradient.baseAddress, gradientScale, velocity?.baseAddress,
      learningRate, momentum, weightDecay)
  }

  /// Adds `scale · z` to `y`, `z` standard normals from pairs of 64-bit uniform words.
  package static func addGaussians(words: UnsafeBufferPointer<UInt64>, scale: Double, to y: Vector) {
    precondition(words.count >= (y.count + 1) & ~1)
    ck_add_gaussians(y.count, words.baseAddress, scale, y.baseAddress)
  }
}
