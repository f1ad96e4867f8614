/// Logits over C labels from one row of each sequence, and their cross entropy: `output(activation(dense(row)))`, or `output(row)`.
///
/// The row is a sequence's first (`[CLS]`, `<s>`: encoders) or last (decoders, whose last position alone has seen all of it). A gradient here has
/// one row a sequence: what a sink is told of units are places of sequences, not rows of the stream.
package struct ClassifierHead: Sendable {
  package enum Pooling: Sendable, Hashable {
    case first
    /// The last whose token isn't padding, as `transformers` looks for it; the first where all are.
    case last(padding: Int?)
  }

  package enum Activation: Sendable { case tanh, relu }

  private let dense: Linear?
  private let activation: Activation
  private let output: Linear
  private let pooling: Pooling
  private let width: Int
  private let labels: Int
  /// `[S,d]`: the sequences' rows; behind dense layer and activation.
  private let pooled, activated: PassBufferID
  /// `[S,C]`: logits, then their own gradient.
  private let logits: PassBufferID
  /// `[S,d]` at the dense layer's output, `[S,d]` at the pooled rows, `[R,d]` at the head's input.
  private var denseGradient, pooledGradient, inputGradient: PassBufferID?

  /// - Parameters:
  ///   - dense: name and activation of the layer before the last; nil: none.
  ///   - output: name of the last layer, `[C,d]`.
  init(
    dense: (name: String, activation: Activation)?, output: String, hasBias: Bool = true, pooling: Pooling, width: Int, labels: Int,
    fresh: FreshValues, in d: inout ModelDeclaration
  ) {
    self.dense = dense.map {
      Linear($0.name, LinearShape(inputs: width, outputs: width), layout: .outputByInput, role: .classifier, fresh: fresh, in: &d)
    }
    activation = dense?.activation ?? .tanh
    self.output = Linear(
      output, LinearShape(inputs: width, outputs: labels), layout: .outputByInput, hasBias: hasBias, role: .classifier, fresh: fresh, in: &d)
    self.pooling = pooling
    self.width = width
    self.labels = labels
    let sequences = d.capacity.sequences
    pooled = d.buffer("pooled rows", .activations, count: sequences * width)
    activated = dense == nil ? pooled : d.buffer("activated pooled rows", .activations, count: sequences * width)
    logits = d.buffer("label logits", .activations, count: sequences * labels)
  }

  /// - Returns: the gradient at the head's input.
  mutating func declareBackward(in d: inout ModelDeclaration) -> PassBufferID {
    let sequences = d.capacity.sequences
    func gradient(_ name: String) -> PassBufferID { d.buffer(name, .workspace, count: sequences * width) }
    output.declareGradient(input: activated, outputGradient: logits, in: &d)
    if let dense {
      let gradient = gradient("pooled output gradient")
      denseGradient = gradient
      d.keepUntilBackward(activated)
      dense.declareGradient(input: pooled, outputGradient: gradient, in: &d)
    }
    pooledGradient = gradient("pooled row gradient")
    let result = d.gradient("head input gradient", columns: width)
    inputGradient = result
    return result
  }

  // MARK: Forward

  /// Writes the logits, `[S,C]`, valid until the backward pass.
  ///
  /// - Parameter input: `[R,d]`.
  func logits(_ input: Matrix, in pass: Pass) -> Matrix {
    let pooled = matrix(pooled, in: pass)
    for (sequence, row) in pooledRows(pass).enumerated() {
      (pooled.base + sequence * width).update(from: input.base + row * input.stride, count: width)
    }
    let activated = matrix(activated, in: pass)
    if let dense {
      dense.forward(pooled, into: activated, in: pass)
      switch activation {
      case .tanh: RowKernels.tanh(activated.elements, into: activated.elements)
      case .relu: RowKernels.relu(activated.elements, into: activated.elements)
      }
    }
    let logits = pass.matrix(logits, rows: pass.batch.sequences.count, columns: labels)
    output.forward(activated, into: logits, in: pass)
    return logits
  }

  private func matrix(_ id: PassBufferID, in pass: Pass) -> Matrix { pass.matrix(id, rows: pass.batch.sequences.count, columns: width) }

  /// The row that stands for each sequence.
  private func pooledRows(_ pass: Pass) -> some Sequence<Int> {
    pass.batch.sequences.lazy.map { rows in
      switch pooling {
      case .first: rows.lowerBound
      case .last(let padding):
        rows.last { Int(pass.batch.tokens[$0]) != padding } ?? rows.lowerBound
      }
    }
  }

  /// Writes `batch.losses`, in nats a sequence.
  func losses(_ input: Matrix, in pass: Pass) {
    RowKernels.crossEntropyLosses(logits: logits(input, in: pass), targets: pass.batch.labels, losses: pass.batch.losses)
  }

  // MARK: Backward

  /// Writes losses, hands over the head's gradients and returns that at its input, `[R,d]`: 0 but in the pooled rows.
  func lossesAndGradient(_ input: Matrix, in pass: Pass, into sink: any GradientSink) -> Matrix {
    let logits = logits(input, in: pass)
    let (pooled, activated) = (matrix(pooled, in: pass), matrix(activated, in: pass))
    RowKernels.crossEntropy(
      logits: logits, targets: pass.batch.labels, rowScale: pass.batch.lossScale, losses: pass.batch.losses)
    receive(output.gradient(input: .stored(activated), outputGradient: logits, in: pass), in: pass, into: sink)
    let pooledGradient = matrix(pooledGradient!, in: pass)
    if let dense, let denseGradient {
      let gradient = matrix(denseGradient, in: pass)
      output.backward(outputGradient: logits, into: gradient, in: pass)
      switch activation {
      case .tanh: RowKernels.tanhBackward(result: activated.elements, outputGradient: gradient.elements, into: gradient.elements)
      case .relu: RowKernels.reluBackward(result: activated.elements, outputGradient: gradient.elements, into: gradient.elements)
      }
      receive(dense.gradient(input: .stored(pooled), outputGradient: gradient, in: pass), in: pass, into: sink)
      dense.backward(outputGradient: gradient, into: pooledGradient, in: pass)
    } else {
      output.backward(outputGradient: logits, into: pooledGradient, in: pass)
    }
    let result = pass.matrix(inputGradient!, columns: width)
    RowKernels.fill(result.elements, with: 0)
    for (sequence, row) in pooledRows(pass).enumerated() {
      (result.base + row * width).update(from: pooledGradient.base + sequence * width, count: width)
    }
    return result
  }

  private func receive(_ gradient: LinearGradient, in pass: Pass, into sink: any GradientSink) {
    if gradient.primary != nil || gradient.secondary != nil { sink.receive(.linear(gradient), units: pass.batch.unitSequences) }
  }
}
