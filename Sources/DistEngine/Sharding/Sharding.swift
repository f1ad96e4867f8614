/// How the ranks of a job divide the model's state: parameters, gradient sum, optimizer state.
public enum Sharding: String, Codable, CaseIterable, Sendable {
  /// Every rank holds all of it; gradients are summed over the ranks by an allreduce.
  case none
  /// Every rank holds parameters and gradient sum; the optimizer's state is in slices, one a rank (ZeRO stage 1: Rajbhandari et al. 2020,
  /// arXiv 1910.02054v3, §5.1).
  case optimizer
  /// Parameters once a node, in memory that its ranks share; gradient sum and optimizer state in slices, one a rank of the node.
  case node
}

/// Which ranks draw the noise of a step. The numbers are the same.
public enum NoisePlacement: String, Codable, CaseIterable, Sendable {
  /// Rank 0 draws all of it.
  case rank0
  /// Each rank draws that of its own slice.
  case sharded
}

/// What of the model's state one rank of a job holds, draws and updates.
package struct ShardPlan: Sendable {
  package let sharding: Sharding
  package let noise: NoisePlacement
  /// Elements, in canonical order, whose noise this rank draws, as far as it holds them.
  package let noiseElements: Range<Int>
  /// Elements that this rank updates, in canonical order; its part of the optimizer's state.
  package let updated: [Range<Int>]
  /// `optimizer`: the slice of every rank. Else empty.
  package let slices: [Range<Int>]
  /// `node`, where the whole gradient is larger than two pieces: those in which it is exchanged layer by layer. Else it is exchanged once
  /// a batch.
  package let pieces: ParameterPieces?
  /// `node`: which of the owners this rank is; nil for none.
  package let owner: Int?
  let topology: NodeTopology
  private let pieceCapacity: Int
  /// Bytes of this rank's own in the window in which gradients are exchanged.
  package let windowByteCount: Int
  /// Floats of the buffer that exchanges between ranks go through.
  package let exchangeCount: Int
  /// Whether parts of the sum are summed over hosts while the rest of it is made. Of a small sum that isn't worth it; and only where one rank
  /// of each node has an element of it, since otherwise more would leave a host than need be.
  package let sumTravels: Bool

  /// Floats of a piece: two of them are a rank's 64 MB of the window.
  package static let pieceCapacity = 8 << 20

  /// One rank alone, or one that shares nothing.
  package init(_ layout: ParameterLayout) {
    self.init(layout, sharding: .none, noise: .rank0, topology: NodeTopology(rank: 0, nodeOfRank: [0], hosts: [""]))
  }

  /// - Parameters:
  ///   - noise: `sharded` where the sharding isn't `none`.
  ///   - topology: of the job, as this rank sees it.
  ///   - pieceCapacity: floats of the largest piece in which the ranks of a node exchange gradients.
  package init(
    _ layout: ParameterLayout, sharding: Sharding, noise: NoisePlacement, topology: NodeTopology,
    pieceCapacity: Int = ShardPlan.pieceCapacity
  ) {
    precondition(sharding == .none || noise == .sharded, "the noise of a sharded sum is drawn in slices")
    self.sharding = sharding
    self.noise = noise
    self.topology = topology
    self.pieceCapacity = pieceCapacity
    let (count, ranks) = (layout.totalCount, topology.nodeOfRank.count)
    // Even bounds: normals come in pairs.
    let slices = Self.slices(count, owners: ranks, grain: 2)
    let hasOneHolderByNode = sharding == .node || sharding == .none && topology.ranksPerNode.allSatisfy { $0 == 1 }
    sumTravels = topology.nodeCount > 1 && hasOneHolderByNode && count > 2 * pieceCapacity
    exchangeCount =
      sharding == .optimizer
      ? SliceExchange.bufferCount(elements: count, ranks: ranks)
      : sumTravels ? TravellingSum.bufferCount(pieceCapacity: Self.travellingPiece(pieceCapacity), ranks: topology.nodeCount) : 0
    switch sharding {
    case .none:
      (pieces, owner, updated, windowByteCount) = (nil, nil, [0..<count], 0)
      self.slices = []
      let all = topology.rank == 0 ? 0..<count : 0..<0
      noiseElements = noise == .sharded ? slices[topology.rank] : all
    case .optimizer:
      (pieces, owner, updated, windowByteCount) = (nil, nil, [slices[topology.rank]], 0)
      self.slices = slices
      noiseElements = slices[topology.rank]
    case .node:
      // Nodes may have different numbers of ranks: slices are those of the smallest, so that every slice is at home on every node.
      let owners = topology.ranksPerNode.min() ?? 1
      let owner = topology.localRank < owners ? topology.localRank : nil
      self.owner = owner
      self.slices = []
      if count > 2 * pieceCapacity {
        let pieces = ParameterPieces(layout, capacity: pieceCapacity, owners: owners)
        self.pieces = pieces
        updated = owner.map { pieces.slice(ofOwner: $0).filter { !$0.isEmpty } } ?? []
        windowByteCount = NodeGradientSum.windowByteCount(pieces)
      } else {
        pieces = nil
        // Whole cache lines, so that two owners never write to one.
        updated = owner.map { [Self.slices(count, owners: owners, grain: 16)[$0]] } ?? []
        windowByteCount = WindowGradientSum.windowByteCount(parameterCount: count)
      }
      // The sum over nodes comes after: one node's owners draw.
      noiseElements = topology.nodeIndex == 0 ? 0..<count : 0..<0
    }
  }

  /// The plan of rank 0: for choices that all ranks must make alike, whatever the size of their slices.
  func ofFirstRank(_ layout: ParameterLayout) -> ShardPlan {
    ShardPlan(
      layout, sharding: sharding, noise: noise,
      topology: NodeTopology(rank: 0, nodeOfRank: topology.nodeOfRank, hosts: topology.hosts), pieceCapacity: pieceCapacity)
  }

  /// Floats that travel as one piece: 4 MB with pieces of 32 MB within a node.
  private static func travellingPiece(_ pieceCapacity: Int) -> Int { max(1024, pieceCapacity / 8) }
  var travellingPiece: Int { Self.travellingPiece(pieceCapacity) }

  /// Floats of the canonical order that are told to be final, and are updated, as one part at most.
  package var partCapacity: Int { 4 * travellingPiece }

  /// Where, among the elements that this rank updates, those of a range stand: in the optimizer's state, and where the sum is in slices or whole in the sum.
  package func place(of elements: Range<Int>) -> Range<Int> {
    let count = { (range: Range<Int>) in updated.reduce(0) { $0 + $1.clamped(to: range).count } }
    let start = count(0..<elements.lowerBound)
    return start..<start + count(elements)
  }

  /// Whose plan it is.
  package var rank: Int { topology.rank }

  /// Floats of optimizer state a moment.
  package var updatedCount: Int { updated.reduce(0) { $0 + $1.count } }

  /// Whether the ranks of a node meet at every layer of every microbatch.
  package var exchangesByLayer: Bool { pieces != nil }

  /// About equal parts that begin at multiples of `grain`.
  private static func slices(_ count: Int, owners: Int, grain: Int) -> [Range<Int>] {
    let bound = { (owner: Int) in owner == owners ? count : count * owner / owners / grain * grain }
    return (0..<owners).map { bound($0)..<bound($0 + 1) }
  }
}

extension Sharding {
  /// What `auto` stands for: `node` where ranks share a node, else `none`.
  package static func automatic(_ topology: NodeTopology) -> Sharding {
    topology.ranksPerNode.contains { $0 > 1 } ? .node : .none
  }
}
