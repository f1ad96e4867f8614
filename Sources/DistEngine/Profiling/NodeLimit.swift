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

  /// What a rank takes beyond its plan: buffers of MPI and of the matrix products, up to 12 MB where it was measured.
  package static let reservePerRank = 32 << 20

  package init(host: String, ranks: Int, available: AvailableMemory, budget: Int?) {
    self.host = host
    self.ranks = ranks
    availableBytes = available.byteCount
    let usable = available.byteCount.map { max(0, $0 - ranks * Self.reservePerRank) }
    if let budget, budget <= usable ?? .max {
      (byteCount, name) = (budget, "--memory-budget")
    } else {
      (byteCount, name) = (usable, available.limit)
    }
  }

  /// The nodes of the job, each as its leader sees it now. Collective.
  static func ofAllNodes(budget: Int?, environment: MPIEnvironment) throws -> [NodeLimit] {
    let (world, topology) = (environment.world, environment.topology)
    // Before the leaders look, all ranks have released what they had.
    try world.barrier()
    let own = AvailableMemory.current
    let counts = try world.allgather(own.byteCount ?? -1)
    let names = try world.allgather(own.limit)
    return (0..<topology.nodeCount).map { node in
      let ranks = topology.ranks(onNode: node)
      let count = counts[ranks[0]]
      return NodeLimit(
        host: topology.hosts[node], ranks: ranks.count,
        available: AvailableMemory(byteCount: count < 0 ? nil : count, limit: names[ranks[0]], sharedByteCount: nil),
        budget: budget)
    }
  }

  /// Why so many bytes are too many for this node; nil where they aren't.
  package func refusal(of needed: Int) -> String? {
    guard let byteCount, needed > byteCount else { return nil }
    let who = ranks == 1 ? "1 rank" : "\(ranks) ranks"
    return "needs \(needed.megabytes.formatted(digits: 0)) MB on \(host) (\(who)), which has "
      + "\(byteCount.megabytes.formatted(digits: 0)) MB for it (\(name))"
  }

  /// The largest microbatch that fits: 0 where not even one record does, nil without a limit.
  ///
  /// - Parameter plannedBytes: of one rank; grows with the microbatch.
  package func largestMicrobatch(plannedBytes: (Int) -> Int) -> Int? {
    guard let byteCount else { return nil }
    func fits(_ microbatch: Int) -> Bool { plannedBytes(microbatch) * ranks <= byteCount }
    var (most, tooMany) = (0, 1)
    while tooMany <= TrainingConfiguration.mostExamples, fits(tooMany) { (most, tooMany) = (tooMany, 2 * tooMany) }
    while tooMany - most > 1 {
      let middle = (most + tooMany) / 2
      if fits(middle) { most = middle } else { tooMany = middle }
    }
    return min(most, TrainingConfiguration.mostExamples)
  }
}
