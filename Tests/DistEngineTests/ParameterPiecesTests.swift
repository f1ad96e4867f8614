import DistEngine
import Testing

@Suite struct ParameterPiecesTests {
  static let capacities = [1, 16, 100, 1000, 1 << 20]

  @Test(arguments: capacities, [1, 2, 3, 7])
  func partsCoverEveryParameterOnce(capacity: Int, owners: Int) throws {
    for tied in [true, false] {
      let layout = try SmallModels.configuration(tied: tied).parameterLayout
      let pieces = ParameterPieces(layout, capacity: capacity, owners: owners)
      var seen = [Int](repeating: 0, count: layout.totalCount)
      for owner in 0..<owners {
        for range in pieces.slice(ofOwner: owner) { for j in range { seen[j] += 1 } }
      }
      #expect(seen.allSatisfy { $0 == 1 })
    }
  }

  @Test(arguments: capacities)
  func piecesAreWholeRowsOfOneLayerAndFitTheCapacity(capacity: Int) throws {
    let layout = try SmallModels.configuration(tied: true).parameterLayout
    let pieces = ParameterPieces(layout, capacity: capacity, owners: 2)
    for layer in layout.groups {
      let indices = pieces.pieces(ofTensor: layer.lowerBound)
      #expect(layer.allSatisfy { pieces.pieces(ofTensor: $0) == indices })
      let ranges = pieces.pieces[indices]
      #expect(ranges.first?.lowerBound == layout[layer.lowerBound].offset)
      #expect(ranges.last?.upperBound == layout[layer.upperBound - 1].range.upperBound)
      #expect(zip(ranges, ranges.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      for range in ranges {
        // Between rows of whichever tensor the bound lies in.
        for tensor in layout[layer] where tensor.range.contains(range.lowerBound) {
          #expect((range.lowerBound - tensor.offset).isMultiple(of: tensor.shape.last!))
        }
        let longestRow = layout[layer].map { $0.shape.last! }.max()!
        #expect(range.count <= max(capacity, longestRow))
      }
    }
  }

  @Test func groupsAreTheTensorsOfALayer() throws {
    let layout = try SmallModels.configuration(tied: false).parameterLayout
    let names = layout.groups.map { layout[$0].map(\.name) }
    #expect(names.contains(["transformer.h.0.attn.c_attn.bias", "transformer.h.0.attn.c_attn.weight"]))
    #expect(names.contains(["transformer.wte.weight"]) && names.contains(["lm_head.weight"]))
    #expect(names.flatMap { $0 } == layout.map(\.name))
  }

  /// Nodes of unequal size share slices of the smallest; each element is updated by one rank of every node, and drawn by one rank of the job.
  @Test(arguments: [[0], [0, 0], [0, 0, 0, 1], [0, 1, 1, 2, 2, 2]], Sharding.allCases)
  func everyElementIsUpdatedOnceANodeAndDrawnOnce(nodeOfRank: [Int], sharding: Sharding) throws {
    for pieceCapacity in [1000, 1 << 20] { try checkOwners(nodeOfRank, sharding, pieceCapacity: pieceCapacity) }
  }

  private func checkOwners(_ nodeOfRank: [Int], _ sharding: Sharding, pieceCapacity: Int) throws {
    let layout = try SmallModels.configuration(tied: true).parameterLayout
    let count = layout.totalCount
    let hosts = (0...nodeOfRank.max()!).map { "host\($0)" }
    for noise in sharding == .none ? NoisePlacement.allCases : [.sharded] {
      var updated = [[Int]](repeating: [Int](repeating: 0, count: count), count: hosts.count)
      var drawn = [Int](repeating: 0, count: count)
      for rank in nodeOfRank.indices {
        let topology = NodeTopology(rank: rank, nodeOfRank: nodeOfRank, hosts: hosts)
        let plan = ShardPlan(layout, sharding: sharding, noise: noise, topology: topology, pieceCapacity: pieceCapacity)
        for range in plan.updated { for j in range { updated[nodeOfRank[rank]][j] += 1 } }
        let held = sharding == .node ? plan.updated : [0..<count]
        for range in held { for j in range.clamped(to: plan.noiseElements) { drawn[j] += 1 } }
      }
      #expect(drawn.allSatisfy { $0 == 1 }, "noise \(noise)")
      switch sharding {
      case .none: for (node, counts) in updated.enumerated() { #expect(counts.allSatisfy { $0 == nodeOfRank.count { $0 == node } }) }
      case .optimizer: #expect((0..<count).allSatisfy { j in updated.reduce(0) { $0 + $1[j] } == 1 })
      case .node: for counts in updated { #expect(counts.allSatisfy { $0 == 1 }) }
      }
    }
  }
}
