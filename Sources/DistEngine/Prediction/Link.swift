/// The network between nodes in Hockney's model (1994, "The communication challenge for MPP: Intel Paragon and Meiko CS-2"): a message of m bytes
/// takes α + m/β. Every node has one link, which its ranks share and which carries as much in each direction at the same time; between the
/// links nothing is in the way.
public struct Link: Sendable, Equatable {
  /// The line's rate, in 10⁹ bits a second.
  public let gigabits: Double
  /// α: one way, from program to program.
  public let latencyMicroseconds: Double

  /// What is assumed where nobody says: TCP over a switch.
  public static let standardLatency = 50.0

  /// - Throws: ``TrainingError/badOption(option:value:allowed:)`` for a rate that isn't above 0, a latency below 0, or either not a finite number.
  public init(gigabits: Double, latencyMicroseconds: Double = Link.standardLatency) throws(TrainingError) {
    guard gigabits > 0 && gigabits.isFinite else {
      throw .badOption(option: "--link", value: "\(gigabits)", allowed: "a number above 0: Gbit/s of a node's link")
    }
    guard latencyMicroseconds >= 0 && latencyMicroseconds.isFinite else {
      throw .badOption(option: "--latency", value: "\(latencyMicroseconds)", allowed: "0 or a number above it: microseconds of a message one way")
    }
    (self.gigabits, self.latencyMicroseconds) = (gigabits, latencyMicroseconds)
  }

  /// What TCP leaves of an Ethernet line: 1,448 bytes of a frame of 1,500, which takes 1,538 with preamble and gap.
  package static let payload = 1448.0 / 1538.0

  /// β
  package var bytesPerSecond: Double { gigabits * 1e9 / 8 * Self.payload }
  /// α
  package var latency: Double { latencyMicroseconds * 1e-6 }
}

/// Seconds of the collectives between nodes of a step, by the algorithms of MPI libraries: Thakur, Rabenseifner, Gropp 2005, "Optimization of
/// Collective Communication Operations in MPICH" (ring reduce-scatter and allgather: (p−1)α + (p−1)/p·m/β each; recursive doubling:
/// lg p·(α + m/β); Rabenseifner's reduction). Adding up is not in them.
///
/// Ranks of a node follow each other, as mpirun places them by default: a ring crosses each node's link once.
package struct WireModel: Sendable {
  package let link: Link
  package let nodes: Int
  package let ranksPerNode: Int

  /// - Parameter ranksPerNode: the same on every node.
  package init(_ link: Link, nodes: Int, ranksPerNode: Int) {
    precondition(nodes >= 1 && ranksPerNode >= 1, "\(nodes) nodes of \(ranksPerNode) ranks")
    (self.link, self.nodes, self.ranksPerNode) = (link, nodes, ranksPerNode)
  }

  /// What a step's collectives take.
  ///
  /// - Parameters:
  ///   - floats: P, of the sum.
  ///   - owners: with `node`, the ranks of a node that each sum a slice over the nodes.
  package func step(_ sharding: Sharding, floats: Int, owners: Int) -> Double {
    guard nodes > 1 else { return 0 }
    let bytes = Double(floats * MemoryLayout<Float>.stride)
    let sums =
      switch sharding {
      case .none: allreduce(bytes: bytes, ranks: nodes * ranksPerNode, atOnce: 1, inTree: ranksPerNode)
      case .optimizer: slices(bytes: bytes)
      case .node: allreduce(bytes: bytes / Double(owners), ranks: nodes, atOnce: owners, inTree: owners)
      }
    // What the step's counts take.
    return sums + log2(nodes) * link.latency
  }

  /// What hides of a sum that leaves in parts while later ones are made, and by whose first parts is updated while the last are on the way
  /// (`ModelStateExchange`). Parts are taken to be of one size: one is on the way at a time, and none leaves before it is made.
  ///
  /// - Parameters:
  ///   - wire: seconds of the whole sum on the way.
  ///   - making: seconds from where the first part is begun to where the last is made, noise included. Nothing is updated before.
  ///   - updating: seconds of the whole update.
  package static func hidden(wire: Double, making: Double, updating: Double, parts: Int) -> Double {
    let one = 1 / Double(parts)
    let (firstComes, lastComes) = (one * (making + wire), max(one * making + wire, making + one * wire))
    let end = max(max(making, firstComes) + updating, lastComes + one * updating)
    return making + wire + updating - end
  }

  /// A sum that all ranks get, in pieces (`Communicator.allreduceSum`).
  ///
  /// - Parameters:
  ///   - atOnce: sums of this size that share a link at the same time.
  ///   - inTree: ranks of a node that send over its link at the same time where partners are half of the ranks away.
  func allreduce(bytes: Double, ranks: Int, atOnce: Int, inTree: Int) -> Double {
    pieces(bytes).reduce(0) { seconds, piece in
      let ring = 2 * Double(ranks - 1) * message(Double(atOnce) * piece / Double(ranks))
      if ranks <= 2 || piece >= Double(Communicator.slicedBytes) { return seconds + ring }
      let tree = Double(inTree) * piece
      return seconds + min(log2(nodes) * message(tree), halving(tree))
    }
  }

  /// Each rank's slice summed to it, then given to all (`optimizer`), in rounds: reduce-scatter and allgather over the nodes, by the ranks of a node side by
  /// side (`SliceExchange`).
  private func slices(bytes: Double) -> Double {
    pieces(bytes).reduce(0) { $0 + 2 * Double(nodes - 1) * link.latency + moved($1) }
  }

  /// Recursive halving, then doubling, over nodes: 2·lg N·α + 2(N−1)/N·m/β.
  private func halving(_ bytes: Double) -> Double { 2 * log2(nodes) * link.latency + moved(bytes) }

  /// 2(N−1)/N·m/β
  private func moved(_ bytes: Double) -> Double { 2 * Double(nodes - 1) / Double(nodes) * bytes / link.bytesPerSecond }

  private func message(_ bytes: Double) -> Double { link.latency + bytes / link.bytesPerSecond }

  /// Steps of a tree of so many.
  private func log2(_ count: Int) -> Double { Double(Int.bitWidth - (count - 1).leadingZeroBitCount) }

  /// As `Communicator` cuts a buffer.
  private func pieces(_ bytes: Double) -> [Double] {
    let whole = Int(bytes / Double(Communicator.pieceBytes))
    let rest = bytes - Double(whole * Communicator.pieceBytes)
    return [Double](repeating: Double(Communicator.pieceBytes), count: whole) + (rest > 0 ? [rest] : [])
  }
}
