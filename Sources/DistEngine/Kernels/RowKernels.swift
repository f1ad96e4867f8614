import CKernels

/// The typed face of `CKernels`: shapes are checked here, once per call, and the work is split over the current ``ThreadTeam``. What each
/// kernel computes, and whether it writes or adds, stands in `CKernels.h`.
///
/// Kernels that sum over rows are split by columns, so that every sum is one thread's; sums of all elements add up the threads' parts.
package enum RowKernels {
  // MARK: Layer normalisation

  /// Writes `normalized[R,d]` and `rstd[R]`.
  package static func layerNorm(_ x: Matrix, epsilon: Float, normalized: Matrix, rstd: Vector) {
    precondition(normalized.rows == x.rows && normalized.columns == x.columns && normalized.isContiguous)
    precondition(rstd.count >= x.rows)
    splitRows(of: x) { r in
      ck_layer_norm(
        r.count, x.columns, x.row(r), x.stride, epsilon, normalized.row(r), rstd.element(r))
    }
  }

  /// Writes `y[R,d] = rowScale · (gain · normalized + bias)`; without a bias it is 0.
  package static func scaleShift(_ normalized: Matrix, gain: Vector, bias: Vector?, rowScale: Vector? = nil, into y: Matrix) {
    precondition(y.rows == normalized.rows && y.columns == normalized.columns && y.isContiguous && normalized.isContiguous)
    precondition(gain.count == y.columns && (bias?.count ?? y.columns) == y.columns && (rowScale?.count ?? y.rows) >= y.rows)
    splitRows(of: y) { r in
      ck_scale_shift(
        r.count, y.columns, normalized.row(r), gain.baseAddress, bias?.baseAddress, rowScale?.element(r), y.row(r))
    }
  }

  /// Writes `residualOut[R,d] = residualIn +` the gradient at the layer norm's input. The result may be `residualIn` or `dy`.
  ///
  /// - Parameter residualIn: nil: 0.
  package static func layerNormBackward(
    outputGradient dy: Matrix, normalized: Matrix, rstd: Vector, gain: Vector, residualIn: Matrix?, residualOut: Matrix
  ) {
    for m in [normalized, residualIn ?? dy, residualOut] {
      precondition(m.rows == dy.rows && m.columns == dy.columns && m.isContiguous)
    }
    precondition(dy.isContiguous && rstd.count >= dy.rows && gain.count == dy.columns)
    splitRows(of: dy) { r in
      ck_layer_norm_backward(
        r.count, dy.columns, dy.row(r), normalized.row(r), rstd.element(r), gain.baseAddress, residualIn?.row(r),
        residualOut.row(r))
    }
  }

  /// Adds to `gainGradient[d]` and `biasGradient[d]`, rows weighted.
  package static func layerNormGradient(
    outputGradient dy: Matrix, normalized: Matrix, gainWeights: Vector? = nil, biasWeights: Vector? = nil,
    gainGradient: Vector, biasGradient: Vector
  ) {
    precondition(normalized.rows == dy.rows && normalized.columns == dy.columns && dy.isContiguous && normalized.isContiguous)
    precondition(gainGradient.count == dy.columns && biasGradient.count == dy.columns)
    precondition((gainWeights?.count ?? dy.rows) >= dy.rows && (biasWeights?.count ?? dy.rows) >= dy.rows)
    splitColumns(of: dy) { c in
      ck_layer_norm_gradient(
        dy.rows, c.count, dy.base + c.lowerBound, normalized.base + c.lowerBound, dy.columns, gainWeights?.baseAddress,
        biasWeights?.baseAddress, gainGradient.element(c), biasGradient.element(c))
    }
  }

  // MARK: Elementwise and rows

  /// Writes `bias[p]` into every row of `y[R,p]`.
  package static func fillRows(_ y: Matrix, with bias: Vector) {
    precondition(bias.count == y.columns)
    splitRows(of: y) { r in ck_fill_rows(r.count, y.columns, bias.baseAddress, y.row(r), y.stride) }
  }

  /// Adds `bias[p]` to every row of `y[R,p]`.
  package static func addRows(_ y: Matrix, _ bias: Vector) {
    precondition(bias.count == y.columns)
    splitRows(of: y) { r in ck_add_rows(r.count, y.columns, bias.baseAddress, y.row(r), y.stride) }
  }

  /// Writes `y[r,:] = weights[r] · x[r,:]`; in place where both are the same.
  package static func scaleRows(_ x: Matrix, by weights: Vector, into y: Matrix) {
    precondition(y.rows == x.rows && y.columns == x.columns && weights.count >= x.rows)
    splitRows(of: x) { r in
      ck_scale_rows(r.count, x.columns, weights.element(r), x.row(r), x.stride, y.row(r), y.stride)
    }
  }

  /// Adds the (weighted) sum of the rows of `g[R,p]` to `sums[p]`.
  package static func addColumnSums(of g: Matrix, weights: Vector? = nil, to sums: Vector) {
    precondition(sums.count == g.columns && (weights?.count ?? g.rows) >= g.rows)
    splitColumns(of: g) { c in
      ck_column_sums(g.rows, c.count, g.base + c.lowerBound, g.stride, weights?.baseAddress, sums.element(c))
    }
  }

  /// Writes `value` into all of `x`.
  package static func fill(_ x: Vector, with value: Float) {
    splitElements(x.count) { i in Vector(rebasing: x[i]).update(repeating: value) }
  }

  // MARK: Sums of squares

  package static func squaredNorm(_ x: Vector) -> Double {
    ThreadTeam.current.sum(x.count, smallest: smallestPart) { i in ck_squared_norm(i.count, x.element(i)) }
  }

  package static func dot(_ x: Vector, _ y: Vector) -> Double {
    precondition(x.count == y.count)
    return ThreadTeam.current.sum(x.count, smallest: smallestPart) { i in ck_dot(i.count, x.element(i), y.element(i)) }
  }

  /// `⟨A, G⟩` of symmetric `[n,n]` matrices of which the lower triangles are filled.
  package static func symmetricInnerProduct(_ a: Matrix, _ g: Matrix) -> Double {
    precondition(a.rows == a.columns && g.rows == a.rows && g.columns == a.columns)
    let n = a.rows
    let team = ThreadTeam.current
    let bands = team.parts(of: n * n / 2, smallest: smallestPart)
    if bands <= 1 { return ck_symmetric_inner_product(n, a.base, a.stride, g.base, g.stride) }
    return team.sum(bands, smallest: 1) { band in
      let rows = Triangle.band(band.lowerBound, of: bands, rows: n, alignment: 1)
      let left = rows.lowerBound
      let below = rows.reduce(0.0) { $0 + ck_dot(left, a.base + $1 * a.stride, g.base + $1 * g.stride) }
      return 2 * below
        + ck_symmetric_inner_product(rows.count, a.row(rows) + left, a.stride, g.row(rows) + left, g.stride)
    }
  }

  /// Adds `alpha · x` to `y`.
  package static func addScaled(_ x: Vector, by alpha: Float, to y: Vector) {
    precondition(x.count == y.count)
    splitElements(x.count) { i in ck_add_scaled(i.count, alpha, x.element(i), y.element(i)) }
  }

  // MARK: Embeddings

  /// Writes `x[R,d] = tokenTable[tokens] + positionTable[positions]`, or without the latter. The indices are the caller's to check.
  package static func embed(
    tokens: UnsafeBufferPointer<Int32>, positions: UnsafeBufferPointer<Int32>, tokenTable: Matrix, positionTable: Matrix?,
    into x: Matrix
  ) {
    precondition(tokens.count == x.rows && positions.count == x.rows && x.isContiguous)
    precondition(tokenTable.columns == x.columns && (positionTable?.columns ?? x.columns) == x.columns)
    splitRows(of: x) { r in
      ck_embed(
        r.count, x.columns, tokens.element(r), positions.element(r), tokenTable.base, positionTable?.base, x.row(r))
    }
  }

  /// Adds `table[index]` to `x[R,d]`. The indices are the caller's to check.
  package static func addGatheredRows(of table: Matrix, at index: UnsafeBufferPointer<Int32>, to x: Matrix) {
    precondition(index.count == x.rows && table.columns == x.columns && x.isContiguous && table.isContiguous)
    splitRows(of: x) { r in ck_add_gathered_rows(r.count, x.columns, index.element(r), table.base, x.row(r)) }
  }

  /// Adds `weights[r] · g[r,:]` to row `index[r]` of a table, of which `part` holds the rows from `firstRow` on (below 0: it begins with rows
  /// that no index names); what belongs to other rows is skipped, and so are rows of weight 0.
  package static func scatterAdd(
    _ g: Matrix, at index: UnsafeBufferPointer<Int32>, weights: Vector? = nil, to part: Matrix, firstRow: Int = 0
  ) {
    precondition(index.count == g.rows && g.columns == part.columns && g.isContiguous && part.isContiguous)
    precondition((weights?.count ?? g.rows) >= g.rows)
    // Rows may share a row of the table, columns don't.
    splitColumns(of: g) { c in
      ck_scatter_add(
        g.rows, c.count, index.baseAddress, weights?.baseAddress, g.base + c.lowerBound, firstRow, part.rows,
        part.base + c.lowerBound, g.columns)
    }
  }

  // MARK: Softmax and cross-entropy

  /// In place: logits become the gradient of `rowScale · loss`; writes `losses`. Where a target is below 0 both are 0, whatever the logits.
  package static func crossEntropy(
    logits: Matrix, targets: UnsafeBufferPointer<Int32>, rowScale: Vector, losses: UnsafeMutableBufferPointer<Double>
  ) {
    precondition(targets.count == logits.rows && rowScale.count >= logits.rows && losses.count >= logits.rows)
    splitRows(of: logits) { r in
      ck_cross_entropy(
        r.count, logits.columns, logits.row(r), logits.stride, targets.element(r), rowScale.element(r), losses.element(r))
    }
  }

  /// Writes `losses` alone: 0 where a target is below 0.
  package static func crossEntropyLosses(
    logits: Matrix, targets: UnsafeBufferPointer<Int32>, losses: UnsafeMutableBufferPointer<Double>
  ) {
    precondition(targets.count == logits.rows && losses.count >= logits.rows)
    splitRows(of: logits) { r in
      ck_cross_entropy_losses(
        r.count, logits.columns, logits.row(r), logits.stride, targets.element(r), losses.element(r))
    }
  }

  // MARK: Attention: a block of one head's scores is one thread's

  /// Writes `delta[r, head] = ⟨a[r, head·D…], b[r, head·D…]⟩`.
  package static func headDots(_ a: Matrix, _ b: Matrix, heads: Int, into delta: Matrix) {
    precondition(a.rows == b.rows && a.columns == b.columns && a.columns % heads == 0)
    precondition(delta.rows == a.rows && delta.columns == heads)
    splitRows(of: a) { r in
      ck_head_dots(
        r.count, heads, a.columns / heads, a.row(r), a.stride, b.row(r), b.stride, delta.row(r), delta.stride)
    }
  }

  /// In place on `scores[rows, columns]`; query `m` of the block sees keys `0...first+m`, at most all: see CKernels.h. `logSumExp` is a column.
  package static func causalSoftmax(scores: Matrix, first: Int, scale: Float, logSumExp: Matrix) {
    precondition(first >= 0 && logSumExp.rows == scores.rows && logSumExp.columns == 1)
    ck_causal_softmax(
      scores.rows, scores.columns, first, scale, scores.base, scores.stride, logSumExp.base, logSumExp.stride)
  }

  /// In place: scores become the probabilities that `causalSoftmax` made, from its `logSumExp`.
  package static func causalProbabilities(scores: Matrix, first: Int, scale: Float, logSumExp: Matrix) {
    precondition(first >= 0 && logSumExp.rows == scores.rows && logSumExp.columns == 1)
    ck_causal_probabilities(
      scores.rows, scores.columns, first, scale, scores.base, scores.stride, logSumExp.base, logSumExp.stride)
  }

  /// In place: the probabilities' gradients become the raw scores' gradients. `delta` is a column.
  package static func causalSoftmaxBackward(
    probabilities: Matrix, gradient: Matrix, first: Int, scale: Float, delta: Matrix
  ) {
    precondition(probabilities.rows == gradient.rows && probabilities.columns == gradient.columns)
    precondition(first >= 0 && delta.rows == gradient.rows && delta.columns == 1)
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
    splitElements(n) { i in
      ck_adamw(
        i.count, parameters.element(i), gradient.element(i), gradientScale, firstMoment.element(i), secondMoment.element(i),
        learningRate, beta1, beta2, epsilon, weightDecay, c1, c2)
    }
  }

  /// One SGD update; `velocity` is nil without momentum.
  package static func sgd(
    parameters: Vector, gradient: Vector, gradientScale: Float, velocity: Vector?, learningRate: Float,
    momentum: Float, weightDecay: Float
  ) {
    precondition(gradient.count == parameters.count && (velocity?.count ?? parameters.count) == parameters.count)
    precondition(momentum == 0 || velocity != nil, "momentum needs a velocity")
    splitElements(parameters.count) { i in
      ck_sgd(
        i.count, parameters.element(i), gradient.element(i), gradientScale, velocity?.element(i), learningRate, momentum,
        weightDecay)
    }
  }

  /// Adds `scale · z` to `y`, `z` standard normals from pairs of 64-bit uniform words.
  package static func addGaussians(words: UnsafeBufferPointer<UInt64>, scale: Double, to y: Vector) {
    precondition(words.count >= (y.count + 1) & ~1)
    ck_add_gaussians(y.count, words.baseAddress, scale, y.baseAddress)
  }
}

