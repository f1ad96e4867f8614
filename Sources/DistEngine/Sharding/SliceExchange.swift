/// Sums at their owners, and what owners have made at all ranks, where every rank owns a slice (`--shard optimizer`).
///
/// In two stages where every node has as many ranks: the ranks of a node add up among themselves, each what the ranks of its own number on all
/// nodes own, and then the ranks of one number do, over the nodes. So (n - 1)/n of a buffer leaves each of n hosts and as much comes in, the
/// least there can be, whatever the number of ranks on each. Elsewhere in one stage over all ranks.
///
/// MPI wants the owners' blocks one behind the other: they are packed, an equal part of every slice at a time. Each element is added up on one
/// rank and copied from there: all ranks have the same bits.
package struct SliceExchange {
  /// By rank.
  private let slices: [Range<Int>]
  /// The ranks in the order of blocks: those of one number on all nodes stand together. One column for a single stage.
  private let columns: [[Int]]
  /// The ranks of this node; nil for a single stage.
  private let node: Communicator?
  /// The ranks of this one's column.
  private let column: Communicator
  private let rank, columnIndex: Int

  /// Collective over the job.
  ///
  /// - Parameters:
  ///   - slices: by rank; some may be empty.
  ///   - node: the ranks of this one's node, in the order of ranks.
  package init(slices: [Range<Int>], topology: NodeTopology, world: Communicator, node: Communicator) throws {
    self.slices = slices
    rank = world.rank
    let perNode = Set(topology.ranksPerNode)
    if let number = perNode.first, perNode.count == 1, number > 1 {
      let nodes = (0..<topology.nodeCount).map(topology.ranks(onNode:))
      columns = (0..<number).map { place in nodes.map { $0[place] } }
      columnIndex = topology.localRank
      self.node = node
      guard let column = try world.split(color: columnIndex, key: topology.nodeIndex) else { preconditionFailure("a rank without a column") }
      self.column = column
    } else {
      (columns, columnIndex, self.node, column) = ([Array(slices.indices)], 0, nil, world)
    }
  }

  /// Floats of the packed blocks: 16 MB, of which no more than needed, and one for each rank at least.
  package static func bufferCount(elements: Int, ranks: Int) -> Int {
    let most = Communicator.pieceBytes / MemoryLayout<Float>.stride
    return max(1, min(most / ranks, (elements + ranks - 1) / ranks + 1)) * ranks
  }

  /// Sums up over the ranks: on return the owner of each slice has its sum. The other elements are as they were.
  ///
  /// - Parameter buffer: as large on every rank, with room for a float of each at least.
  package func reduceSum(_ values: Vector, through buffer: Vector) throws {
    try forEachRound(buffer) { packed, blocks in
      for (rank, block) in blocks.ranks {
        copy(Vector(rebasing: values[part(rank, blocks.round)]), to: packed, at: block)
      }
      try node?.reduceScatterSum(packed) { blocks.columns[$0].count }
      try column.reduceScatterSum(Vector(rebasing: packed[..<blocks.columns[columnIndex].count])) { part(columns[columnIndex][$0], blocks.round).count }
      let own = part(rank, blocks.round)
      copy(Vector(rebasing: packed[..<own.count]), to: values, at: own)
    }
  }

  /// Gives every rank the slices of all, of which each has its own.
  ///
  /// - Parameter buffer: as large on every rank, with room for a float of each at least.
  package func allgather(_ values: Vector, through buffer: Vector) throws {
    try forEachRound(buffer) { packed, blocks in
      copy(Vector(rebasing: values[part(rank, blocks.round)]), to: packed, at: blocks.ranks.first { $0.rank == rank }!.block)
      try column.allgather(Vector(rebasing: packed[blocks.columns[columnIndex]])) { part(columns[columnIndex][$0], blocks.round).count }
      try node?.allgather(packed) { blocks.columns[$0].count }
      for (rank, block) in blocks.ranks where rank != self.rank {
        copy(Vector(rebasing: packed[block]), to: values, at: part(rank, blocks.round))
      }
    }
  }

  /// Where in the buffer what belongs to whom lies in a round.
  private struct Blocks {
    let round: Range<Int>
    var ranks: [(rank: Int, block: Range<Int>)] = []
    var columns: [Range<Int>] = []
    var count = 0
  }

  private func forEachRound(_ buffer: Vector, _ body: (_ packed: Vector, _ blocks: Blocks) throws -> Void) throws {
    let most = buffer.count / slices.count
    precondition(most > 0, "a buffer of \(buffer.count) floats for \(slices.count) ranks")
    for start in stride(from: 0, to: slices.map(\.count).max() ?? 0, by: most) {
      var blocks = Blocks(round: start..<start + most)
      for column in columns {
        let first = blocks.count
        for rank in column {
          let count = part(rank, blocks.round).count
          blocks.ranks.append((rank, blocks.count..<blocks.count + count))
          blocks.count += count
        }
        blocks.columns.append(first..<blocks.count)
      }
      try body(Vector(rebasing: buffer[..<blocks.count]), blocks)
    }
  }

  /// What of a rank's slice is exchanged in a round.
  private func part(_ rank: Int, _ round: Range<Int>) -> Range<Int> {
    let slice = slices[rank]
    return min(slice.lowerBound + round.lowerBound, slice.upperBound)..<min(slice.lowerBound + round.upperBound, slice.upperBound)
  }

  private func copy(_ values: Vector, to target: Vector, at place: Range<Int>) {
    _ = Vector(rebasing: target[place]).update(fromContentsOf: values)
  }
}
