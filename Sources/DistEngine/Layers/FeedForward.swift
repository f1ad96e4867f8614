/// The feed-forward half of a pre-norm block: `stream += outer(gelu(inner(norm(stream))))`, inner width m.
package struct FeedForward: Layer {
  private let norm: LayerNorm
  private let inner: Linear
  private let outer: Linear
  private let width: Int
  private let innerWidth: Int
  /// `[R,m]`: before the activation, then its own gradient; and behind it.
  private let hidden, activated: PassBufferID
  private let rowScratch, wide: PassBufferID
  /// Gradients at the norm's output and of the stream before this layer.
  private var normGradient, result: PassBufferID?

  init(
    norm: LayerNorm, inner: (name: String, fresh: FreshValues), outer: (name: String, fresh: FreshValues), width: Int, innerWidth: Int,
    layout: Linear.WeightLayout, in d: inout ModelDeclaration
  ) {
    self.norm = norm
    self.inner = Linear(inner.name, LinearShape(inputs: width, outputs: innerWidth), layout: layout, fresh: inner.fresh, in: &d)
    self.outer = Linear(outer.name, LinearShape(inputs: innerWidth, outputs: width), layout: layout, fresh: outer.fresh, in: &d)
    self.width = width
    self.innerWidth = innerWidth
    hidden = d.activation("inner", columns: innerWidth)
    activated = d.activation("activated", columns: innerWidth)
    rowScratch = d.rowScratch(columns: width)
    wide = d.wideScratch(columns: max(width, innerWidth))
  }

  package func forward(_ stream: Matrix, needsResult: Bool, in pass: Pass) {
    let scaled = pass.matrix(rowScratch, columns: width)
    let hidden = pass.matrix(hidden, columns: innerWidth)
    let activated = pass.matrix(activated, columns: innerWidth)
    norm.forward(stream, into: scaled, in: pass)
    inner.forward(scaled, into: hidden, in: pass)
    RowKernels.gelu(hidden.elements, into: activated.elements)
    if needsResult { outer.forwardAdding(activated, to: stream, in: pass) }
  }

  package mutating func declareBackward(_ gradient: PassBufferID, in d: inout ModelDeclaration) -> PassBufferID {
    outer.declareGradient(input: activated, outputGradient: gradient, in: &d)
    d.keepUntilBackward(hidden)
    inner.declareGradient(input: norm.normalized, inputIsMade: true, outputGradient: hidden, in: &d)
    let normGradient = d.normGradient("ln_2 output gradient", of: norm, columns: width)
    norm.declareBackward(outputGradient: normGradient, continues: true, in: &d)
    let result = d.successor(of: gradient, "mlp residual gradient", columns: width)
    (self.normGradient, self.result) = (normGradient, result)
    return result
  }

  /// `hidden` becomes its own gradient, in place.
  package func backward(_ gradient: Matrix, in pass: Pass, into sink: any GradientSink) -> Matrix {
    let hidden = pass.matrix(hidden, columns: innerWidth)
    let activated = pass.matrix(activated, columns: innerWidth)
    let activatedGradient = pass.matrix(wide, columns: innerWidth)
    let normGradient = pass.matrix(normGradient!, columns: width)
    let result = pass.matrix(result!, columns: width)

    sink.receive(outer.gradient(input: .stored(activated), outputGradient: gradient, in: pass), in: pass)
    outer.backward(outputGradient: gradient, into: activatedGradient, in: pass)
    RowKernels.geluBackward(input: hidden.elements, outputGradient: activatedGradient.elements, into: hidden.elements)
    sink.receive(inner.gradient(input: norm.output(in: pass), outputGradient: hidden, in: pass), in: pass)
    inner.backward(outputGradient: hidden, into: normGradient, in: pass)
    sink.receive(norm.gradient(outputGradient: normGradient, in: pass), in: pass)
    norm.backward(outputGradient: normGradient, residualIn: gradient, residualOut: result, in: pass)
    return result
  }
}
