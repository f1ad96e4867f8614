/// Takes a backward pass's gradients to see which parameter tensors they cover, and keeps none of them.
///
/// A tensor whose gradient is never handed over would be left out of every norm and never trained, with a loss and an ε that look normal.
package final class GradientCoverage: GradientSink {
  /// How often a gradient came, by tensor.
  private var uses: [Int]

  package init(tensors: Int) { uses = [Int](repeating: 0, count: tensors) }

  package var headChunks: HeadChunks { .withinUnits }

  package func receive(_ gradient: LayerGradient, units: [Range<Int>]) {
    if let primary = gradient.primary { uses[primary] += 1 }
    if let secondary = gradient.secondary { uses[secondary] += 1 }
  }

  package func receiveHeadChunk(_ gradient: LinearGradient, _ position: HeadChunkPosition) {
    if position.isLast { receive(.linear(gradient), units: position.units) }
  }

  /// Names of the tensors that a use's gradient is missing of, after one pass.
  ///
  /// - Parameter tiedTensor: the table that embedding and head share: it is used twice.
  package func missing(_ layout: ParameterLayout, tiedTensor: Int?) -> [String] {
    layout.filter { uses[$0.index] < ($0.index == tiedTensor ? 2 : 1) }.map(\.name)
  }
}
