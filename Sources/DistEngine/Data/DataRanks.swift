/// The ranks that make a data set: those of a node share one and make it together, and every node has its own, of its own files.
package struct DataRanks {
  let world: Communicator
  let node: Communicator

  package init(world: Communicator, node: Communicator) { (self.world, self.node) = (world, node) }

  /// Runs `body` on every rank, for its own part of what a node does together. Where it throws on any, all ranks throw, as ``Communicator/agree(_:_:)``
  /// does; of a node's failures it is the first by place, in the words that one rank alone would have for it.
  ///
  /// - Parameter body: is told to keep the place that it is at: of two, the lesser comes first in the data.
  func agree<Result>(_ stage: String, _ body: (inout Int) throws -> Result) throws -> Result {
    var place = 0
    var result: Result?
    var failure: (any Error)?
    do {
      result = try body(&place)
    } catch let error as MPIError {
      throw error
    } catch {
      failure = error
    }
    let shared = try node.activity.during(stage: stage) { try first(failure, at: place) }
    return try world.agree(stage) {
      if let shared { throw shared }
      return result!
    }
  }

  /// What one of the node's ranks has to say for all of them.
  private struct NodeFailure: UserError {
    let description: String
    let exitStatus: Int32
  }

  private func first(_ failure: (any Error)?, at place: Int) throws -> NodeFailure? {
    let first = try node.allreduceMin(failure == nil ? Int.max : place)
    guard first < .max else { return nil }
    let speaker = try node.allreduceMin(failure != nil && place == first ? node.rank : node.size)
    let words = try node.broadcast(bytes: Array((failure?.oneLine ?? "").utf8), from: speaker)
    let status = try node.broadcast(failure?.processExitStatus ?? 0, from: speaker)
    return NodeFailure(description: String(decoding: words, as: UTF8.self), exitStatus: status)
  }
}
