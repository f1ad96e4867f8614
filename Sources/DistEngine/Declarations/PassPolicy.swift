/// What a backward pass finds of its forward pass (Chen et al. 2016, arXiv 1604.06174).
public enum Recomputation: String, Codable, CaseIterable, Sendable {
  /// All activations.
  case none
  /// The residual stream before each block, R·d floats a block. A block's other activations are made again when its backward
  /// pass needs them, in buffers that all blocks share.
  case blocks
}

/// What a model's passes keep, and for how long: chosen by the plan, the same for every family.
package struct PassPolicy: Sendable {
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

  package var retention: Retention
  /// Book-keeping where the blocks' gradient of a microbatch's only unit is taken at once, so that its operands don't wait.
  package var keepsOnlyUnit = false
  package var logits: LogitStorage
  /// Norms are taken unit by unit without a gradient: those of a tied table then need its cross term, and its sum waits for it.
  package var takesGhostNorms: Bool
  /// The weighted sums of embeddings and head wait for clip factors, whatever becomes of the blocks'.
  package var outerLayersWait: Bool
  package var recompute: Recomputation
  package var trainable: TrainableParameters
  /// The largest team that runs the passes: each of its threads has scratch of its own for attention.
  package var threads: Int
  /// In a forward pass alone: whether keys and values stay, so that the next pass need only see what is new.
  package var cachesKeys: Bool
  package var products: LayerProducts

  package init(
    retention: Retention, logits: LogitStorage, takesGhostNorms: Bool, outerLayersWait: Bool, recompute: Recomputation,
    trainable: TrainableParameters = .all, threads: Int, cachesKeys: Bool = false, products: LayerProducts = .float32
  ) {
    precondition(!cachesKeys || retention == .inference, "keys of a pass whose parameters will change")
    self.retention = retention
    self.logits = logits
    self.takesGhostNorms = takesGhostNorms
    self.outerLayersWait = outerLayersWait
    self.recompute = recompute
    self.trainable = trainable
    self.threads = threads
    self.cachesKeys = cachesKeys
    self.products = products
  }

  /// To know a model's parameters alone.
  static let parametersAlone = PassPolicy(
    retention: .inference, logits: .whole, takesGhostNorms: false, outerLayersWait: false, recompute: .none, threads: 1)

  package var isTraining: Bool { retention != .inference }
  /// Blocks share one set of activations, made again for each block's backward pass.
  package var recomputesBlocks: Bool { isTraining && recompute == .blocks }
  /// The blocks' layers are in the book: all of their operands live until the weighted sum.
  package var booksBlocks: Bool { retention == .weightedSum && !recomputesBlocks }
  /// The blocks' backward passes run a second time for the weighted sum.
  package var repeatsBlocks: Bool { retention == .weightedSum && recomputesBlocks }
  package var outerWaits: Bool { retention == .weightedSum || outerLayersWait }
}