// MARK: Parts

extension RowKernels {
  /// Elements below which a part isn't worth a thread: some microseconds' work.
  private static let smallestPart = 1 << 14
  /// Parts of rows and vectors start where a vector register would, so that no element is computed otherwise than in one piece.
  private static let alignment = 64

  static func splitElements(_ count: Int, _ body: (Range<Int>) -> Void) {
    ThreadTeam.current.split(count, smallest: smallestPart, alignment: alignment, body)
  }

  static func splitRows(of m: Matrix, _ body: (Range<Int>) -> Void) {
    ThreadTeam.current.split(m.rows, smallest: smallestPart / max(1, m.columns), body)
  }

  static func splitColumns(of m: Matrix, _ body: (Range<Int>) -> Void) {
    ThreadTeam.current.split(
      m.columns, smallest: max(alignment, smallestPart / max(1, m.rows)), alignment: alignment, body)
  }
}

extension Matrix {
  /// Where the first of some rows lies.
  func row(_ rows: Range<Int>) -> UnsafeMutablePointer<Float> { base + rows.lowerBound * stride }
}

extension UnsafeMutableBufferPointer {
  /// Where the first of some elements lies.
  func element(_ range: Range<Int>) -> UnsafeMutablePointer<Element>? { baseAddress.map { $0 + range.lowerBound } }
}

extension UnsafeBufferPointer {
  func element(_ range: Range<Int>) -> UnsafePointer<Element>? { baseAddress.map { $0 + range.lowerBound } }
}
