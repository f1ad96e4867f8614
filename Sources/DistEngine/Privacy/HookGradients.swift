/// Per-example gradients materialised for every layer and every example of the microbatch, as hooks on the layers do
/// (Opacus' `GradSampleModule`): b·P floats. The plain algorithm, and the one that `ghost` is measured against.
package final class HookGradients: GradientAccumulator {
  package let sum: TensorSlab
  private let examples: [TensorSlab]
  private let workspace: GradientWorkspace
  private var factors: ClipFactors
  private var records: [Range<Int>] = []

  /// - Parameter examples: one `[P]` slab for each example that a microbatch may hold.
  package init(sum: TensorSlab, examples: [TensorSlab], factors: ClipFactors, workspace: GradientWorkspace) {
    self.sum = sum
    self.examples = examples
    self.factors = factors
    self.workspace = workspace
  }

  package var headChunks: HeadChunks { .withinRecords }
  package var clipFactors: ClipFactors? { factors }
  package var clippedSum: ClippedGradientSum? {
    ClippedGradientSum(gradient: sum, maxGradNorm: factors.maxGradNorm)
  }

  package func beginMicrobatch(_ batch: Microbatch) {
    records = batch.records
    factors.begin(examples: records.count)
    for slab in examples[..<records.count] { slab.all.update(repeating: 0) }
  }

  package func receive(_ gradient: some LayerGradient) {
    for (slab, rows) in zip(examples, records) { gradient.addGradient(rows: rows, to: slab, workspace: workspace) }
  }

  package func receiveHeadChunk(_ gradient: LinearGradient, _ position: HeadChunkPosition) {
    gradient.addGradient(
      rows: 0..<gradient.outputGradient.rows, to: examples[position.example], workspace: workspace)
  }

  package func endMicrobatch(_ batch: Microbatch, model: Transformer) {
    let tensors = sum.extents.indices
    for (example, slab) in examples[..<records.count].enumerated() {
      for tensor in tensors {
        factors.add(RowKernels.squaredNorm(slab.vector(tensor)), example: example, tensor: tensor)
      }
    }
    switch factors.clipping {
    case .flat: factors.setFactors()
    case .perLayer: for tensor in tensors { factors.setFactors(tensor: tensor) }
    }
    for (example, slab) in examples[..<records.count].enumerated() {
      for tensor in tensors {
        guard let factor = factors.factor(example: example, tensor: tensor) else { continue }
        RowKernels.addScaled(slab.vector(tensor), by: factor, to: sum.vector(tensor))
      }
    }
  }
}
