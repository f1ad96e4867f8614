/// How the squared norm of one example's weight gradient `g_iᵀ a_i` is computed.
package enum NormMethod: String, Sendable {
  /// `⟨a_i a_iᵀ, g_i g_iᵀ⟩`: about T²(d + p) flops by symmetric products (Goodfellow 2015; Li et al. 2021, §4).
  case gram
  /// The example's gradient, strip by strip in a scratch buffer: 2Tdp flops (Bu et al. 2022, "mixed" ghost clipping).
  case instantiate
}

/// Which way to a norm is taken, by the length of the record and the shape of the layer. Any choice gives the same norms.
package enum NormChoice: Sendable {
  case always(NormMethod)
  /// Nothing is timed, so that runs with one seed add up alike wherever they run: the gradient itself where it has a short side, which makes it
  /// cheaper than Gram matrices for all but the shortest records; else Gram matrices.
  case byShape
  /// The faster one, as timed for every shape of the model.
  case timed([NormTiming])

  /// - Precondition: where shapes were timed, this is one of them.
  package func method(positions: Int, inputs: Int, outputs: Int) -> NormMethod {
    switch self {
    case .always(let method): return method
    case .byShape: return min(inputs, outputs) <= MatrixProducts.ShortSide.most ? .instantiate : .gram
    case .timed(let timings):
      let shape = LinearShape(inputs: inputs, outputs: outputs)
      guard let timing = timings.first(where: { $0.shape == shape }) else {
        preconditionFailure("a layer of \(inputs) x \(outputs), which wasn't timed")
      }
      return positions <= timing.gramLimit ? .gram : .instantiate
    }
  }
}

/// What both ways cost for one shape of layer. Gram matrices grow with T² and the gradient with T, so a single length parts the
/// records for which one is faster from those for which the other is.
public struct NormTiming: Sendable, BitwiseCopyable {
  /// Seconds of one norm.
  public struct Cost: Sendable, BitwiseCopyable {
    public let gram: Double
    public let instantiate: Double

    package init(gram: Double, instantiate: Double) {
      self.gram = gram
      self.instantiate = instantiate
    }
  }

  public let shape: LinearShape
  /// T.
  public let longest: Int
  /// Of a record of T targets.
  public let cost: Cost
  /// The longest record for which Gram matrices are faster; T where they always are, 0 where they never are.
  public let gramLimit: Int

  private init(shape: LinearShape, longest: Int, cost: Cost, gramLimit: Int) {
    (self.shape, self.longest, self.cost, self.gramLimit) = (shape, longest, cost, gramLimit)
  }

  /// The same choice for a layer of another shape.
  package func applied(to shape: LinearShape) -> NormTiming {
    NormTiming(shape: shape, longest: longest, cost: cost, gramLimit: gramLimit)
  }

  /// Asks for costs at T, T/2, T/4 … until Gram matrices are the faster way.
  package init(shape: LinearShape, longest: Int, cost: (_ positions: Int) -> Cost) {
    self.shape = shape
    self.longest = longest
    let atLongest = cost(longest)
    self.cost = atLongest
    // Seconds a position that Gram matrices cost more: all but linear in the length.
    let excess = { (cost: Cost, positions: Int) in (cost.gram - cost.instantiate) / Double(positions) }
    var (above, excessAbove) = (longest, excess(atLongest, longest))
    guard excessAbove > 0 else {
      gramLimit = longest
      return
    }
    while above >= 2 * Self.shortestTimed {
      let below = above / 2
      let excessBelow = excess(cost(below), below)
      if excessBelow <= 0 {
        gramLimit = below + Int(Double(above - below) * excessBelow / (excessBelow - excessAbove))
        return
      }
      (above, excessAbove) = (below, excessBelow)
    }
    gramLimit = 0
  }

  /// Shorter records cost next to nothing either way.
  private static let shortestTimed = 8
}

/// Times norms on memory of its own, with the layers' own code.
package struct NormStopwatch {
  private let longest: Int
  private let inputs, outputGradients: AlignedBuffer<Float>
  private let grams: [AlignedBuffer<Float>]
  private let strip: AlignedBuffer<Float>
  private let places: AlignedBuffer<Int32>

  /// More output columns aren't timed: what is beyond costs as much a column.
  private static let mostOutputs = 2048

  /// - Parameter stripCount: floats of the gradient's strip, as in training.
  package init(shapes: [LinearShape], longest: Int, stripCount: Int) {
    self.longest = longest
    inputs = AlignedBuffer(count: longest * (shapes.map(\.inputs).max() ?? 0))
    outputGradients = AlignedBuffer(count: longest * min(Self.mostOutputs, shapes.map(\.outputs).max() ?? 0))
    grams = [AlignedBuffer(count: longest * longest), AlignedBuffer(count: longest * longest)]
    strip = AlignedBuffer(count: stripCount)
    places = AlignedBuffer(count: 0)
    // Of one sign, so that no Gram matrices cancel and the gradient isn't computed after all.
    inputs.elements.update(repeating: 0.5)
    outputGradients.elements.update(repeating: 0.5)
  }

  package func timing(of shape: LinearShape) -> NormTiming {
    NormTiming(shape: shape, longest: longest) { cost(of: shape, positions: $0) }
  }

  private func cost(of shape: LinearShape, positions: Int) -> NormTiming.Cost {
    let outputs = min(shape.outputs, Self.mostOutputs)
    let gradient = LinearGradient(
      primary: 0, secondary: nil, layout: .inputByOutput,
      input: .stored(Matrix(inputs.base, rows: positions, columns: shape.inputs)),
      outputGradient: Matrix(outputGradients.base, rows: positions, columns: outputs))
    let (timed, all, d) = (Double(outputs), Double(shape.outputs), Double(shape.inputs))
    return NormTiming.Cost(
      gram: seconds(.gram, gradient) * (d + all) / (d + timed),
      instantiate: seconds(.instantiate, gradient) * all / timed)
  }

  /// The least of two to five repetitions.
  private func seconds(_ method: NormMethod, _ gradient: LinearGradient) -> Double {
    let workspace = GradientWorkspace(
      rows: strip.elements, gramOfInputs: grams[0].elements, gramOfGradients: grams[1].elements, gramRows: longest,
      exampleGradient: strip.elements, columnSums: strip.elements, lastPosition: places.elements,
      previousPosition: places.elements, norms: .always(method))
    let (clock, start) = (ContinuousClock(), ContinuousClock.now)
    var least = Double.infinity
    for repetition in 0..<5 where repetition < 2 || clock.now - start < .milliseconds(20) {
      let time = clock.measure {
        _ = gradient.squaredGradientNorms(rows: 0..<gradient.outputGradient.rows, workspace: workspace)
      }
      least = min(least, time.seconds)
    }
    return least
  }
}
