/// Ghost clipping by book-keeping, in one backward pass (Li et al. 2021, arXiv 2110.05679; Bu et al. 2022,
/// arXiv 2210.00038): the norms of the units' gradients come from layer inputs and output gradients, no unit's gradient
/// is kept, and the clipped sum is one weighted product a layer.
///
/// With `flat` clipping factors are known when the backward pass is over, so inputs and output gradients are kept until then.
/// Where a microbatch is one record, its gradient *is* the microbatch's: the plan may have each block's computed once, kept, measured,
/// and added with its factor, which replaces the norm's products and the weighted product by one product and a pass. A plan may have it so
/// for the microbatches of one unit alone, and book-keeping for those of several.
/// Where blocks are recomputed, the book doesn't hold their layers: the model hands them over once more when factors are known.
/// With `per-layer` a tensor's factors are known at its own layer, and nothing is kept but for a tied table.
package final class GhostGradients: GradientAccumulator {
  package let sum: any GradientSum
  /// One for each thread that takes records of its own; the first where all threads work together.
  private let workspaces: [GradientWorkspace]
  private let tiedTensor: Int?
  private let headTensor: Int?
  /// `[V,d]`: one unit's gradient of the head, where logits come in chunks; else nil.
  private let headGradient: TensorSlab?
  private var primaryWeights: RowWeightBuffer
  private var secondaryWeights: RowWeightBuffer

  private var factors: ClipFactors
  /// Units of the microbatch.
  private var count = 0
  /// Layers whose weighted sum waits for its factors, with the rows of each unit.
  private var book: [(gradient: LayerGradient, units: [Range<Int>])] = []
  /// The head's rows of each unit, where its weighted sum waits; nil where it doesn't.
  private var waitingHead: [Range<Int>]?
  /// All factors are known: what comes now comes the second time.
  private var knowsFactors = false
  /// Tensors whose gradients come twice, for norms and for the weighted sum.
  private let repeated: Set<Int>
  /// Blocks whose gradient of a microbatch's only unit is kept; empty where the plan keeps none.
  private let kept: [KeptBlock]
  /// Tensors of the embeddings, a tied head's among them: the largest that wait for factors, and the cheapest to add.
  private let embeddings: Set<Int>
  /// Index into `kept`, by tensor.
  private let keptBlockOfTensor: [Int?]

  private struct KeptBlock {
    /// The block's tensors, which lie one behind the other in the canonical order.
    let gradient: TensorSlab
    /// Tensors of each of its layers.
    let layers: [Range<Int>]
  }

  package struct Buffers: Sendable {
    let primaryWeights, secondaryWeights, headGradient: MemoryPlan.BufferID
    let kept: [(layers: [Range<Int>], floats: Range<Int>, buffer: MemoryPlan.BufferID)]
    let repeated, embeddings: Set<Int>

    /// - Parameters:
    ///   - layout: of the trained tensors.
    ///   - headGradientCount: floats of the head's weight where logits come in chunks, else 0.
    ///   - keeps: whether the blocks' gradients of a microbatch's only unit are kept.
    ///   - booksSeveral: whether others' go by book-keeping, so that what is kept is of the one course alone.
    ///   - repeats: whether the gradients of the blocks come twice (``GradientSource/repeatBlockGradients(into:)``).
    package init(
      layout: ParameterLayout, timeline: Timeline, rows: Int, headGradientCount: Int, keeps: Bool, booksSeveral: Bool, repeats: Bool,
      in plan: inout MemoryPlan
    ) {
      let sum = timeline.weightedSum
      primaryWeights = plan.add("row weights", .bookKeeping, count: rows)
      secondaryWeights = plan.add("row weights of biases", .bookKeeping, count: rows)
      headGradient = plan.add(
        "one unit's head gradient", .perExampleGradients, count: headGradientCount,
        lifetime: timeline.head...sum)
      var kept: [(layers: [Range<Int>], floats: Range<Int>, buffer: MemoryPlan.BufferID)] = []
      var repeated: Set<Int> = []
      for stage in 1..<timeline.head {
        guard let tensors = layout.tensors(ofStage: stage) else { continue }
        if repeats { repeated.formUnion(tensors) }
        guard keeps else { continue }
        let floats = layout.floats(ofLayer: tensors)
        let lifetime = timeline.backward(stage)...sum
        let buffer = plan.add(
          "the only unit's gradient of h.\(stage - 1)", .perExampleGradients, count: floats.count,
          courses: .init(several: booksSeveral ? nil : lifetime, only: lifetime))
        kept.append((layout.groups.filter { tensors.contains($0.lowerBound) }, floats, buffer))
      }
      self.kept = kept
      self.repeated = repeated
      embeddings = Set(layout.filter { $0.stage == 0 }.map(\.index))
    }
  }

  /// - Parameters:
  ///   - extents: of all tensors.
  ///   - tiedTensor: the table that head and token embedding share, if they do.
  ///   - headTensor: the head's weight; nil where it is frozen.
  package init(
    sum: any GradientSum, extents: [TensorSlab.Extent], factors: ClipFactors, tiedTensor: Int?, headTensor: Int?, buffers: Buffers,
    workspaces: [GradientWorkspace], in arena: MemoryArena
  ) {
    self.sum = sum
    self.factors = factors
    self.tiedTensor = tiedTensor
    self.workspaces = workspaces
    repeated = buffers.repeated
    embeddings = buffers.embeddings
    primaryWeights = RowWeightBuffer(arena.elements(buffers.primaryWeights))
    secondaryWeights = RowWeightBuffer(arena.elements(buffers.secondaryWeights))
    // A block's slab begins where its first tensor would make it begin, so that its tensors are found at their own offsets.
    let slabs = buffers.kept.map { block in
      TensorSlab(arena.elements(block.buffer).baseAddress! - block.floats.lowerBound, extents: extents)
    }
    kept = zip(slabs, buffers.kept).map { KeptBlock(gradient: $0, layers: $1.layers) }
    keptBlockOfTensor = extents.indices.map { tensor in
      buffers.kept.firstIndex { $0.layers.contains { $0.contains(tensor) } }
    }
    let head = arena.elements(buffers.headGradient)
    self.headTensor = headTensor
    // The slab begins where the head's tensor would make it begin, so that `matrix(headTensor)` is the buffer.
    headGradient = headTensor.flatMap { head.isEmpty ? nil : TensorSlab(head.baseAddress! - extents[$0].offset, extents: extents) }
  }

  package var headChunks: HeadChunks { .withinUnits }
  package var clipFactors: ClipFactors? { factors }
  package var clippedSum: ClippedGradientSum? {
    ClippedGradientSum(sum, maxGradNorm: factors.maxGradNorm)
  }

  package func beginMicrobatch(units: Int) {
    count = units
    factors.begin(units: units)
    book.removeAll(keepingCapacity: true)
    waitingHead = nil
    knowsFactors = false
  }

  package func receive(_ gradient: LayerGradient, units: [Range<Int>]) {
    let tensor = gradient.anyTensor
    if knowsFactors {
      addWeightedSum(gradient, units: units)
      return
    }
    if count <= 1, let block = keptBlockOfTensor[tensor] {
      keep(gradient, units: units, in: kept[block])
      book.append((gradient, units))
      return
    }
    addNorms(of: gradient, units: units)
    if repeated.contains(tensor) { return }
    if factors.clipping == .flat || tensor == tiedTensor {
      book.append((gradient, units))
    } else {
      if let primary = gradient.primary { factors.setFactors(tensor: primary) }
      if let secondary = gradient.secondary { factors.setFactors(tensor: secondary) }
      addWeightedSum(gradient, units: units)
    }
  }

  /// Units are worked on side by side where there is one for every thread, else one by one with all threads.
  private func addNorms(of gradient: LayerGradient, units: [Range<Int>]) {
    let team = ThreadTeam.current
    withUnsafeTemporaryAllocation(of: SquaredNorms.self, capacity: units.count) { norms in
      // A function, not a constant that holds a closure: that one would be allocated.
      func compute(unit: Int, thread: Int) {
        let result = gradient.squaredGradientNorms(rows: units[unit], workspace: workspaces[thread])
        norms.initializeElement(at: unit, to: result)
      }
      if units.count >= team.count {
        team.forEach(units.count, compute)
      } else {
        for unit in units.indices { compute(unit: unit, thread: 0) }
      }
      for unit in units.indices {
        if let primary = gradient.primary { factors.add(norms[unit].primary, unit: unit, tensor: primary) }
        if let secondary = gradient.secondary {
          factors.add(norms[unit].secondary, unit: unit, tensor: secondary)
        }
      }
    }
  }

  private func keep(_ gradient: LayerGradient, units: [Range<Int>], in block: KeptBlock) {
    let slab = block.gradient
    guard let rows = units.first else { return }
    gradient.sumGradient(rows: rows, into: GradientTarget(overwritingTensorsOf: slab), workspace: workspaces[0])
    for tensor in [gradient.primary, gradient.secondary] {
      guard let tensor else { continue }
      factors.add(RowKernels.squaredNorm(slab.vector(tensor)), unit: 0, tensor: tensor)
    }
  }

  /// The head's gradient of one unit grows chunk by chunk in a buffer that all units share. It is added at once where
  /// its factor is known; else it stays if the unit is the microbatch's only one, or is made again at the end.
  package func receiveHeadChunk(_ gradient: LinearGradient, _ position: HeadChunkPosition) {
    guard let headGradient else { preconditionFailure("chunks of a head without a buffer for its gradient") }
    guard let tensor = gradient.primary else { preconditionFailure("a chunk of a frozen head") }
    let target = headGradient.matrix(tensor)
    gradient.sumGradient(
      rows: 0..<gradient.outputGradient.rows,
      into: GradientTarget(
        slab: headGradient, range: headGradient.range(of: tensor), overwrites: position.isFirst), workspace: workspaces[0])
    guard position.isLast else { return }
    factors.add(RowKernels.squaredNorm(target.elements), unit: position.unit, tensor: tensor)
    if factors.clipping == .flat || tensor == tiedTensor {
      waitingHead = position.units
    } else {
      factors.setFactors(tensor: tensor)
      addHeadGradient(of: position.unit, tensor: tensor)
    }
  }

  package func endMicrobatch(_ source: some GradientSource) {
    switch factors.clipping {
    case .flat: factors.setFactors()
    case .perLayer: if let tiedTensor { factors.setFactors(tensor: tiedTensor) }
    }
    knowsFactors = true
    // One order, whichever way a layer's gradient was taken: ranks that share a sum may have one unit or several at the same time. The
    // embeddings come first: their sum may be on the way to other hosts while the blocks' products are made.
    let keptFactor = count == 0 ? nil : factors.factor(unit: 0, tensor: 0)
    for isFirst in [true, false] {
      for entry in book where embeddings.contains(entry.gradient.anyTensor) == isFirst {
        let tensor = entry.gradient.anyTensor
        if count <= 1, let block = keptBlockOfTensor[tensor], let layer = kept[block].layers.first(where: { $0.contains(tensor) }) {
          addKept(kept[block].gradient, layer: layer, factor: keptFactor)
        } else {
          addWeightedSum(entry.gradient, units: entry.units)
        }
      }
    }
    if !repeated.isEmpty { source.repeatBlockGradients(into: self) }
    guard let waitingHead, let tensor = headTensor else { return }
    if count == 1 {
      addHeadGradient(of: 0, tensor: tensor)
      return
    }
    let weights = factors.rowWeights(tensor: tensor, units: waitingHead, in: &primaryWeights)
    // Unit by unit, in the chunks whose norms were taken: a row's logits may differ in their last bits where it stands elsewhere in a product, and
    // what is added must be what was measured. In softmax a last bit of a large logit is no last bit of the gradient.
    for (unit, unitRows) in waitingHead.enumerated() where factors.factor(unit: unit, tensor: tensor) != nil {
      source.repeatHeadGradients(rows: unitRows) { rows, gradient in
        let chunk = RowWeights(weights: weights.weights(rows), runs: [0..<rows.count])
        sum.add(layerOf: tensor) {
          gradient.sumWeightedGradients(
            GradientWeights(primary: chunk, secondary: chunk), into: $0, workspace: workspaces[0])
        }
      }
    }
  }

  private func addHeadGradient(of unit: Int, tensor: Int) {
    guard let headGradient else { return }
    addKept(headGradient, layer: tensor..<tensor + 1, factor: factors.factor(unit: unit, tensor: tensor))
  }

  /// Adds `factor` times the tensors of a layer in `slab`; nothing, and reads nothing, where there is no factor.
  private func addKept(_ slab: TensorSlab, layer: Range<Int>, factor: Float?) {
    sum.add(layerOf: layer.lowerBound) { target in
      for tensor in layer {
        guard let part = target.clearedPart(of: tensor), let factor else { continue }
        RowKernels.addScaled(slab.matrix(tensor).rows(part.rows).elements, by: factor, to: part.matrix.elements)
      }
    }
  }

  private func addWeightedSum(_ gradient: LayerGradient, units: [Range<Int>]) {
    let primary = factors.rowWeights(tensor: gradient.anyTensor, units: units, in: &primaryWeights)
    let secondary =
      factors.clipping == .flat
      ? primary
      : factors.rowWeights(tensor: gradient.secondary ?? gradient.anyTensor, units: units, in: &secondaryWeights)
    sum.add(layerOf: gradient.anyTensor) {
      gradient.sumWeightedGradients(
        GradientWeights(primary: primary, secondary: secondary), into: $0, workspace: workspaces[0])
    }
  }
}
