/// What a backward pass finds of its forward pass (Chen et al. 2016, arXiv 1604.06174).
public enum Recomputation: String, Codable, CaseIterable, Sendable {
  /// All activations.
  case none
  /// The residual stream before each block, R·d floats a block. A block's other activations are made again when its backward
  /// pass needs them, in buffers that all blocks share.
  case blocks
}
