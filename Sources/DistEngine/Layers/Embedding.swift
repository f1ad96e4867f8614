/// Token and learned position embeddings: `x[r] = tokens[token_r] + positions[position_r]` (GPT-2).
package struct Embedding {
  package let tokenTensor: Int
  package let positionTensor: Int
  package let tokenTable: Matrix
  package let positionTable: Matrix

  package init(tokenTensor: Int, positionTensor: Int, parameters: TensorSlab) {
    self.tokenTensor = tokenTensor
    self.positionTensor = positionTensor
    tokenTable = parameters.matrix(tokenTensor)
    positionTable = parameters.matrix(positionTensor)
  }

  /// Writes `x[R,d]`.
  package func forward(tokens: UnsafeBufferPointer<Int32>, positions: UnsafeBufferPointer<Int32>, into x: Matrix) {
    RowKernels.embed(
      tokens: tokens, positions: positions, tokenTable: tokenTable, positionTable: positionTable, into: x)
  }

  package func tokenGradient(
    tokens: UnsafeBufferPointer<Int32>, outputGradient: Matrix, tiedHead: TiedHead?
  ) -> TokenEmbeddingGradient {
    TokenEmbeddingGradient(
      primary: tokenTensor, tokens: tokens, outputGradient: outputGradient, tiedHead: tiedHead)
  }

  package func positionGradient(
    positions: UnsafeBufferPointer<Int32>, outputGradient: Matrix
  ) -> PositionEmbeddingGradient {
    PositionEmbeddingGradient(primary: positionTensor, positions: positions, outputGradient: outputGradient)
  }
}

/// What the head that shares the token embedding's table left for the cross term of the norm.
package struct TiedHead {
  /// `h [R,d]`: the head's input.
  package let input: Matrix
  /// `[R,T]`: row s holds the logits' gradient of position s at the tokens of s's own record.
  package let gradientAtTokens: Matrix

  package init(input: Matrix, gradientAtTokens: Matrix) {
    self.input = input
    self.gradientAtTokens = gradientAtTokens
  }
}

/// Example i's gradient: row v of the table gets `Σ_{t: token_t = v} e_t`, `e_t` the gradient at the embedding's output.
package struct TokenEmbeddingGradient: LayerGradient {
  package let primary: Int
  package let secondary: Int? = nil
  let tokens: UnsafeBufferPointer<Int32>
  let outputGradient: Matrix
  let tiedHead: TiedHead?
  package var kind: LayerGradientKind { .tokens(self) }

  package init(primary: Int, tokens: UnsafeBufferPointer<Int32>, outputGradient: Matrix, tiedHead: TiedHead?) {
    (self.primary, self.tokens, self.outputGradient, self.tiedHead) = (primary, tokens, outputGradient, tiedHead)
  }

  package func sumGradient(rows: Range<Int>, into target: GradientTarget, workspace: GradientWorkspace) {
    guard let part = target.clearedPart(of: primary) else { return }
    RowKernels.scatterAdd(
      outputGradient.rows(rows), at: UnsafeBufferPointer(rebasing: tokens[rows]), to: part.matrix, firstRow: part.rows.lowerBound)
  }

  /// Rows of equal token are added up, then squared. With a tied head, twice the inner product with the head's part of the
  /// gradient is added: `‖E_in + E_out‖² = ‖E_in‖² + 2⟨E_in, E_out⟩ + ‖E_out‖²`, the last being the head's own.
  package func squaredGradientNorms(rows: Range<Int>, workspace: GradientWorkspace) -> SquaredNorms {
    var norm = sumOfSquaresByToken(rows: rows, workspace: workspace)
    if let tiedHead {
      // Where the two parts cancel, rounding is what is left: the slack keeps the result above the true norm.
      norm += 2 * innerProduct(with: tiedHead, rows: rows, workspace: workspace) + 0x1p-20 * norm
    }
    return SquaredNorms(primary: norm)
  }

  package func sumWeightedGradients(
    _ weights: GradientWeights, into target: GradientTarget, workspace: GradientWorkspace
  ) {
    guard let part = target.clearedPart(of: primary) else { return }
    for rows in weights.primary.runs {
      RowKernels.scatterAdd(
        outputGradient.rows(rows), at: UnsafeBufferPointer(rebasing: tokens[rows]),
        weights: weights.primary.weights(rows), to: part.matrix, firstRow: part.rows.lowerBound)
    }
  }

  private func sumOfSquaresByToken(rows: Range<Int>, workspace: GradientWorkspace) -> Double {
    let last = workspace.lastPosition
    let previous = workspace.previousPosition
    for (t, row) in rows.enumerated() {
      let token = Int(tokens[row])
      previous[t] = last[token]
      last[token] = Int32(t)
    }
    let sums = Vector(rebasing: workspace.columnSums[..<outputGradient.columns])
    var total = 0.0
    for row in rows.reversed() {
      let token = Int(tokens[row])
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

/// Example i's gradient: row t of the table gets `g_t`; a record meets each position once.
package struct PositionEmbeddingGradient: LayerGradient {
  package let primary: Int
  package let secondary: Int? = nil
  let positions: UnsafeBufferPointer<Int32>
  let outputGradient: Matrix
  package var kind: LayerGradientKind { .positions(self) }

  package func sumGradient(rows: Range<Int>, into target: GradientTarget, workspace: GradientWorkspace) {
    guard let part = target.clearedPart(of: primary) else { return }
    RowKernels.scatterAdd(
      outputGradient.rows(rows), at: UnsafeBufferPointer(rebasing: positions[rows]), to: part.matrix,
      firstRow: part.rows.lowerBound)
  }

  package func squaredGradientNorms(rows: Range<Int>, workspace: GradientWorkspace) -> SquaredNorms {
    SquaredNorms(primary: RowKernels.squaredNorm(outputGradient.rows(rows).elements))
  }

  package func sumWeightedGradients(
    _ weights: GradientWeights, into target: GradientTarget, workspace: GradientWorkspace
  ) {
    guard let part = target.clearedPart(of: primary) else { return }
    for rows in weights.primary.runs {
      RowKernels.scatterAdd(
        outputGradient.rows(rows), at: UnsafeBufferPointer(rebasing: positions[rows]),
        weights: weights.primary.weights(rows), to: part.matrix, firstRow: part.rows.lowerBound)
    }
  }
}
