/// A layer's place on the residual stream, for a function f of products: `stream += f(norm(stream))` (pre-norm: GPT-2, Llama), or
/// `stream = norm(stream + f(stream))` (post-norm: BERT, Vaswani et al. 2017).
///
/// Behind a post-norm the stream is the norm's result, so that a layer's input is what is kept of the norm before it, and not kept a second time.
package struct Residual: Sendable {
  /// What a post-norm layer's stream is the result of.
  package enum Source: Sendable {
    case norm(Norm)
    /// Where blocks are recomputed, a block's first layer has the stream as it is kept.
    case stored(PassBufferID)
  }

  private let norm: Norm
  /// nil: the norm stands before f.
  private let source: Source?
  private let width: Int
  /// Of its buffers.
  private let label: String
  private let rowScratch: PassBufferID
  /// Gradients at f's result, at its input, and of the stream before the layer.
  private var outputGradient, inputGradient, result: PassBufferID?

  /// `stream += f(norm(stream))`
  init(preNorm norm: Norm, label: String, width: Int, in d: inout ModelDeclaration) {
    self.init(norm, nil, label: label, width: width, in: &d)
  }

  /// `stream = norm(stream + f(stream))`
  init(postNorm norm: Norm, behind source: Source, label: String, width: Int, in d: inout ModelDeclaration) {
    self.init(norm, source, label: label, width: width, in: &d)
  }

  private init(_ norm: Norm, _ source: Source?, label: String, width: Int, in d: inout ModelDeclaration) {
    (self.norm, self.source, self.label, self.width) = (norm, source, label, width)
    rowScratch = d.rowScratch(columns: width)
  }

  // MARK: Forward

  /// What f sees: `[R,d]`, valid until the stream changes.
  func input(_ stream: Matrix, in pass: Pass) -> Matrix {
    guard source == nil else { return stream }
    let scaled = pass.matrix(rowScratch, columns: width)
    norm.forward(stream, into: scaled, in: pass)
    return scaled
  }

  /// - Parameters:
  ///   - needsResult: false leaves out what the backward pass doesn't need.
  ///   - add: adds f's result to the stream.
  func finish(_ stream: Matrix, needsResult: Bool, in pass: Pass, add: (Matrix) -> Void) {
    // The norm behind rests on the sum.
    guard needsResult || source != nil else { return }
    add(stream)
    if source != nil { norm.forward(stream, into: stream, in: pass) }
  }

  // MARK: Backward

  /// - Parameter gradient: of the stream behind the layer.
  /// - Returns: that at f's result.
  mutating func declareOutputGradient(_ gradient: PassBufferID, in d: inout ModelDeclaration) -> PassBufferID {
    guard source != nil else {
      outputGradient = gradient
      return gradient
    }
    norm.declareBackward(outputGradient: gradient, continues: true, in: &d)
    let sum = d.successor(of: gradient, "\(label) sum gradient", columns: width)
    outputGradient = sum
    return sum
  }

  /// Says of a projection what its gradients rest on: f's input and the gradient at its own output.
  func declareGradient(of projection: Projection, outputGradient: PassBufferID, in d: inout ModelDeclaration) {
    switch source {
    case nil: projection.declareGradient(input: norm.normalized, inputIsMade: true, outputGradient: outputGradient, in: &d)
    case .norm(let before): projection.declareGradient(input: before.normalized, inputIsMade: true, outputGradient: outputGradient, in: &d)
    case .stored(let stream): projection.declareGradient(input: stream, outputGradient: outputGradient, in: &d)
    }
  }

  /// - Returns: the gradient of the stream before the layer.
  mutating func declareInputGradient(in d: inout ModelDeclaration) -> PassBufferID {
    guard let outputGradient else { preconditionFailure("a layer's backward pass declared from its end") }
    if source == nil {
      let gradient = d.normGradient("\(label) output gradient", of: norm, columns: width)
      norm.declareBackward(outputGradient: gradient, continues: true, in: &d)
      inputGradient = gradient
    }
    let before = d.successor(of: outputGradient, "\(label) residual gradient", columns: width)
    result = before
    return before
  }

  /// What f saw, as the input of linear layers.
  func input(in pass: Pass) -> LinearInput {
    switch source {
    case nil: norm.output(in: pass)
    case .norm(let before): before.output(in: pass)
    case .stored(let stream): .stored(pass.matrix(stream, columns: width))
    }
  }

  /// The gradient at f's result, from that of the stream behind the layer.
  func outputGradient(_ gradient: Matrix, in pass: Pass, into sink: any GradientSink) -> Matrix {
    guard source != nil else { return gradient }
    let sum = pass.matrix(outputGradient!, columns: width)
    sink.receive(norm.gradient(outputGradient: gradient, in: pass), in: pass)
    norm.backward(outputGradient: gradient, residualIn: nil, residualOut: sum, in: pass)
    return sum
  }

  /// Where the gradient at f's input goes.
  ///
  /// - Parameters:
  ///   - outputGradient: at its result.
  ///   - goesOn: whether something before the layer is trained.
  /// - Returns: the place, and whether what is there already is a part of it; no place where neither what stands before the layer nor its own norm
  ///   reads the gradient.
  func inputGradient(_ outputGradient: Matrix, goesOn: Bool, in pass: Pass) -> (place: Matrix?, isBegun: Bool) {
    guard goesOn || source == nil && norm.isTrained(in: pass) else { return (nil, false) }
    if let inputGradient { return (pass.matrix(inputGradient, columns: width), false) }
    let result = pass.matrix(result!, columns: width)
    if result.base != outputGradient.base { _ = result.elements.update(fromContentsOf: outputGradient.elements) }
    return (result, true)
  }

  /// The gradient of the stream before the layer.
  ///
  /// - Parameter inputGradient: nil: nothing reads it.
  func finishBackward(outputGradient: Matrix, inputGradient: Matrix?, in pass: Pass, into sink: any GradientSink) -> Matrix {
    let result = pass.matrix(result!, columns: width)
    guard source == nil, let inputGradient else { return result }
    sink.receive(norm.gradient(outputGradient: inputGradient, in: pass), in: pass)
    norm.backward(outputGradient: inputGradient, residualIn: outputGradient, residualOut: result, in: pass)
    return result
  }
}

extension ModelDeclaration {
  /// What the stream before this block is the result of.
  ///
  /// - Parameter norm: behind the block before, or the embeddings.
  mutating func streamOfBlock(behind norm: Norm, columns: Int) -> Residual.Source {
    policy.recomputesBlocks ? .stored(blockInput(columns: columns)) : .norm(norm)
  }
}
