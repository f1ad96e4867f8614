/// What a layer knows of its parameters' gradients at its place in the backward pass: its input and the gradient at its output, for some
/// rows of a microbatch. From it the three modes take what they need: a plain sum (`standard`), one unit's gradient (`hooks`), or the
/// squared norm of one unit's gradient and later a weighted sum (`ghost`).
///
/// All that transformers have, closed on purpose: no allocation, no casts. A layer has one or two tensors, `primary` (weight, gain, table)
/// and `secondary` (bias); one that is frozen is nil, and neither computed nor counted.
package enum LayerGradient {
  case linear(LinearGradient)
  case norm(NormGradient)
  case table(TableGradient)

  package var primary: Int? {
    switch self {
    case .linear(let gradient): gradient.primary
    case .norm(let gradient): gradient.primary
    case .table(let gradient): gradient.primary
    }
  }

  package var secondary: Int? {
    switch self {
    case .linear(let gradient): gradient.secondary
    case .norm(let gradient): gradient.secondary
    case .table: nil
    }
  }

  /// A tensor of the layer: any of them names it to a sum.
  ///
  /// - Precondition: not all of the layer's tensors are frozen.
  package var anyTensor: Int {
    guard let tensor = primary ?? secondary else { preconditionFailure("the gradient of a frozen layer") }
    return tensor
  }

  /// Gives `target` the sum over `rows` of the gradient: one unit's gradient where the rows are one unit's, the whole sum where they are
  /// all.
  package func sumGradient(rows: Range<Int>, into target: GradientTarget, workspace: GradientWorkspace) {
    switch self {
    case .linear(let gradient): gradient.sumGradient(rows: rows, into: target, workspace: workspace)
    case .norm(let gradient): gradient.sumGradient(rows: rows, into: target, workspace: workspace)
    case .table(let gradient): gradient.sumGradient(rows: rows, into: target, workspace: workspace)
    }
  }

  /// Squared Frobenius norms of the gradient of one unit, whose rows these are; 0 for a tensor that isn't there.
  package func squaredGradientNorms(rows: Range<Int>, workspace: GradientWorkspace) -> SquaredNorms {
    switch self {
    case .linear(let gradient): gradient.squaredGradientNorms(rows: rows, workspace: workspace)
    case .norm(let gradient): gradient.squaredGradientNorms(rows: rows, workspace: workspace)
    case .table(let gradient): gradient.squaredGradientNorms(rows: rows, workspace: workspace)
    }
  }

  /// Gives `target` `Σ_i weight_i · gradient_i`.
  package func sumWeightedGradients(_ weights: GradientWeights, into target: GradientTarget, workspace: GradientWorkspace) {
    switch self {
    case .linear(let gradient): gradient.sumWeightedGradients(weights, into: target, workspace: workspace)
    case .norm(let gradient): gradient.sumWeightedGradients(weights, into: target, workspace: workspace)
    case .table(let gradient): gradient.sumWeightedGradients(weights, into: target, workspace: workspace)
    }
  }
}

package struct SquaredNorms {
  package var primary: Double
  package var secondary: Double = 0
}

/// One factor per row, for each of a layer's tensors.
package struct GradientWeights {
  package let primary: RowWeights
  package let secondary: RowWeights

  package init(primary: RowWeights, secondary: RowWeights) {
    self.primary = primary
    self.secondary = secondary
  }
}

/// The clip factor of each row's example, and the rows that take part at all.
///
/// Rows outside `runs` belong to examples whose gradient isn't finite. They are never read: 0 · NaN would be NaN.
package struct RowWeights {
  /// `[R]`
  package let weights: Vector
  package let runs: [Range<Int>]

  package init(weights: Vector, runs: [Range<Int>]) {
    self.weights = weights
    self.runs = runs
  }

  func weights(_ rows: Range<Int>) -> Vector { Vector(rebasing: weights[rows]) }
}

/// Scratch memory that layers share while they take norms and sums. Nothing in it outlives a call.
package struct GradientWorkspace {
  /// `[R, d]`: a layer's input or output gradient, scaled.
  package let rows: UnsafeMutablePointer<Float>
  package let rowsCapacity: Int
  /// Two `[T, T]` Gram matrices.
  package let gramOfInputs: UnsafeMutablePointer<Float>
  package let gramOfGradients: UnsafeMutablePointer<Float>
  package let gramRows: Int
  /// A strip of one example's gradient of one tensor: all inputs, some outputs.
  package let exampleGradient: Vector
  /// Two rows of the widest layer.
  package let columnSums: Vector
  /// `[V]`, -1 between calls: the last position of a token in a record.
  package let lastPosition: UnsafeMutableBufferPointer<Int32>
  /// `[T]`: the position before this one that holds the same token.
  package let previousPosition: UnsafeMutableBufferPointer<Int32>
  package let norms: NormChoice

  package init(
    rows: Vector, gramOfInputs: Vector, gramOfGradients: Vector, gramRows: Int, exampleGradient: Vector,
    columnSums: Vector, lastPosition: UnsafeMutableBufferPointer<Int32>,
    previousPosition: UnsafeMutableBufferPointer<Int32>, norms: NormChoice
  ) {
    precondition(gramOfInputs.count >= gramRows * gramRows && gramOfGradients.count >= gramRows * gramRows)
    self.rows = rows.baseAddress!
    self.rowsCapacity = rows.count
    self.gramOfInputs = gramOfInputs.baseAddress!
    self.gramOfGradients = gramOfGradients.baseAddress!
    self.gramRows = gramRows
    self.exampleGradient = exampleGradient
    self.columnSums = columnSums
    self.lastPosition = lastPosition
    self.previousPosition = previousPosition
    self.norms = norms
  }

  /// A `[rows, columns]` matrix in the row scratch, at the rows' own place: records that are worked on at the same time share the scratch.
  func rowScratch(rows range: Range<Int>, columns: Int) -> Matrix {
    precondition(range.upperBound * columns <= rowsCapacity, "row scratch of \(rowsCapacity) floats for \(range) x \(columns)")
    return Matrix(rows + range.lowerBound * columns, rows: range.count, columns: columns)
  }
}
