/// Gradients materialised for every layer and every unit of the microbatch, as hooks on the layers do
/// (Opacus' `GradSampleModule`): b·P floats. The plain algorithm, and the one that `ghost` is measured against.
package final class MaterialisedGradients: GradientAccumulator {
  package let sum: any GradientSum
  private let gradients: [TensorSlab]
  /// Tensors of each layer, by index.
  private let layers: [Range<Int>]
  private let workspace: GradientWorkspace
  private var factors: ClipFactors
  /// Of the microbatch.
  private var count = 0

  /// - Parameters:
  ///   - gradients: one `[P]` slab for each unit that a microbatch may hold.
  ///   - layers: tensors of each layer, by index.
  package init(sum: any GradientSum, gradients: [TensorSlab], layers: [Range<Int>], factors: ClipFactors, workspace: GradientWorkspace) {
    self.sum = sum
    self.gradients = gradients
    self.layers = layers
    self.factors = factors
    self.workspace = workspace
  }

  package var headChunks: HeadChunks { .withinUnits }
  package var clipFactors: ClipFactors? { factors }
  package var clippedSum: ClippedGradientSum? {
    ClippedGradientSum(sum, maxGradNorm: factors.maxGradNorm)
  }

  package func beginMicrobatch(units: Int) {
    count = units
    factors.begin(units: units)
    for slab in gradients[..<units] { RowKernels.fill(slab.all, with: 0) }
  }

  package func receive(_ gradient: LayerGradient, units: [Range<Int>]) {
    for (slab, rows) in zip(gradients, units) {
      gradient.sumGradient(rows: rows, into: GradientTarget(addingTo: slab), workspace: workspace)
    }
  }

  package func receiveHeadChunk(_ gradient: LinearGradient, _ position: HeadChunkPosition) {
    gradient.sumGradient(
      rows: 0..<gradient.outputGradient.rows, into: GradientTarget(addingTo: gradients[position.unit]), workspace: workspace)
  }

  package func endMicrobatch(_ source: some GradientSource) {
    let tensors = 0..<factors.tensors
    let slabs = gradients[..<count]
    for (unit, slab) in slabs.enumerated() {
      for tensor in tensors {
        factors.add(RowKernels.squaredNorm(slab.vector(tensor)), unit: unit, tensor: tensor)
      }
    }
    switch factors.clipping {
    case .flat: factors.setFactors()
    case .perLayer: for tensor in tensors { factors.setFactors(tensor: tensor) }
    }
    for layer in layers {
      sum.add(layerOf: layer.lowerBound) { target in
        for tensor in layer {
          guard let part = target.clearedPart(of: tensor) else { continue }
          for (unit, slab) in slabs.enumerated() {
            guard let factor = factors.factor(unit: unit, tensor: tensor) else { continue }
            RowKernels.addScaled(slab.matrix(tensor).rows(part.rows).elements, by: factor, to: part.matrix.elements)
          }
        }
      }
    }
  }
}
