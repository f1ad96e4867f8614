/// What the ranks of a node may take together, as all ranks of the job know it.
package struct NodeLimit: Sendable, Equatable {
  package let host: String
  package let ranks: Int
  /// nil where the system tells nothing.
  package let availableBytes: Int?
  /// What plans may take: the least of a budget and of what is available without the ranks' reserve; nil where neither is known.
  package let byteCount: Int?
  /// Who set it.
  package let name: String
  /// What is free for windows that the ranks share, in /dev/shm; nil where the system tells nothing.
  package let sharedByteCount: Int?

  /// What a rank takes beyond its plan: buffers of MPI and of the matrix products, up to 12 MB where it was measured.
  package static let reservePerRank = 32 << 20
  /// What the MPI library itself keeps in /dev/shm, and what a window needs beyond its size, for each rank.
  private static let sharedReservePerRank = 8 << 20

  package init(host: String, ranks: Int, available: AvailableMemory, budget: Int?) {
    self.host = host
    self.ranks = ranks
    availableBytes = available.byteCount
    sharedByteCount = available.sharedByteCount.map { max(0, $0 - ranks * Self.sharedReservePerRank) }
    let usable = available.byteCount.map { max(0, $0 - ranks * Self.reservePerRank) }
    if let budget, budget <= usable ?? .max {
      (byteCount, name) = (budget, "--memory-budget")
    } else {
      (byteCount, name) = (usable, available.limit)
    }
  }

  /// The nodes of the job, each as its leader sees it now. Collective.
  static func ofAllNodes(budget: Int? = nil, environment: MPIEnvironment) throws -> [NodeLimit] {
    let (world, topology) = (environment.world, environment.topology)
    // Before the leaders look, all ranks have released what they had.
    try world.barrier()
    let own = AvailableMemory.current
    let counts = try world.allgather(own.byteCount ?? -1)
    let shared = try world.allgather(own.sharedByteCount ?? -1)
    let names = try world.allgather(own.limit)
    return (0..<topology.nodeCount).map { node in
      let ranks = topology.ranks(onNode: node)
      let known = { (count: Int) in count < 0 ? nil : count }
      return NodeLimit(
        host: topology.hosts[node], ranks: ranks.count,
        available: AvailableMemory(
          byteCount: known(counts[ranks[0]]), limit: names[ranks[0]], sharedByteCount: known(shared[ranks[0]])),
        budget: budget)
    }
  }

  /// Bytes that ranks with this plan take on the node: what is theirs alone, and once what they share.
  package func needed(by plan: ReplicaPlan) -> Int { ranks * plan.byteCount + plan.memory.sharedByteCount() }

  /// Why a plan is too much for this node; nil where it isn't.
  package func refusal(of plan: ReplicaPlan) -> String? {
    let windows = ranks * plan.memory.byteCount(in: .window) + plan.memory.byteCount(in: .node)
    if let sharedByteCount, windows > sharedByteCount {
      return "needs \(Self.size(windows)) of shared memory on \(host), where /dev/shm has \(Self.size(sharedByteCount)) for it"
    }
    return refusal(of: needed(by: plan))
  }

  /// Why so many bytes are too many for this node; nil where they aren't.
  package func refusal(of needed: Int) -> String? {
    guard let byteCount, needed > byteCount else { return nil }
    let who = ranks == 1 ? "1 rank" : "\(ranks) ranks"
    return "needs \(Self.size(needed)) on \(host) (\(who)), which has \(Self.size(byteCount)) for it (\(name))"
  }

  private static func size(_ bytes: Int) -> String {
    bytes < 1 << 30 ? "\(bytes.megabytes.formatted(digits: 0)) MB" : "\((Double(bytes) / Double(1 << 30)).formatted(digits: 2)) GB"
  }

  /// The largest microbatch that fits: 0 where not even one record does, nil without a limit.
  ///
  /// - Parameter needed: bytes on the node, by microbatch; grows with it.
  package func largestMicrobatch(needed: (Int) -> Int) -> Int? {
    guard let byteCount else { return nil }
    func fits(_ microbatch: Int) -> Bool { needed(microbatch) <= byteCount }
    var (most, tooMany) = (0, 1)
    while tooMany <= TrainingConfiguration.mostExamples, fits(tooMany) { (most, tooMany) = (tooMany, 2 * tooMany) }
    while tooMany - most > 1 {
      let middle = (most + tooMany) / 2
      if fits(middle) { most = middle } else { tooMany = middle }
    }
    return min(most, TrainingConfiguration.mostExamples)
  }
}
