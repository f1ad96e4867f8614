/// Ordinary training: the plain sum of gradients, nothing clipped, nothing private.
package final class StandardGradients: GradientAccumulator {
  package let sum: TensorSlab
  private let workspace: GradientWorkspace
  private var rowCount = 0

  package init(sum: TensorSlab, workspace: GradientWorkspace) {
    self.sum = sum
    self.workspace = workspace
  }

  package var headChunks: HeadChunks { .ofRows }
  package var clipFactors: ClipFactors? { nil }
  package var clippedSum: ClippedGradientSum? { nil }

  package func beginMicrobatch(_ batch: Microbatch) { rowCount = batch.rowCount }

  package func receive(_ gradient: some LayerGradient) {
    gradient.addGradient(rows: 0..<rowCount, to: sum, workspace: workspace)
  }

  package func receiveHeadChunk(_ gradient: LinearGradient, _ position: HeadChunkPosition) {
    gradient.addGradient(rows: 0..<gradient.outputGradient.rows, to: sum, workspace: workspace)
  }

  package func endMicrobatch(_ batch: Microbatch, model: Transformer) {}
}
