/// The gradient of one unit whose rows don't fit a microbatch: summed as a whole, part by part, then clipped as one.
///
/// P floats. The norm is taken of the very numbers that are then scaled and added.
package final class LargeUnitGradient {
  /// Takes the parts' gradients.
  package let sink: StandardGradients
  private let gradient: TensorSlab
  /// Tensors of each layer, by index.
  private let layers: [Range<Int>]
  /// Of the unit.
  package private(set) var factors: ClipFactors

  package init(_ gradient: TensorSlab, layers: [Range<Int>], factors: ClipFactors, workspace: GradientWorkspace) {
    self.gradient = gradient
    self.layers = layers
    self.factors = factors
    sink = StandardGradients(sum: WholeGradientSum(gradient), workspace: workspace)
  }

  /// Starts a unit.
  package func begin() {
    sink.beginBatch()
    factors.begin(units: 1)
  }

  /// All parts are in: the unit's norms and factors are known.
  package func clip() {
    for tensor in 0..<factors.tensors { factors.add(RowKernels.squaredNorm(gradient.vector(tensor)), unit: 0, tensor: tensor) }
    switch factors.clipping {
    case .flat: factors.setFactors()
    case .perLayer: for tensor in 0..<factors.tensors { factors.setFactors(tensor: tensor) }
    }
  }

  /// Adds the clipped gradient to a sum, layer by layer in canonical order.
  ///
  /// - Parameter isThere: false adds nothing, but meets the ranks that share the sum.
  package func add(to sum: any GradientSum, isThere: Bool) {
    for layer in layers {
      sum.add(layerOf: layer.lowerBound) { target in
        for tensor in layer {
          guard let part = target.clearedPart(of: tensor), isThere, let factor = factors.factor(unit: 0, tensor: tensor) else { continue }
          RowKernels.addScaled(gradient.matrix(tensor).rows(part.rows).elements, by: factor, to: part.matrix.elements)
        }
      }
    }
  }
}
