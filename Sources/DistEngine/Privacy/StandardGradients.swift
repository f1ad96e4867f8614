/// Ordinary training: the plain sum of gradients, nothing clipped, nothing private.
package final class StandardGradients: GradientAccumulator {
  package let sum: any GradientSum
  private let workspace: GradientWorkspace
  private var rowCount = 0

  package init(sum: any GradientSum, workspace: GradientWorkspace) {
    self.sum = sum
    self.workspace = workspace
  }

  package var headChunks: HeadChunks { .ofRows }
  package var clipFactors: ClipFactors? { nil }
  package var clippedSum: ClippedGradientSum? { nil }

  package func beginMicrobatch(_ batch: Microbatch) { rowCount = batch.rowCount }

  package func receive(_ gradient: some LayerGradient) {
    add(gradient, rows: 0..<rowCount)
  }

  package func receiveHeadChunk(_ gradient: LinearGradient, _ position: HeadChunkPosition) {
    add(gradient, rows: 0..<gradient.outputGradient.rows)
  }

  private func add(_ gradient: some LayerGradient, rows: Range<Int>) {
    sum.add(layerOf: gradient.primary) { gradient.sumGradient(rows: rows, into: $0, workspace: workspace) }
  }

  package func endMicrobatch(_ batch: Microbatch, model: Transformer) {}
}
