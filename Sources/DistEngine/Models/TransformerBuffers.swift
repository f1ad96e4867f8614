/// What a transformer keeps between its forward and backward pass, declared to a ``MemoryPlan``.
///
/// A step's timeline, for lifetimes: 0 embedding, 1…L the blocks forward, L+1 the head, L+2…2L+1 the blocks backward (the
/// last block first), 2L+2 the embedding's gradient, 2L+3 the weighted sum, with the second backward pass where it needs one,
/// 2L+4 noise, reduction and update.
package struct TransformerBuffers {
  /// What must outlive its use in the passes themselves.
  package enum Retention: Sendable {
    /// A forward pass alone: nothing is kept.
    case inference
    /// Activations from a block's forward to its backward pass.
    case backward
    /// Book-keeping: inputs and output gradients of every layer until the weighted sum (Bu et al. 2022b, arXiv 2210.00038); with
    /// recomputed blocks, what a second backward pass starts from.
    case weightedSum
  }

  package enum LogitStorage: Hashable, Sendable {
    /// Logits of the whole microbatch, which become their own gradients.
    case whole
    /// This many rows at a time.
    case chunks(rows: Int)
  }

  package struct Options: Sendable {
    package var retention: Retention
    package var logits: LogitStorage
    package var tiedCrossTerm: Bool
    /// The weighted sums of the embeddings, the final norm and the head wait for clip factors, whatever becomes of the blocks'.
    package var outerLayersWait: Bool
    package var recompute: Recomputation
    /// The largest team that runs the passes: each of its threads has scratch of its own for attention.
    package var threads: Int

    package init(
      retention: Retention, logits: LogitStorage, tiedCrossTerm: Bool, outerLayersWait: Bool, recompute: Recomputation,
      threads: Int
    ) {
      self.threads = threads
      self.recompute = recompute
      self.outerLayersWait = outerLayersWait
      self.retention = retention
      self.logits = logits
      self.tiedCrossTerm = tiedCrossTerm
    }
  }

  typealias ID = MemoryPlan.BufferID

  /// What a block's forward pass leaves to its backward pass, 14·R·d and R·(H + 2) floats where the inner width is 4·d.
  struct Activations {
    let normalized1, rstd1, qkv, attended, logSumExp, normalized2, rstd2, inner, activated: ID

    /// - Parameters:
    ///   - owner: whose they are, for the names.
    ///   - lifetime: of those that a weighted sum needs again, and of the others.
    init(
      of owner: String, _ model: ModelConfiguration, rows R: Int, lifetime: (_ again: Bool) -> ClosedRange<Int>,
      in plan: inout MemoryPlan
    ) {
      let (d, inner) = (model.width, model.innerWidth)
      func add(_ part: String, _ count: Int, again: Bool = true) -> ID {
        plan.add("\(owner) \(part)", .activations, count: count, lifetime: lifetime(again))
      }
      normalized1 = add("ln_1 normalized", R * d)
      rstd1 = add("ln_1 rstd", R, again: false)
      qkv = add("qkv", R * 3 * d)
      attended = add("attended", R * d)
      logSumExp = add("log-sum-exp", R * model.heads, again: false)
      normalized2 = add("ln_2 normalized", R * d)
      rstd2 = add("ln_2 rstd", R, again: false)
      self.inner = add("inner", R * inner)
      activated = add("activated", R * inner)
    }
  }

  struct Block {
    /// The residual stream before the block; empty where ``recomputesBlocks`` is false.
    let input: ID
    let activations: Activations
    /// Gradients of the residual stream behind this block's two halves, and at its layer norms' outputs.
    let residualGradient2, residualGradient1, normGradient2, normGradient1: ID
  }

  package let options: Options
  package let capacity: Microbatch.Capacity
  /// Blocks share one set of activations, made again for each block's backward pass.
  let recomputesBlocks: Bool
  let blocks: [Block]
  let residual, scaled, finalNormalized, finalRstd, headInput, headInputGradient, firstResidualGradient: ID
  let logits, gradientAtTokens, wide: ID
  let scores, scoreGradients, keyGradient, valueGradient, delta: ID

  /// Declares everything. Sizes are in floats of R rows, T positions, d width, H heads, V vocabulary.
  package init(
    _ model: ModelConfiguration, capacity: Microbatch.Capacity, options: Options, in plan: inout MemoryPlan
  ) {
    self.options = options
    self.capacity = capacity
    let (R, T, d, H, V, L) = (
      capacity.rows, capacity.positions, model.width, model.heads, model.vocabularySize, model.layers
    )
    let inner = model.innerWidth
    let sum = StepTimeline.weightedSum(layers: L)
    let isTraining = options.retention != .inference
    recomputesBlocks = isTraining && options.recompute == .blocks
    let blocksWait = options.retention == .weightedSum
    let outerWait = blocksWait || options.outerLayersWait
    // The book holds every layer's output gradient; or the blocks' backward passes run again for the weighted sum.
    let keeps = blocksWait && !recomputesBlocks
    let repeats = blocksWait && recomputesBlocks
    let backward = { (l: Int) in StepTimeline.backward(block: l, layers: L) }
    // From a block's forward pass to its backward pass, or to the weighted sum that needs it again.
    let kept = { (l: Int, again: Bool) -> ClosedRange<Int> in
      switch options.retention {
      case .inference: l + 1...l + 1
      case .backward: l + 1...backward(l)
      case .weightedSum: l + 1...(again ? sum : backward(l))
      }
    }
    // Gradients of the residual stream: one buffer, updated in place, unless all of them are kept.
    let passes = StepTimeline.head(layers: L)...StepTimeline.embeddingGradient(layers: L)
    let gradients = isTraining ? R * d : 0
    let shared = keeps ? 0 : gradients
    headInputGradient = plan.add(
      "head input gradient", outerWait ? .bookKeeping : .workspace, count: gradients,
      lifetime: passes.lowerBound...(outerWait ? sum : passes.upperBound))
    // A tied head's weighted sum waits for the embedding's part of the norm, whatever the clipping.
    let waits = outerWait || options.tiedCrossTerm
    let inPlace = plan.add(
      "residual gradient", .workspace, count: shared, lifetime: passes.lowerBound...(waits ? sum : passes.upperBound))
    let normGradient = plan.add(
      "layer norm output gradient", .workspace, count: shared,
      lifetime: passes.lowerBound...(repeats ? sum : passes.upperBound))
    let bookKept = { (plan: inout MemoryPlan, name: String, l: Int, otherwise: ID) -> ID in
      keeps ? plan.add(name, .bookKeeping, count: R * d, lifetime: backward(l)...sum) : otherwise
    }
    firstResidualGradient =
      keeps
      ? plan.add("final residual gradient", .bookKeeping, count: R * d, lifetime: passes.lowerBound...sum) : inPlace

    let lastBackward = repeats ? sum : backward(0)
    let sharedActivations =
      recomputesBlocks
      ? Activations(of: "each block's", model, rows: R, lifetime: { _ in 1...lastBackward }, in: &plan) : nil
    let inputCount = recomputesBlocks ? R * d : 0
    blocks = (0..<L).map { l in
      let name = { (part: String) in "h.\(l) \(part)" }
      return Block(
        input: plan.add(name("input"), .activations, count: inputCount, lifetime: kept(l, true)),
        activations: sharedActivations
          ?? Activations(of: "h.\(l)", model, rows: R, lifetime: { kept(l, $0) }, in: &plan),
        residualGradient2: bookKept(&plan, name("mlp residual gradient"), l, inPlace),
        residualGradient1: bookKept(&plan, name("attention residual gradient"), l, inPlace),
        normGradient2: bookKept(&plan, name("ln_2 output gradient"), l, normGradient),
        normGradient1: bookKept(&plan, name("ln_1 output gradient"), l, normGradient))
    }
    let head = StepTimeline.head(layers: L)
    residual = plan.add("residual", .activations, count: R * d, lifetime: 0...head)
    scaled = plan.add("layer norm output", .workspace, count: R * d, lifetime: 0...sum)
    let toBackward = head...(isTraining ? (outerWait ? sum : head + 1) : head)
    finalNormalized = plan.add("ln_f normalized", .activations, count: R * d, lifetime: toBackward)
    finalRstd = plan.add("ln_f rstd", .activations, count: R, lifetime: toBackward)
    headInput = plan.add("head input", .activations, count: R * d, lifetime: head...(isTraining ? sum : head))
    switch options.logits {
    case .whole:
      logits = plan.add("logits", .activations, count: R * V, lifetime: head...(waits ? sum : head))
    case .chunks(let rows):
      // Chunks are made again for the weighted sum where their factors weren't known the first time, and where there are
      // several records: of one the gradient itself is kept.
      logits = plan.add(
        "logits of a chunk", .workspace, count: min(rows, R) * V,
        lifetime: head...(waits && capacity.examples > 1 ? sum : head))
    }
    gradientAtTokens = plan.add(
      "logit gradients at tokens", .bookKeeping, count: options.tiedCrossTerm ? R * T : 0,
      lifetime: head...StepTimeline.embeddingGradient(layers: L))
    wide = plan.add(
      "inner gradient", .workspace, count: isTraining ? R * max(inner, d) : 0, lifetime: head + 1...lastBackward)

    let attention = 1...lastBackward
    let block = min(CausalAttention.queryBlock, T)
    scores = plan.add("attention scores", .workspace, count: options.threads * block * T, lifetime: attention)
    let backwardOnly = isTraining ? options.threads : 0
    scoreGradients = plan.add(
      "attention score gradients", .workspace, count: backwardOnly * block * T, lifetime: attention)
    keyGradient = plan.add("key gradient", .workspace, count: backwardOnly * T * (d / H), lifetime: attention)
    valueGradient = plan.add("value gradient", .workspace, count: backwardOnly * T * (d / H), lifetime: attention)
    delta = plan.add("attention delta", .workspace, count: isTraining ? R * H : 0, lifetime: attention)
  }
}

/// Points of a step, for the lifetimes of buffers.
package enum StepTimeline {
  package static func head(layers: Int) -> Int { layers + 1 }
  package static func backward(block: Int, layers: Int) -> Int { 2 * layers + 1 - block }
  package static func embeddingGradient(layers: Int) -> Int { 2 * layers + 2 }
  package static func weightedSum(layers: Int) -> Int { 2 * layers + 3 }
  package static func update(layers: Int) -> Int { 2 * layers + 4 }
}
