/// A linear layer `y = x·W + b`, `W [d,p]` in rows of inputs (GPT-2's Conv1D layout), or `y = x·Wᵀ + b` with `W [p,d]` in
/// rows of outputs (PyTorch's layout, and the language model's head, which shares the token embedding's).
package struct Linear: Sendable {
  package enum WeightLayout: Sendable { case inputByOutput, outputByInput }

  package let weight: ParameterID
  package let bias: ParameterID?
  package let layout: WeightLayout
  package let shape: LinearShape

  /// Declares `name.weight` and, unless there is none, `name.bias`.
  ///
  /// - Parameter role: of both; nil: weight and bias.
  init(
    _ name: String, _ shape: LinearShape, layout: WeightLayout, hasBias: Bool = true, role: ParameterRole? = nil, fresh: FreshValues,
    in d: inout ModelDeclaration
  ) {
    let group = d.newGroup()
    let stored = layout == .inputByOutput ? [shape.inputs, shape.outputs] : [shape.outputs, shape.inputs]
    weight = d.parameter(name + ".weight", stored, role: role ?? .weight, group: group, fresh: fresh)
    bias = hasBias ? d.parameter(name + ".bias", [shape.outputs], role: role ?? .bias, group: group, fresh: .zeros) : nil
    self.layout = layout
    self.shape = shape
    d.readsAsStored(weight)
    d.declareLinear(shape, takesNorms: d.isTrained(weight))
    if hasBias { d.needsColumnSums(shape.outputs) }
  }

  /// A layer without a bias over a weight that is declared: the language head.
  init(weight: ParameterID, _ shape: LinearShape, in d: inout ModelDeclaration) {
    self.weight = weight
    bias = nil
    layout = .outputByInput
    self.shape = shape
    d.readsAsStored(weight)
    d.declareLinear(shape, takesNorms: d.isTrained(weight))
  }

  /// Says what the gradient rests on: both operands of a trained weight, the output gradient alone of a trained bias.
  ///
  /// - Parameter inputIsMade: from what is kept of it, as a norm's result is.
  func declareGradient(input: PassBufferID, inputIsMade: Bool = false, outputGradient: PassBufferID, in d: inout ModelDeclaration) {
    d.keepUntilBackward(outputGradient)
    d.keep(outputGradient, until: d.lastRead(weight))
    d.keep(outputGradient, until: bias.flatMap { d.lastRead($0) })
    d.keep(input, until: d.lastRead(weight))
    // Either the input, made again or scaled, or the output gradient scaled, whichever is narrower.
    d.rowScratch(columns: inputIsMade ? shape.inputs : min(shape.inputs, shape.outputs))
  }

  private func weightOperand(_ pass: Pass) -> MatrixProducts.StoredOperand {
    layout == .inputByOutput ? .plain(pass.stored(weight)) : .transposed(pass.stored(weight))
  }

  /// Writes `y[R,p] = x[R,d]·W + b`.
  func forward(_ x: Matrix, into y: Matrix, in pass: Pass) {
    if let bias { RowKernels.fillRows(y, with: pass.vector(bias)) }
    pass.multiply(x, weightOperand(pass), into: y, adding: bias != nil)
  }

  /// Adds `x[R,d]·W + b` to `y[R,p]`: the residual stream takes a block's result without a buffer between.
  func forwardAdding(_ x: Matrix, to y: Matrix, in pass: Pass) {
    if let bias { RowKernels.addRows(y, pass.vector(bias)) }
    pass.multiply(x, weightOperand(pass), into: y, adding: true)
  }

  /// Writes the gradient at the input, `dx[R,d] = dy[R,p]·Wᵀ`, or adds it.
  func backward(outputGradient dy: Matrix, into dx: Matrix, adding: Bool = false, in pass: Pass) {
    let transposed: MatrixProducts.StoredOperand = layout == .inputByOutput ? .transposed(pass.stored(weight)) : .plain(pass.stored(weight))
    pass.multiply(dy, transposed, into: dx, adding: adding)
  }

  func gradient(input: LinearInput, outputGradient: Matrix, in pass: Pass) -> LinearGradient {
    LinearGradient(
      primary: pass.tensor(weight), secondary: bias.flatMap { pass.tensor($0) }, layout: layout, input: input, outputGradient: outputGradient)
  }
}

