/// The gradient of one unit whose rows don't fit a microbatch: summed as a whole, part by part, then clipped as one.
///
/// P floats, or where the ranks of a node share their sums a slice of them: then they take a unit's parts together. The norm is taken of
/// the very numbers that are then scaled and added.
package final class LargeUnitGradient {
  /// Takes the parts' gradients.
  package let sink: StandardGradients
  private let layout: ParameterLayout
  /// Of the unit.
  package private(set) var factors: ClipFactors
  private var squares: [Double]

  package init(_ sum: any GradientSum, layout: ParameterLayout, factors: ClipFactors, workspace: GradientWorkspace) {
    self.layout = layout
    self.factors = factors
    squares = [Double](repeating: 0, count: layout.count)
    sink = StandardGradients(sum: sum, workspace: workspace)
  }

  /// Starts a unit.
  package func begin() {
    sink.beginBatch()
    factors.begin(units: 1)
  }

  /// All parts are in: finds the unit's norms and factors, and adds its clipped gradient to a sum.
  ///
  /// Where ranks share sums, this is collective over them, as ``GradientSum/add(layerOf:_:)`` is.
  package func addClipped(to sum: any GradientSum) {
    for tensor in layout.indices { squares[tensor] = 0 }
    for part in sink.sum.parts {
      for entry in layout {
        guard let own = part.clamped(to: entry.range) else { continue }
        squares[entry.index] += RowKernels.squaredNorm(own.values)
      }
    }
    sink.sum.addUp(&squares)
    for tensor in layout.indices { factors.add(squares[tensor], unit: 0, tensor: tensor) }
    switch factors.clipping {
    case .flat: factors.setFactors()
    case .perLayer: for tensor in layout.indices { factors.setFactors(tensor: tensor) }
    }
    sum.add(sink.sum, of: layout) { factors.factor(unit: 0, tensor: $0) }
  }
}
