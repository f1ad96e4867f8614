/// Ordinary training: the plain sum of gradients, nothing clipped, nothing private.
package final class StandardGradients: GradientAccumulator {
  package let sum: any GradientSum
  private let workspace: GradientWorkspace
  package init(sum: any GradientSum, workspace: GradientWorkspace) {
    self.sum = sum
    self.workspace = workspace
  }

  package var headChunks: HeadChunks { .ofRows }
  package var clipFactors: ClipFactors? { nil }
  package var clippedSum: ClippedGradientSum? { nil }

  package func beginMicrobatch(units: Int) {}

  package func receive(_ gradient: LayerGradient, units: [Range<Int>]) {
    add(gradient, rows: 0..<(units.last?.upperBound ?? 0))
  }

  package func receiveHeadChunk(_ gradient: LinearGradient, _ position: HeadChunkPosition) {
    add(.linear(gradient), rows: 0..<gradient.outputGradient.rows)
  }

  private func add(_ gradient: LayerGradient, rows: Range<Int>) {
    sum.add(layerOf: gradient.anyTensor) { gradient.sumGradient(rows: rows, into: $0, workspace: workspace) }
  }

  package func endMicrobatch(_ source: some GradientSource) {}
}