/// The input of a linear layer, as the forward pass kept it.
package enum LinearInput {
  case stored(Matrix)
  /// A norm's result, kept before gain and bias (nil: none), which are applied again when it is needed.
  case normalized(Matrix, gain: Vector, bias: Vector?)

  var columns: Int {
    switch self {
    case .stored(let m), .normalized(let m, _, _): m.columns
    }
  }

  /// Rows of the input, in the row scratch where they have to be made.
  func matrix(rows: Range<Int>, workspace: GradientWorkspace) -> Matrix {
    switch self {
    case .stored(let m): return m.rows(rows)
    case .normalized(let m, let gain, let bias):
      let scratch = workspace.rowScratch(rows: rows, columns: m.columns)
      RowKernels.scaleShift(m.rows(rows), gain: gain, bias: bias, into: scratch)
      return scratch
    }
  }

  /// Rows of the input times their weights, in the row scratch.
  func weightedMatrix(rows: Range<Int>, weights: Vector, workspace: GradientWorkspace) -> Matrix {
    let scratch = workspace.rowScratch(rows: rows, columns: columns)
    switch self {
    case .stored(let m): RowKernels.scaleRows(m.rows(rows), by: weights, into: scratch)
    case .normalized(let m, let gain, let bias):
      RowKernels.scaleShift(m.rows(rows), gain: gain, bias: bias, rowScale: weights, into: scratch)
    }
    return scratch
  }
}

