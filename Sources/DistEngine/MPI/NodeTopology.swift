/// Which rank is on which node: a node is a set of ranks that can share memory (MPI_COMM_TYPE_SHARED, MPI 4.0, 7.4.2).
///
/// Nodes are numbered in the order of their lowest ranks. Computed once, the same on every rank but for `rank`.
public struct NodeTopology: Sendable, Equatable {
  public let rank: Int
  /// The node of each rank of the job.
  public let nodeOfRank: [Int]
  /// The host name of each node.
  public let hosts: [String]

  package init(rank: Int, nodeOfRank: [Int], hosts: [String]) {
    (self.rank, self.nodeOfRank, self.hosts) = (rank, nodeOfRank, hosts)
  }

  /// Collective over `world`; `node` is its part on this rank's node.
  init(world: Communicator, node: Communicator) throws {
    let lowest = try node.allreduceMin(world.rank)
    let lowestOfRank = try world.allgather(lowest)
    let leaders = Set(lowestOfRank).sorted()
    let names = try world.allgather(world.host)
    self.init(
      rank: world.rank, nodeOfRank: lowestOfRank.map { leaders.firstIndex(of: $0)! }, hosts: leaders.map { names[$0] })
  }

  public var nodeCount: Int { hosts.count }

  /// The node of this rank.
  public var nodeIndex: Int { nodeOfRank[rank] }

  public var host: String { hosts[nodeIndex] }

  /// The number of ranks on each node.
  public var ranksPerNode: [Int] {
    nodeOfRank.reduce(into: [Int](repeating: 0, count: nodeCount)) { $0[$1] += 1 }
  }

  /// The number of ranks on this rank's node.
  public var ranksOnNode: Int { ranksPerNode[nodeIndex] }

  /// This rank's number among those of its node, from 0.
  public var localRank: Int { nodeOfRank[..<rank].count { $0 == nodeIndex } }

  /// True on the lowest rank of each node.
  public var isNodeLeader: Bool { localRank == 0 }

  /// The ranks of a node, ascending.
  public func ranks(onNode node: Int) -> [Int] {
    nodeOfRank.indices.filter { nodeOfRank[$0] == node }
  }
}
