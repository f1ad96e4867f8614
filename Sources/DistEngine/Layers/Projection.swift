/// A linear layer of a block, and the adapter beside it where the model has one there (``LowRankAdapters``):
/// `y = x·W + b + u·Bᵀ`, `u [R,r] = s·x·Aᵀ`.
///
/// Down and up are linear layers like others, whose gradients rest on their own operands. The factor s is in `u` and in the gradient that comes
/// behind it, once in each: `dB = dyᵀ·u`, `g [R,r] = s·dy·B`, `dA = gᵀ·x`, `dx = dy·Wᵀ + g·A`. Of a frozen W nothing is kept for a gradient.
package struct Projection: Sendable {
  private let base: Linear
  private let adapter: Adapter?

  private struct Adapter {
    let down, up: Linear
    let scale: Float
    /// `[R,r]`: u and g.
    let lowered, loweredGradient: PassBufferID

    func lowered(_ pass: Pass) -> Matrix { pass.matrix(lowered, columns: down.shape.outputs) }
    func loweredGradient(_ pass: Pass) -> Matrix { pass.matrix(loweredGradient, columns: down.shape.outputs) }
  }

  package var shape: LinearShape { base.shape }

  /// Declares `name.weight` and `name.bias`, and of an adapter its two factors `[r,d]` and `[p,r]`.
  init(_ name: String, _ shape: LinearShape, layout: Linear.WeightLayout, hasBias: Bool, fresh: FreshValues, in d: inout ModelDeclaration) {
    base = Linear(name, shape, layout: layout, hasBias: hasBias, fresh: fresh, in: &d)
    guard let adapters = d.adapters(ofModule: name) else {
      adapter = nil
      return
    }
    let rank = adapters.rank
    let down = Linear(
      "\(name).\(adapters.names.down)", LinearShape(inputs: shape.inputs, outputs: rank), layout: .outputByInput, hasBias: false,
      role: .adapterDown, fresh: .uniform(bound: 1 / Double(shape.inputs).squareRoot()), in: &d)
    let up = Linear(
      "\(name).\(adapters.names.up)", LinearShape(inputs: rank, outputs: shape.outputs), layout: .outputByInput, hasBias: false,
      role: .adapterUp, fresh: .zeros, in: &d)
    adapter = Adapter(
      down: down, up: up, scale: Float(adapters.scale), lowered: d.activation("\(name) lowered", columns: rank),
      loweredGradient: d.loweredGradient("\(name) lowered gradient", of: down, columns: rank))
  }

  // MARK: Forward

  /// Writes `y[R,p]`.
  func forward(_ x: Matrix, into y: Matrix, in pass: Pass) {
    lower(x, in: pass)
    base.forward(x, into: y, in: pass)
    raise(to: y, in: pass)
  }

  /// Adds the result to `y[R,p]`.
  ///
  /// - Precondition: ``lower(_:in:)`` was called with the same input.
  func forwardAdding(_ x: Matrix, to y: Matrix, in pass: Pass) {
    base.forwardAdding(x, to: y, in: pass)
    raise(to: y, in: pass)
  }

  /// Writes u: what the backward pass needs of the forward pass, also where the result isn't.
  func lower(_ x: Matrix, in pass: Pass) {
    guard let adapter else { return }
    pass.multiply(x, .transposed(pass.stored(adapter.down.weight)), into: adapter.lowered(pass), alpha: adapter.scale)
  }

  private func raise(to y: Matrix, in pass: Pass) {
    guard let adapter else { return }
    pass.multiply(adapter.lowered(pass), .transposed(pass.stored(adapter.up.weight)), into: y, adding: true)
  }

  // MARK: Backward

  /// Says what the gradients rest on.
  ///
  /// - Parameter inputIsMade: from what is kept of it, as a norm's result is.
  func declareGradient(input: PassBufferID, inputIsMade: Bool = false, outputGradient: PassBufferID, in d: inout ModelDeclaration) {
    base.declareGradient(input: input, inputIsMade: inputIsMade, outputGradient: outputGradient, in: &d)
    guard let adapter else { return }
    adapter.up.declareGradient(input: adapter.lowered, outputGradient: outputGradient, in: &d)
    adapter.down.declareGradient(input: input, inputIsMade: inputIsMade, outputGradient: adapter.loweredGradient, in: &d)
  }

  /// Hands over the gradients of what is trained, and writes the gradient at the input, `dx[R,d]`, or adds it.
  ///
  /// - Parameter dx: nil: nothing reads it.
  func backward(
    input: LinearInput, outputGradient dy: Matrix, into dx: Matrix?, adding: Bool = false, in pass: Pass, handingTo sink: any GradientSink
  ) {
    sink.receive(base.gradient(input: input, outputGradient: dy, in: pass), in: pass)
    if let adapter {
      let gradient = adapter.loweredGradient(pass)
      sink.receive(adapter.up.gradient(input: .stored(adapter.lowered(pass)), outputGradient: dy, in: pass), in: pass)
      pass.multiply(dy, .plain(pass.stored(adapter.up.weight)), into: gradient, alpha: adapter.scale)
      sink.receive(adapter.down.gradient(input: input, outputGradient: gradient, in: pass), in: pass)
    }
    guard let dx else { return }
    base.backward(outputGradient: dy, into: dx, adding: adding, in: pass)
    guard let adapter else { return }
    adapter.down.backward(outputGradient: adapter.loweredGradient(pass), into: dx, adding: true, in: pass)
  }
}

extension ModelDeclaration {
  /// Where a block's adapter has its gradient g: in a place of its own where the book keeps it, else in one that all share.
  fileprivate mutating func loweredGradient(_ name: String, of down: Linear, columns: Int) -> PassBufferID {
    policy.booksBlocks && isTrained(down.weight)
      ? gradient(name, columns: columns)
      : blockScratch("lowered gradient", count: capacity.rows * columns, backwardOnly: true)
  }
}
