import DistEngine
import Foundation
import Testing

/// Seconds on the wire against cases counted by hand, and against a ring that is gone round message by message.
@Suite struct WireModelTests {
  private static let link = try! Link(gigabits: 2, latencyMicroseconds: 30)
  private var alpha: Double { 30e-6 }
  private var beta: Double { 2e9 / 8 * 1448 / 1538 }
  /// Floats of one piece of a collective: 16 MB.
  private static let piece = 4 << 20

  private func model(_ nodes: Int, _ ranksPerNode: Int) -> WireModel { WireModel(Self.link, nodes: nodes, ranksPerNode: ranksPerNode) }

  private func isClose(_ a: Double, _ b: Double) -> Bool { abs(a - b) <= 1e-9 * max(abs(a), abs(b)) }

  @Test(arguments: [0, -1, -.infinity, .nan, .infinity] as [Double])
  func aLinkIsARateAboveZero(gigabits: Double) {
    #expect(throws: TrainingError.badOption(option: "--link", value: "\(gigabits)", allowed: "a number above 0: Gbit/s of a node's link")) {
      try Link(gigabits: gigabits)
    }
  }

  @Test(arguments: [-1, .nan, .infinity] as [Double])
  func aLatencyIsNotNegative(latency: Double) {
    #expect(throws: TrainingError.self) { try Link(gigabits: 1, latencyMicroseconds: latency) }
  }

  @Test func aLinkCarriesWhatTCPLeaves() throws {
    #expect(isClose(Self.link.bytesPerSecond, beta) && isClose(Self.link.latency, alpha))
    #expect(try Link(gigabits: 1, latencyMicroseconds: 0).latency == 0)
  }

  @Test(arguments: Sharding.allCases)
  func oneNodeHasNoWire(sharding: Sharding) {
    for ranks in [1, 2, 5] { #expect(model(1, ranks).step(sharding, floats: Self.piece, owners: ranks) == 0) }
  }

  @Test func ofTwoRanksEachSendsHalfTwice() {
    let bytes = 4 * Double(Self.piece)
    #expect(isClose(model(2, 1).step(.none, floats: Self.piece, owners: 1), 2 * (alpha + bytes / 2 / beta) + alpha))
    #expect(isClose(model(2, 1).step(.node, floats: Self.piece, owners: 1), 2 * (alpha + bytes / 2 / beta) + alpha))
    // Two pieces and a rest of 4 bytes.
    let rest = 2 * (alpha + 2 / beta)
    #expect(isClose(model(2, 1).step(.none, floats: 2 * Self.piece + 1, owners: 1), 4 * (alpha + bytes / 2 / beta) + rest + alpha))
  }

  /// Messages of 1/p of a piece, p − 1 of them until all slices are sums, and as many until all ranks have all slices.
  @Test(arguments: [(2, 1), (3, 1), (2, 2), (3, 2), (7, 1), (4, 3), (64, 16)])
  func aSumOfAllRanksIsARing(nodes: Int, ranksPerNode: Int) {
    let ranks = nodes * ranksPerNode
    var seconds = 0.0
    for _ in 0..<2 {
      for _ in 1..<ranks {
        // Every rank sends a block to the next one; what goes to another node shares its link.
        var sent = [Double](repeating: 0, count: nodes)
        for rank in 0..<ranks where rank / ranksPerNode != (rank + 1) % ranks / ranksPerNode {
          sent[rank / ranksPerNode] += 4 * Double(Self.piece) / Double(ranks)
        }
        seconds += sent.map { alpha + $0 / beta }.max()!
      }
    }
    let counts = ceil(log2(Double(nodes))) * alpha
    #expect(isClose(model(nodes, ranksPerNode).step(.none, floats: Self.piece, owners: ranksPerNode), seconds + counts))
  }

  /// The owners of a node's slices sum theirs at the same time, over one link: as many bytes as one rank a node would send, and as many steps as nodes.
  @Test func ofANodeItsSumAloneIsSent() {
    let bytes = 4 * Double(4 * Self.piece)
    let seconds = 2 * 4 * (alpha + 2 * (bytes / 4 / 3) / beta) + 2 * alpha
    #expect(isClose(model(3, 2).step(.node, floats: 4 * Self.piece, owners: 2), seconds))
    #expect(model(3, 2).step(.node, floats: 4 * Self.piece, owners: 2) < model(3, 2).step(.none, floats: 4 * Self.piece, owners: 2))
  }

  /// Of a few bytes all go at once to partners at doubled distances.
  @Test func smallSumsTakeFewSteps() {
    let bytes = 4000.0
    #expect(isClose(model(4, 1).step(.none, floats: 1000, owners: 1), 2 * (alpha + bytes / beta) + 2 * alpha))
    #expect(isClose(model(5, 1).step(.none, floats: 1000, owners: 1), 3 * (alpha + bytes / beta) + 3 * alpha))
  }

  /// Half of the sum and half of the parameters each way, however many ranks a node has; 2(N−1) messages a round one behind the other.
  @Test(arguments: [1, 4]) func slicesGoToTheirOwnersAndComeBack(ranksPerNode: Int) throws {
    let link = try Link(gigabits: 2, latencyMicroseconds: 0)
    let bytes = 4 * Double(3 * Self.piece)
    #expect(isClose(WireModel(link, nodes: 3, ranksPerNode: ranksPerNode).step(.optimizer, floats: 3 * Self.piece, owners: 1), 2 * (2.0 / 3) * bytes / beta))
    // Three rounds, and what the step's counts take.
    let late = WireModel(try Link(gigabits: 2, latencyMicroseconds: 100), nodes: 3, ranksPerNode: ranksPerNode)
    #expect(isClose(late.step(.optimizer, floats: 3 * Self.piece, owners: 1), 2 * (2.0 / 3) * bytes / beta + (3 * 4 + 2) * 1e-4))
  }

  @Test(arguments: Sharding.allCases)
  func moreNodesAndLatencyTakeLonger(sharding: Sharding) throws {
    var last = 0.0
    for nodes in [1, 2, 3, 4, 8, 64, 512] {
      let seconds = model(nodes, 2).step(sharding, floats: 10 * Self.piece + 17, owners: 2)
      #expect(seconds.isFinite && seconds >= last)
      last = seconds
    }
    let slow = WireModel(try Link(gigabits: 2, latencyMicroseconds: 500), nodes: 8, ranksPerNode: 2)
    #expect(slow.step(sharding, floats: Self.piece, owners: 2) > model(8, 2).step(sharding, floats: Self.piece, owners: 2))
  }

  @Test(arguments: Sharding.allCases)
  func nothingTrainedIsACountAlone(sharding: Sharding) {
    #expect(isClose(model(2, 1).step(sharding, floats: 0, owners: 1), alpha))
  }

  /// Parts that are made, sent and updated by one after the other, clock by clock.
  @Test(arguments: [1, 2, 3, 7, 32], [0, 0.3, 2, 40] as [Double])
  func whatHidesIsWhatAPipelineSaves(parts: Int, making: Double) {
    for (wire, updating) in [(0, 0), (1, 0), (0, 1), (1, 0.1), (0.5, 3), (6, 5), (80, 0.2)] as [(Double, Double)] {
      var (isThere, isUpdated) = (0.0, making)
      for part in 1...parts {
        isThere = max(isThere, Double(part) * making / Double(parts)) + wire / Double(parts)
        isUpdated = max(isUpdated, isThere) + updating / Double(parts)
      }
      let hidden = WireModel.hidden(wire: wire, making: making, updating: updating, parts: parts)
      #expect(abs(making + wire + updating - hidden - isUpdated) < 1e-9, "\(wire), \(updating)")
      #expect(hidden > -1e-9 && hidden < wire + 1e-9)
    }
    #expect(abs(WireModel.hidden(wire: 5, making: making, updating: 1, parts: 1)) < 1e-9, "one part is there when all of it is")
  }
}
