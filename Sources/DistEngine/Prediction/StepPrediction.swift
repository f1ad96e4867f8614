/// What a step of a job would take, and where.
public struct StepPrediction: Sendable, Equatable {
  public enum Part: String, CaseIterable, Sendable {
    /// Passes of a rank: products, kernels, norms and weighted sums, on average.
    case gradients
    /// For the rank whose share takes longest.
    case waiting
    case noise
    /// The update, and setting the sum to 0.
    case optimizer
    /// Sums within a node.
    case nodeSums = "node_sums"
    /// Sums between nodes, as far as they aren't on their way while others are made (``ShardPlan/sumTravels``).
    case wire
    /// The draw.
    case sampling
  }

  public let ranks: Int
  public let nodes: Int
  public let tokensPerSecond: Double
  private let parts: [Part: Double]

  /// - Parameters:
  ///   - parts: seconds.
  ///   - tokens: expected targets of a step.
  package init(ranks: Int, nodes: Int, parts: [Part: Double], tokens: Double) {
    (self.ranks, self.nodes, self.parts) = (ranks, nodes, parts)
    tokensPerSecond = tokens / Part.allCases.reduce(0) { $0 + (parts[$1] ?? 0) }
  }

  public subscript(part: Part) -> Double { parts[part] ?? 0 }
  public var seconds: Double { Part.allCases.reduce(0) { $0 + self[$1] } }

  /// Speed by rank beside another job's.
  public func efficiency(beside one: StepPrediction) -> Double {
    tokensPerSecond / Double(ranks) / (one.tokensPerSecond / Double(one.ranks))
  }

  /// What takes the most time more than it would if it had shrunk with the ranks.
  public func limit(beside one: StepPrediction) -> Part {
    let shrunk = Double(one.ranks) / Double(ranks)
    return Part.allCases.max { self[$0] - shrunk * one[$0] < self[$1] - shrunk * one[$1] }!
  }
}

/// Predicts the steps of a run's jobs from what was measured on this machine.
package struct StepModel {
  let setup: TrainingSetup
  let steps: SampledSteps
  let times: MicrobatchTimes
  let rates: MachineRates
  let ranksPerNode: Int
  /// Ranks that a node has cores for: more of them share these.
  let ranksWithCores: Int
  /// How much of the time the ranks have the cores: less than 1 where other work takes them.
  var processorPart: Double
  let link: Link?

  /// - Parameter ranks: fewer than a node has, or all of some nodes.
  package func prediction(ranks: Int) -> StepPrediction {
    let onNode = min(ranks, ranksPerNode)
    let nodes = (ranks + onNode - 1) / onNode
    let topology = NodeTopology(
      rank: 0, nodeOfRank: (0..<ranks).map { $0 / onNode }, hosts: [String](repeating: "", count: nodes))
    let shards = setup.configuration.performance.shards(setup.plan.layout, topology: topology)
    let work = steps.work(ranks: ranks, ranksPerNode: onNode, meetsInMicrobatches: shards.exchangesByLayer, times: times)
    let count = Double(setup.plan.layout.totalCount)
    let (own, held) = (Double(shards.updatedCount), shards.exchangesByLayer ? Double(shards.updatedCount) : count)
    let drawn = shards.sharding == .node ? shards.updatedCount : shards.noiseElements.count
    let longer = max(1, Double(onNode) / Double(ranksWithCores)) / processorPart
    // One rank that draws while the others wait has its core.
    let noise = Double(drawn) * rates.noise * (drawn == Int(count) ? 1 / processorPart : longer)
    let isPrivate = (setup.privacy?.noiseMultiplier ?? 0) > 0
    let update = own * rates.update * longer
    var wire = link.map { WireModel($0, nodes: nodes, ranksPerNode: onNode).step(shards.sharding, floats: setup.plan.layout.totalCount, owners: onNode) } ?? 0
    if shards.sumTravels {
      let parts = (setup.plan.layout.totalCount - 1) / shards.partCapacity + 1
      // What hides altogether is 0, not what rounding leaves of it.
      wire = max(0, wire - WireModel.hidden(wire: wire, making: work.final * longer + (isPrivate ? noise : 0), updating: update, parts: parts))
    }
    let parts: [StepPrediction.Part: Double] = [
      .gradients: work.mean * longer, .waiting: (work.slowest - work.mean) * longer,
      .noise: isPrivate ? noise : 0, .optimizer: update + held * rates.clear * longer,
      .nodeSums: nodeSums(shards, ranks: ranks, onNode: onNode, work: work, wire: wire) * longer,
      .wire: wire, .sampling: steps.secondsOfDraw,
    ]
    return StepPrediction(ranks: ranks, nodes: nodes, parts: parts, tokens: tokens)
  }

  /// Expected over the draw.
  private var tokens: Double {
    let lengths = setup.training.unitLengths(ofRecords: setup.configuration.maxRecordsPerUnit)
    let all = lengths.counts.reduce(0.0) { $0 + Double($1.targets * $1.count) }
    return all * Double(setup.configuration.batchSize) / Double(setup.datasetSize)
  }

  /// Adding up on the ranks' cores, and copies between them as far as the wire doesn't take longer.
  private func nodeSums(_ shards: ShardPlan, ranks: Int, onNode: Int, work: SampledSteps.Work, wire: Double) -> Double {
    let count = Double(setup.plan.layout.totalCount)
    let (ranks, onNode) = (Double(ranks), Double(onNode))
    switch shards.sharding {
    case .node:
      // Each float of every rank is added by its owner: once a batch, or once a microbatch; then what comes from the other nodes.
      let own = shards.exchangesByLayer ? work.microbatches * count : (onNode - 1) / onNode * count
      return (own + (ranks - onNode) / ranks * count / onNode) * rates.add
    case .none, .optimizer:
      // Reduced and handed round (2(p−1)/p of the floats), in and out of a shared buffer; to and from slices' owners packed and unpacked besides.
      let moved = 2 * (ranks - 1) / ranks * count + (shards.sharding == .none ? 0 : count)
      return (ranks - 1) / ranks * count * rates.add + max(0, onNode > 1 ? 2 * moved * rates.copy - wire : 0)
    }
  }
}