/// The gradient of a linear layer: input `a [R,d]`, output gradient `g [R,p]`; example i's weight gradient is `a_iᵀ g_i`.
package struct LinearGradient {
  /// The weight; nil: frozen.
  package let primary: Int?
  /// The bias; nil: frozen, or there is none.
  package let secondary: Int?
  package let layout: Linear.WeightLayout
  package let input: LinearInput
  package let outputGradient: Matrix

  package init(
    primary: Int?, secondary: Int?, layout: Linear.WeightLayout, input: LinearInput, outputGradient: Matrix
  ) {
    self.primary = primary
    self.secondary = secondary
    self.layout = layout
    self.input = input
    self.outputGradient = outputGradient
  }

  package func sumGradient(rows: Range<Int>, into target: GradientTarget, workspace: GradientWorkspace) {
    if let primary, let part = target.part(of: primary) {
      let a = input.matrix(rows: rows, workspace: workspace)
      multiply(a, outputGradient.rows(rows), into: part, beta: target.beta)
    }
    guard let secondary, let part = target.clearedPart(of: secondary) else { return }
    RowKernels.addColumnSums(of: outputGradient.rows(rows), to: part.matrix.elements)
  }

  package func squaredGradientNorms(rows: Range<Int>, workspace: GradientWorkspace) -> SquaredNorms {
    let g = outputGradient.rows(rows)
    var norms = SquaredNorms(primary: 0)
    if primary != nil {
      let a = input.matrix(rows: rows, workspace: workspace)
      switch workspace.norms.method(positions: rows.count, inputs: a.columns, outputs: g.columns) {
      case .gram: norms.primary = gramNorm(a, g, workspace: workspace)
      case .instantiate: norms.primary = instantiatedNorm(a, g, workspace: workspace)
      }
    }
    if secondary != nil {
      let sums = Vector(rebasing: workspace.columnSums[..<g.columns])
      sums.update(repeating: 0)
      RowKernels.addColumnSums(of: g, to: sums)
      norms.secondary = RowKernels.squaredNorm(sums)
    }
    return norms
  }

  package func sumWeightedGradients(
    _ weights: GradientWeights, into target: GradientTarget, workspace: GradientWorkspace
  ) {
    if let primary, let part = target.part(of: primary) {
      if target.overwrites && weights.primary.runs.isEmpty { part.matrix.elements.update(repeating: 0) }
      for (index, rows) in weights.primary.runs.enumerated() {
        let (a, g) = scaled(rows, by: weights.primary.weights(rows), workspace: workspace)
        multiply(a, g, into: part, beta: index == 0 ? target.beta : 1)
      }
    }
    guard let secondary, let part = target.clearedPart(of: secondary) else { return }
    for rows in weights.secondary.runs {
      RowKernels.addColumnSums(
        of: outputGradient.rows(rows), weights: weights.secondary.weights(rows), to: part.matrix.elements)
    }
  }

  /// Input and output gradient of some rows, the narrower of the two times the rows' factors where it has to be written anyway.
  private func scaled(_ rows: Range<Int>, by factors: Vector, workspace: GradientWorkspace) -> (a: Matrix, g: Matrix) {
    let g = outputGradient.rows(rows)
    if case .stored(let stored) = input, g.columns <= stored.columns {
      let scaled = workspace.rowScratch(rows: rows, columns: g.columns)
      RowKernels.scaleRows(g, by: factors, into: scaled)
      return (stored.rows(rows), scaled)
    }
    return (input.weightedMatrix(rows: rows, weights: factors, workspace: workspace), g)
  }

  /// `part = beta · part + aᵀ g`, the part's rows of it, in the weight's own layout.
  private func multiply(_ a: Matrix, _ g: Matrix, into part: GradientTarget.Part, beta: Float) {
    switch layout {
    case .inputByOutput:
      MatrixProducts.multiply(.transposed(a.columns(part.rows)), .plain(g), into: part.matrix, beta: beta)
    case .outputByInput:
      MatrixProducts.multiply(.transposed(g.columns(part.rows)), .plain(a), into: part.matrix, beta: beta)
    }
  }

  private func gramNorm(_ a: Matrix, _ g: Matrix, workspace: GradientWorkspace) -> Double {
    precondition(a.rows <= workspace.gramRows, "Gram scratch of \(workspace.gramRows) rows for \(a.rows)")
    let sums = max(a.columns, g.columns)
    let product = gramProduct(a, g, columnsAtATime: sums, workspace: workspace)
    if product.isTrusted(from: sums > Self.shortSum ? Self.trusted : Self.trustedInShortSums) { return product.value }
    // Shorter sums change a product by little: what is far below their bound stays there.
    if sums > Self.shortSum && product.isTrusted(from: Self.trustedInShortSums / 2) {
      let product = gramProduct(a, g, columnsAtATime: Self.shortSum, workspace: workspace)
      if product.isTrusted(from: Self.trustedInShortSums) { return product.value }
    }
    return instantiatedNorm(a, g, workspace: workspace)
  }

  /// `⟨A Aᵀ, G Gᵀ⟩`, and `‖A‖_F ‖G‖_F`, with the Gram matrices `A Aᵀ` and `G Gᵀ` in float.
  private struct GramProduct {
    let value, scale: Double

    /// Where positions cancel, what is left of the product is rounding of the Gram matrices, and may be far below the norm: the example would escape
    /// its bound. And where one overflows the gradient may be finite: whether the example counts would hang on whether it is alone in its microbatch.
    func isTrusted(from ratio: Double) -> Bool { value.isFinite && value >= ratio * scale }
  }

  private func gramProduct(_ a: Matrix, _ g: Matrix, columnsAtATime: Int, workspace: GradientWorkspace) -> GramProduct {
    let inputs = Matrix(workspace.gramOfInputs, rows: a.rows, columns: a.rows)
    let gradients = Matrix(workspace.gramOfGradients, rows: a.rows, columns: a.rows)
    MatrixProducts.gram(a, into: inputs, columnsAtATime: columnsAtATime)
    MatrixProducts.gram(g, into: gradients, columnsAtATime: columnsAtATime)
    let squares = (
      inputs: RowKernels.symmetricInnerProduct(inputs, inputs), gradients: RowKernels.symmetricInnerProduct(gradients, gradients)
    )
    // What underflows in a Gram matrix is lost without a trace: an example of norm 0 would be added as it is. Nothing is trusted beside infinity.
    let isLost = !(min(squares.inputs, squares.gradients) >= Self.smallestSquare)
    return GramProduct(
      value: RowKernels.symmetricInnerProduct(inputs, gradients),
      scale: isLost ? .infinity : squares.inputs.squareRoot() * squares.gradients.squareRoot())
  }

  /// Parts of `‖A‖_F ‖G‖_F` below which an inner product of Gram matrices in float isn't trusted.
  ///
  /// What is below half a last bit of an element's sum so far is lost from it: of the hundreds of products that the library adds up in a row some
  /// 2⁻¹⁶ of the element at worst, and not alike in all elements. The smaller what is left of the product, the larger that is beside it. In the
  /// worst positions that were found the norm comes out a third of the rounding margin, 2⁻¹², too small at the first bound, a fifth at the second
  /// (`GramUnderflowTests`). Equal inputs and T output gradients at right angles are at 1/√T.
  static let (trusted, trustedInShortSums) = (0.1, 0.05)
  /// Columns that are added up in a row where more is at stake.
  static let shortSum = 64

  /// ‖A‖_F² below which a Gram matrix in float isn't trusted. An element is a sum of d products, each off by at most 2⁻¹⁵⁰ where it is
  /// subnormal or 0, so that those of T positions are off by T·d·2⁻¹⁵⁰ in ‖A‖_F: with ‖A‖_F ≥ 2⁻¹⁰⁰ and T·d ≤ 2²² that is a 2⁻²⁸th, and of
  /// a trusted product, at least a twentieth of ‖A‖‖G‖, a 2⁻²³th.
  static let smallestSquare = 0x1p-200

  /// The squared norm of `aᵀg`, a strip of output columns at a time, so that a strip stays in cache and the scratch is small.
  private func instantiatedNorm(_ a: Matrix, _ g: Matrix, workspace: GradientWorkspace) -> Double {
    let scratch = workspace.exampleGradient
    let width = min(g.columns, scratch.count / a.columns)
    precondition(width > 0, "scratch of \(scratch.count) floats for a strip of a gradient of \(a.columns) inputs")
    var total = 0.0
    for first in stride(from: 0, to: g.columns, by: width) {
      let strip = g.columns(first..<min(first + width, g.columns))
      // Either way up has the same norm. The narrower one in rows is what products with a short side write without gaps.
      let isTurned = strip.columns <= a.columns
      let (left, right) = isTurned ? (strip, a) : (a, strip)
      let gradient = Matrix(scratch.baseAddress!, rows: left.columns, columns: right.columns)
      MatrixProducts.multiply(.transposed(left), .plain(right), into: gradient)
      total += RowKernels.squaredNorm(gradient.elements)
    }
    return total
  }
}
