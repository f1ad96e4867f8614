/// What stands between a feed-forward layer's products.
public enum Activation: String, Sendable, Hashable {
  /// The tanh approximation.
  case geluNew = "gelu_new"
  case silu
}

/// The feed-forward half of a pre-norm block, inner width m: `stream += outer(gelu(inner(norm(stream))))`, or with a gate
/// `stream += outer(silu(gate(norm(stream))) ⊙ up(norm(stream)))`.
package struct FeedForward: Layer {
  package struct Projections: Sendable {
    package enum Inner: Sendable {
      /// With GELU.
      case plain(String)
      /// With SiLU.
      case gated(gate: String, up: String)
    }
    let inner: Inner
    let outer: String
    let layout: Linear.WeightLayout
    var hasBias = true
    let fresh: FreshValues
    /// Of the product that adds to the residual stream.
    let outerFresh: FreshValues
  }

  private let norm: Norm
  /// The inner product, or the gate's.
  private let inner: Linear
  private let up: Linear?
  private let outer: Linear
  private let width: Int
  private let innerWidth: Int
  /// `[R,m]`: before the activation, then its own gradient; and behind it.
  private let hidden, activated: PassBufferID
  /// `[R,m]`: what the gate multiplies, then its own gradient.
  private let raised: PassBufferID?
  private let rowScratch, wide: PassBufferID
  /// Gradients at the norm's output and of the stream before this layer.
  private var normGradient, result: PassBufferID?

  init(norm: Norm, _ projections: Projections, width: Int, innerWidth: Int, in d: inout ModelDeclaration) {
    self.norm = norm
    self.width = width
    self.innerWidth = innerWidth
    func linear(_ name: String, _ shape: LinearShape, _ fresh: FreshValues, in d: inout ModelDeclaration) -> Linear {
      Linear(name, shape, layout: projections.layout, hasBias: projections.hasBias, fresh: fresh, in: &d)
    }
    let inward = LinearShape(inputs: width, outputs: innerWidth)
    switch projections.inner {
    case .plain(let name):
      inner = linear(name, inward, projections.fresh, in: &d)
      up = nil
    case .gated(let gate, let name):
      inner = linear(gate, inward, projections.fresh, in: &d)
      up = linear(name, inward, projections.fresh, in: &d)
    }
    outer = linear(projections.outer, LinearShape(inputs: innerWidth, outputs: width), projections.outerFresh, in: &d)
    hidden = d.activation("inner", columns: innerWidth)
    raised = up == nil ? nil : d.activation("up", columns: innerWidth)
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
    if let up, let raised {
      let raised = pass.matrix(raised, columns: innerWidth)
      up.forward(scaled, into: raised, in: pass)
      RowKernels.siluGate(hidden.elements, raised.elements, into: activated.elements)
    } else {
      RowKernels.gelu(hidden.elements, into: activated.elements)
    }
    if needsResult { outer.forwardAdding(activated, to: stream, in: pass) }
  }

  package mutating func declareBackward(_ gradient: PassBufferID, in d: inout ModelDeclaration) -> PassBufferID {
    outer.declareGradient(input: activated, outputGradient: gradient, in: &d)
    d.keepUntilBackward(hidden)
    inner.declareGradient(input: norm.normalized, inputIsMade: true, outputGradient: hidden, in: &d)
    if let up, let raised {
      d.keepUntilBackward(raised)
      up.declareGradient(input: norm.normalized, inputIsMade: true, outputGradient: raised, in: &d)
    }
    let normGradient = d.normGradient("ln_2 output gradient", of: norm, columns: width)
    norm.declareBackward(outputGradient: normGradient, continues: true, in: &d)
    let result = d.successor(of: gradient, "mlp residual gradient", columns: width)
    (self.normGradient, self.result) = (normGradient, result)
    return result
  }

  /// `hidden` becomes its own gradient, in place, and so does what the gate multiplies.
  package func backward(_ gradient: Matrix, in pass: Pass, into sink: any GradientSink) -> Matrix {
    let hidden = pass.matrix(hidden, columns: innerWidth)
    let activated = pass.matrix(activated, columns: innerWidth)
    let activatedGradient = pass.matrix(wide, columns: innerWidth)
    let normGradient = pass.matrix(normGradient!, columns: width)
    let result = pass.matrix(result!, columns: width)

    sink.receive(outer.gradient(input: .stored(activated), outputGradient: gradient, in: pass), in: pass)
    outer.backward(outputGradient: gradient, into: activatedGradient, in: pass)
    if let raised {
      RowKernels.siluGateBackward(
        outputGradient: activatedGradient.elements, gate: hidden.elements, up: pass.matrix(raised, columns: innerWidth).elements)
    } else {
      RowKernels.geluBackward(input: hidden.elements, outputGradient: activatedGradient.elements, into: hidden.elements)
    }
    sink.receive(inner.gradient(input: norm.output(in: pass), outputGradient: hidden, in: pass), in: pass)
    inner.backward(outputGradient: hidden, into: normGradient, in: pass)
    if let up, let raised {
      let raised = pass.matrix(raised, columns: innerWidth)
      sink.receive(up.gradient(input: norm.output(in: pass), outputGradient: raised, in: pass), in: pass)
      up.backward(outputGradient: raised, into: normGradient, adding: true, in: pass)
    }
    sink.receive(norm.gradient(outputGradient: normGradient, in: pass), in: pass)
    norm.backward(outputGradient: normGradient, residualIn: gradient, residualOut: result, in: pass)
    return result
  }
}
