/// What stands between a feed-forward layer's products.
public enum Activation: String, Sendable, Hashable {
  /// By the error function.
  case gelu
  /// The tanh approximation.
  case geluNew = "gelu_new"
  case silu
}

/// The feed-forward half of a block, inner width m: what is added to the stream is `outer(gelu(inner(x)))`, or with a gate
/// `outer(silu(gate(x)) ⊙ up(x))`, x the stream as ``Residual`` has it.
package struct FeedForward: Layer {
  package struct Projections: Sendable {
    package enum Inner: Sendable {
      /// With GELU, of either kind.
      case plain(String, Activation)
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

  private var residual: Residual
  /// The inner product, or the gate's.
  private let inner: Projection
  private let up: Projection?
  private let outer: Projection
  private let width: Int
  private let innerWidth: Int
  /// `[R,m]`: before the activation, then its own gradient; and behind it.
  private let hidden, activated: PassBufferID
  /// `[R,m]`: what the gate multiplies, then its own gradient.
  private let raised: PassBufferID?
  private let wide: PassBufferID
  private let activation: Activation

  init(_ residual: Residual, _ projections: Projections, width: Int, innerWidth: Int, in d: inout ModelDeclaration) {
    self.residual = residual
    self.width = width
    self.innerWidth = innerWidth
    func project(_ name: String, _ shape: LinearShape, _ fresh: FreshValues, in d: inout ModelDeclaration) -> Projection {
      Projection(name, shape, layout: projections.layout, hasBias: projections.hasBias, fresh: fresh, in: &d)
    }
    let inward = LinearShape(inputs: width, outputs: innerWidth)
    switch projections.inner {
    case .plain(let name, let function):
      inner = project(name, inward, projections.fresh, in: &d)
      (up, activation) = (nil, function)
    case .gated(let gate, let name):
      inner = project(gate, inward, projections.fresh, in: &d)
      up = project(name, inward, projections.fresh, in: &d)
      activation = .silu
    }
    outer = project(projections.outer, LinearShape(inputs: innerWidth, outputs: width), projections.outerFresh, in: &d)
    hidden = d.activation("inner", columns: innerWidth)
    raised = up == nil ? nil : d.activation("up", columns: innerWidth)
    activated = d.activation("activated", columns: innerWidth)
    wide = d.wideScratch(columns: max(width, innerWidth))
  }

  package func forward(_ stream: Matrix, needsResult: Bool, in pass: Pass) {
    let hidden = pass.matrix(hidden, columns: innerWidth)
    let activated = pass.matrix(activated, columns: innerWidth)
    let x = residual.input(stream, in: pass)
    inner.forward(x, into: hidden, in: pass)
    if let up, let raised {
      let raised = pass.matrix(raised, columns: innerWidth)
      up.forward(x, into: raised, in: pass)
      RowKernels.siluGate(hidden.elements, raised.elements, into: activated.elements)
    } else if activation == .gelu {
      RowKernels.geluErf(hidden.elements, into: activated.elements)
    } else {
      RowKernels.gelu(hidden.elements, into: activated.elements)
    }
    outer.lower(activated, in: pass)
    residual.finish(stream, needsResult: needsResult, in: pass) { outer.forwardAdding(activated, to: $0, in: pass) }
  }

  package mutating func declareBackward(_ gradient: PassBufferID, in d: inout ModelDeclaration) -> PassBufferID {
    outer.declareGradient(input: activated, outputGradient: residual.declareOutputGradient(gradient, in: &d), in: &d)
    d.keepUntilBackward(hidden)
    residual.declareGradient(of: inner, outputGradient: hidden, in: &d)
    if let up, let raised {
      d.keepUntilBackward(raised)
      residual.declareGradient(of: up, outputGradient: raised, in: &d)
    }
    return residual.declareInputGradient(in: &d)
  }

  /// `hidden` becomes its own gradient, in place, and so does what the gate multiplies.
  package func backward(_ gradient: Matrix, goesOn: Bool, in pass: Pass, into sink: any GradientSink) -> Matrix {
    let hidden = pass.matrix(hidden, columns: innerWidth)
    let activated = pass.matrix(activated, columns: innerWidth)
    let activatedGradient = pass.matrix(wide, columns: innerWidth)
    let gradient = residual.outputGradient(gradient, in: pass, into: sink)

    outer.backward(input: .stored(activated), outputGradient: gradient, into: activatedGradient, in: pass, handingTo: sink)
    if let raised {
      RowKernels.siluGateBackward(
        outputGradient: activatedGradient.elements, gate: hidden.elements, up: pass.matrix(raised, columns: innerWidth).elements)
    } else if activation == .gelu {
      RowKernels.geluErfBackward(input: hidden.elements, outputGradient: activatedGradient.elements, into: hidden.elements)
    } else {
      RowKernels.geluBackward(input: hidden.elements, outputGradient: activatedGradient.elements, into: hidden.elements)
    }
    let (place, isBegun) = residual.inputGradient(gradient, goesOn: goesOn, in: pass)
    let input = residual.input(in: pass)
    inner.backward(input: input, outputGradient: hidden, into: place, adding: isBegun, in: pass, handingTo: sink)
    if let up, let raised {
      up.backward(
        input: input, outputGradient: pass.matrix(raised, columns: innerWidth), into: place, adding: true, in: pass, handingTo: sink)
    }
    return residual.finishBackward(outputGradient: gradient, inputGradient: place, in: pass, into: sink)
  }
}
