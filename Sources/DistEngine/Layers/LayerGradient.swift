/// What a layer knows of its parameters' gradients at its place in the backward pass: its input and the gradient at its
/// output, for the packed rows of a microbatch. From it the three modes take what they need: a plain sum (`standard`),
/// one example's gradient (`hooks`), or the squared norm of one example's gradient and later a weighted sum (`ghost`).
///
/// A layer has one or two tensors: `primary` (weight or gain) and `secondary` (bias).
package protocol LayerGradient {
  var primary: Int { get }
  var secondary: Int? { get }
  /// Which layer's it is, for whoever keeps several.
  var kind: LayerGradientKind { get }

  /// Gives `target` the sum over `rows` of the gradient: one example's gradient where the rows are one example's, the whole sum
  /// where they are all.
  func sumGradient(rows: Range<Int>, into target: GradientTarget, workspace: GradientWorkspace)

  /// Squared Frobenius norms of the gradient of one example, whose rows these are; 0 for a secondary that isn't there.
  func squaredGradientNorms(rows: Range<Int>, workspace: GradientWorkspace) -> SquaredNorms

  /// Gives `target` `Σ_i weight_i · gradient_i`.
  func sumWeightedGradients(_ weights: GradientWeights, into target: GradientTarget, workspace: GradientWorkspace)
}

/// Gradients of all layers in one array, without a block of the heap for each as `any LayerGradient` would take.
package enum LayerGradientKind {
  case linear(LinearGradient)
  case norm(LayerNormGradient)
  case tokens(TokenEmbeddingGradient)
  case positions(PositionEmbeddingGradient)
}

package struct SquaredNorms {
  package var primary: Double
  package var secondary: Double = 0
}

/// Tensors that share one run of memory, by index: the parameters, the gradient sum, one example's gradients.
package struct TensorSlab {
  /// Where a tensor lies: a vector is a matrix of one row.
  package struct Extent: Sendable {
    package let offset: Int
    package let rows: Int
    package let columns: Int
    package var count: Int { rows * columns }

    package init(offset: Int, rows: Int, columns: Int) {
      self.offset = offset
      self.rows = rows
      self.columns = columns
    }
  }

  package let base: UnsafeMutablePointer<Float>
  package let extents: [Extent]

  package init(_ base: UnsafeMutablePointer<Float>, extents: [Extent]) {
    self.base = base
    self.extents = extents
  }

  package func vector(_ tensor: Int) -> Vector {
    Vector(start: base + extents[tensor].offset, count: extents[tensor].count)
  }

  package func matrix(_ tensor: Int) -> Matrix {
    Matrix(base + extents[tensor].offset, rows: extents[tensor].rows, columns: extents[tensor].columns)
  }

  /// Floats from the slab's start.
  package func range(of tensor: Int) -> Range<Int> {
    extents[tensor].offset..<extents[tensor].offset + extents[tensor].count
  }

  /// All tensors: they lie one behind the other.
  package var all: Vector {
    Vector(start: base, count: extents.reduce(0) { $0 + $1.count })
  }
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
