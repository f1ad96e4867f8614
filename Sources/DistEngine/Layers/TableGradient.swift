/// What the head that shares the token embedding's table left for the cross term of the norm.
package struct TiedHead {
  /// `h [R,d]`: the head's input.
  package let input: Matrix
  /// `[R,T]`: row s holds the logits' gradient of position s at the tokens of s's own unit.
  package let gradientAtTokens: Matrix

  package init(input: Matrix, gradientAtTokens: Matrix) {
    self.input = input
    self.gradientAtTokens = gradientAtTokens
  }
}

/// The gradient of a table that is looked up (tokens, positions, types): row v of it gets `Σ_{t: index_t = v} e_t`, `e_t [d]` the gradient at the
/// output.
package struct TableGradient {
  /// The table; nil: frozen.
  package let primary: Int?
  /// `[R]`: the row of the table that each row looked up.
  let indices: UnsafeBufferPointer<Int32>
  let outputGradient: Matrix
  let tiedHead: TiedHead?
  /// Whether indices are positions, which differ within a sequence.
  let isOfPositions: Bool
  /// The table's row of index 0.
  let firstRow: Int

  package init(
    primary: Int?, indices: UnsafeBufferPointer<Int32>, outputGradient: Matrix, tiedHead: TiedHead? = nil, isOfPositions: Bool = false,
    firstRow: Int = 0
  ) {
    self.primary = primary
    self.indices = indices
    self.outputGradient = outputGradient
    self.tiedHead = tiedHead
    self.isOfPositions = isOfPositions
    self.firstRow = firstRow
  }

  package func sumGradient(rows: Range<Int>, into target: GradientTarget, workspace: GradientWorkspace) {
    guard let primary, let part = target.clearedPart(of: primary) else { return }
    RowKernels.scatterAdd(
      outputGradient.rows(rows), at: UnsafeBufferPointer(rebasing: indices[rows]), to: part.matrix, firstRow: part.rows.lowerBound - firstRow)
  }

  /// Rows of equal index are added up, then squared: a unit's sequences meet the same positions and tokens. With a tied head, twice the
  /// inner product with the head's part of the gradient is added:
  /// `‖E_in + E_out‖² = ‖E_in‖² + 2⟨E_in, E_out⟩ + ‖E_out‖²`, the last being the head's own.
  package func squaredGradientNorms(rows: Range<Int>, workspace: GradientWorkspace) -> SquaredNorms {
    guard primary != nil else { return SquaredNorms(primary: 0) }
    if isOfPositions && areDistinct(rows) { return SquaredNorms(primary: RowKernels.squaredNorm(outputGradient.rows(rows).elements)) }
    var norm = sumOfSquaresByIndex(rows: rows, workspace: workspace)
    if let tiedHead {
      norm += crossTerm(innerProduct(with: tiedHead, rows: rows, workspace: workspace), squaredNorm: norm)
    }
    return SquaredNorms(primary: norm)
  }

  /// `2⟨E_in, E_out⟩` and a slack that keeps the norm above the true one where the two parts cancel and rounding is what is left.
  ///
  /// Unless `2⟨E_in, E_out⟩ < -‖E_in‖²` the whole is at least as large as ‖E_out‖² and a fourth of ‖E_in‖² (Cauchy–Schwarz), and errors of the
  /// parts, relative to these, are at most four times as large relative to the whole. Else the slack covers what a norm from Gram matrices may be off by.
  private func crossTerm(_ inner: Double, squaredNorm: Double) -> Double {
    let mayCancel = 2 * inner < -squaredNorm
    return 2 * inner + (mayCancel ? 0x1p-11 * (squaredNorm - inner) : 0x1p-20 * squaredNorm)
  }

  /// Whether the indices of some rows rise, as the positions of one sequence do.
  private func areDistinct(_ rows: Range<Int>) -> Bool {
    zip(rows, rows.dropFirst()).allSatisfy { indices[$0] < indices[$1] }
  }

  package func sumWeightedGradients(
    _ weights: GradientWeights, into target: GradientTarget, workspace: GradientWorkspace
  ) {
    guard let primary, let part = target.clearedPart(of: primary) else { return }
    for rows in weights.primary.runs {
      RowKernels.scatterAdd(
        outputGradient.rows(rows), at: UnsafeBufferPointer(rebasing: indices[rows]),
        weights: weights.primary.weights(rows), to: part.matrix, firstRow: part.rows.lowerBound - firstRow)
    }
  }

  private func sumOfSquaresByIndex(rows: Range<Int>, workspace: GradientWorkspace) -> Double {
    let last = workspace.lastPosition
    let previous = workspace.previousPosition
    for (t, row) in rows.enumerated() {
      let token = Int(indices[row])
      previous[t] = last[token]
      last[token] = Int32(t)
    }
    let sums = Vector(rebasing: workspace.columnSums[..<outputGradient.columns])
    var total = 0.0
    for row in rows.reversed() {
      let token = Int(indices[row])
      // Each token is met first at its last position; then its chain is walked and the token is done with.
      guard last[token] >= 0 else { continue }
      var t = Int(last[token])
      last[token] = -1
      if previous[t] < 0 {
        total += RowKernels.squaredNorm(outputGradient.rows(rows.lowerBound + t..<rows.lowerBound + t + 1).elements)
        continue
      }
      sums.update(repeating: 0)
      while t >= 0 {
        let row = rows.lowerBound + t
        RowKernels.addScaled(outputGradient.rows(row..<row + 1).elements, by: 1, to: sums)
        t = Int(previous[t])
      }
      total += RowKernels.squaredNorm(sums)
    }
    return total
  }

  /// `⟨E_in, E_out⟩ = Σ_{t,s} G_out[s, token_t] ⟨e_t, h_s⟩`.
  private func innerProduct(with head: TiedHead, rows: Range<Int>, workspace: GradientWorkspace) -> Double {
    let products = Matrix(workspace.gramOfInputs, rows: rows.count, columns: rows.count)
    MatrixProducts.multiply(.plain(head.input.rows(rows)), .transposed(outputGradient.rows(rows)), into: products)
    var total = 0.0
    for s in 0..<rows.count {
      total += RowKernels.dot(
        products.rows(s..<s + 1).elements,
        head.gradientAtTokens.rows(rows.lowerBound + s..<rows.lowerBound + s + 1).columns(0..<rows.count).elements)
    }
    return total
  }
}
