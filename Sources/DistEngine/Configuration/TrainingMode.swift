/// How per-example gradients are dealt with.
public enum TrainingMode: String, Codable, CaseIterable, Sendable {
  /// Ordinary training: the baseline for time and memory. Not private.
  case standard
  /// Per-example gradients materialised for every layer and example of a microbatch.
  case hooks
  /// Ghost clipping by book-keeping: norms without per-example gradients, one backward pass.
  case ghost

  public var isPrivate: Bool { self != .standard }
}

/// Options that can change time and memory, but neither the result (beyond the order of sums) nor the guarantee.
public struct PerformanceOptions: Sendable, Equatable {
  /// Examples in a microbatch; nil chooses by rows.
  public var microbatch: Int?
  /// What the backward pass computes once more.
  public var recompute: Recomputation
  public var memoryBudget: MemoryBudget
  /// Threads of each rank; nil takes the cores that the rank was given.
  public var threads: Int?
  /// nil chooses by the ranks that share a node.
  public var sharding: Sharding?
  /// nil: `rank0` where the state isn't sharded, else `sharded`.
  public var noise: NoisePlacement?
  /// Floats of the largest piece in which ranks exchange a sum.
  package var pieceCapacity = ShardPlan.pieceCapacity

  public init(
    microbatch: Int? = nil, recompute: Recomputation = .none, memoryBudget: MemoryBudget = .standard, threads: Int? = nil
  ) {
    self.microbatch = microbatch
    self.recompute = recompute
    self.memoryBudget = memoryBudget
    self.threads = threads
  }

  /// What is left open decided by who shares a node with whom. Noise that rank 0 has to draw needs a sum that rank 0 holds.
  func shards(_ layout: ParameterLayout, topology: NodeTopology) -> ShardPlan {
    let sharding = sharding ?? (noise == .rank0 ? .none : .automatic(topology))
    return ShardPlan(
      layout, sharding: sharding, noise: noise ?? (sharding == .none ? .rank0 : .sharded), topology: topology, pieceCapacity: pieceCapacity)
  }

  /// More is a slip of the keyboard.
  static let mostThreads = 1024

  func validateThreads() throws(TrainingError) {
    guard let threads, !(1...Self.mostThreads).contains(threads) else { return }
    throw .badOption(option: "--threads", value: "\(threads)", allowed: "1 to \(Self.mostThreads), or auto")
  }
}
