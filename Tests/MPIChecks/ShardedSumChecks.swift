import DistEngine
import Foundation

/// A batch's gradient sum, noise and update in every sharding and mode, against the same on one rank: the records are dealt out unevenly,
/// so that some ranks run empty microbatches, and pieces are far smaller than a matrix or the gradient is one.
struct ShardedSumChecks {
  let environment: MPIEnvironment
  /// Added to every expected parameter: 0, or enough to show that the checks can fail.
  let shift: Double

  private struct Case {
    let mode: TrainingMode
    let clipping: Clipping
    let tied: Bool
    let microbatch: Int
    let sharding: Sharding
    let noise: NoisePlacement
    var pieceCapacity: Int
    var recompute = Recomputation.none
    /// Flat ghost: the gradient of a microbatch's only record is kept.
    var keeps = false
    /// Targets from which on a record is alone; others share a microbatch.
    var ownFrom: Int?
    /// One position's embedding is infinite: the records that reach it contribute 0.
    var isPoisoned = false
    /// Records of the same name are one unit, of which some don't fit a microbatch.
    var hasUnits = false
    /// A rank of the node owns no slice, as where another node has one rank less.
    var hasIdleRank = false
    var isLlama = false
    /// What would leave without its noise has the time to.
    var hasSlowNoise = false
    var nodes = Nodes.own
    var chunkRows: Int?

    var name: String {
      "\(isLlama ? "llama " : "")\(sharding.rawValue) noise \(noise.rawValue), \(mode.rawValue) \(clipping.rawValue), \(tied ? "tied" : "untied"), b \(microbatch), pieces of \(pieceCapacity)"
        + "\(recompute == .blocks ? ", recomputed" : "")\(keeps ? ", kept" : "")\(ownFrom.map { ", alone from \($0)" } ?? "")\(isPoisoned ? ", poisoned" : "")\(hasIdleRank ? ", one owner less" : "")\(hasUnits ? ", units" : "")\(hasSlowNoise ? ", slow noise" : "")"
        + "\(chunkRows == nil ? "" : ", chunks")\(nodes == .own ? "" : ", nodes: \(nodes)")"
    }
  }

  /// Who is taken to share a node on one machine. Over several hosts it is their ranks.
  private enum Nodes {
    case own, pairs, apart

    func node(ofRank rank: Int) -> Int { self == .own ? 0 : self == .pairs ? rank / 2 : rank }
  }

  private var cases: [Case] {
    var cases: [Case] = []
    for (mode, clipping) in [(TrainingMode.standard, Clipping.flat), (.hooks, .flat), (.hooks, .perLayer), (.ghost, .flat), (.ghost, .perLayer)] {
      for tied in [true, false] {
        for (microbatch, capacity) in [(1, 16), (3, 1000), (3, 1 << 20)] {
          cases.append(
            Case(mode: mode, clipping: clipping, tied: tied, microbatch: microbatch, sharding: .node, noise: .sharded, pieceCapacity: capacity))
        }
        cases.append(
          Case(mode: mode, clipping: clipping, tied: tied, microbatch: 3, sharding: .optimizer, noise: .sharded, pieceCapacity: 16))
        cases.append(
          Case(mode: mode, clipping: clipping, tied: tied, microbatch: 3, sharding: .none, noise: .sharded, pieceCapacity: 16))
      }
    }
    for (sharding, pieces) in [(Sharding.none, 16), (.optimizer, 16), (.node, 16), (.node, 1 << 20)] {
      for (mode, clipping) in [(TrainingMode.standard, Clipping.flat), (.hooks, .flat), (.ghost, .flat), (.ghost, .perLayer)] {
        for tied in [true, false] {
          var test = Case(mode: mode, clipping: clipping, tied: tied, microbatch: 3, sharding: sharding, noise: .sharded, pieceCapacity: pieces)
          test.isLlama = true
          cases.append(test)
        }
      }
    }
    let shared = { (clipping: Clipping, microbatch: Int, tied: Bool) in
      Case(
        mode: .ghost, clipping: clipping, tied: tied, microbatch: microbatch, sharding: .node, noise: .sharded, pieceCapacity: 100)
    }
    for tied in [true, false] {
      // The whole gradient once a batch.
      var test = shared(.flat, 3, tied)
      (test.pieceCapacity, test.hasIdleRank) = (1 << 20, true)
      cases.append(test)
      (test.hasIdleRank, test.isPoisoned) = (false, true)
      cases.append(test)
    }
    for (sharding, pieces) in [(Sharding.none, 16), (.optimizer, 16), (.node, 100), (.node, 1 << 20)] {
      for (mode, clipping) in [(TrainingMode.standard, Clipping.flat), (.hooks, .flat), (.ghost, .flat), (.ghost, .perLayer)] {
        var test = Case(
          mode: mode, clipping: clipping, tied: true, microbatch: 2, sharding: sharding, noise: .sharded, pieceCapacity: pieces)
        test.hasUnits = true
        cases.append(test)
      }
    }
    for tied in [true, false] {
      for change: (inout Case) -> Void in [
        { $0.recompute = .blocks }, { $0.isPoisoned = true }, { $0.hasIdleRank = true },
      ] {
        for (clipping, microbatch) in [(Clipping.flat, 3), (.flat, 1), (.perLayer, 3)] {
          var test = shared(clipping, microbatch, tied)
          change(&test)
          cases.append(test)
        }
      }
      // One rank may have a record alone while another one has several.
      for (sharding, pieces) in [(Sharding.none, 16), (.node, 16), (.node, 1000), (.node, 1 << 20)] {
        // What is poisoned is one copy, which the ranks share.
        for isPoisoned in sharding == .node ? [false, true] : [false] {
          var test = Case(mode: .ghost, clipping: .flat, tied: tied, microbatch: 4, sharding: sharding, noise: .sharded, pieceCapacity: pieces)
          (test.keeps, test.ownFrom, test.isPoisoned) = (true, 8, isPoisoned)
          cases.append(test)
        }
      }
      for recompute in Recomputation.allCases {
        for isPoisoned in [false, true] {
          var test = shared(.flat, 1, tied)
          (test.keeps, test.recompute, test.isPoisoned) = (true, recompute, isPoisoned)
          cases.append(test)
        }
      }
    }
    return cases
  }

  /// Sums that are on their way to other nodes while they are made.
  private var overHosts: [Case] {
    var cases: [Case] = []
    for (nodes, sharding) in [(Nodes.pairs, Sharding.node), (.apart, .node), (.apart, .none)] {
      let test = Case(
        mode: .ghost, clipping: .flat, tied: true, microbatch: 3, sharding: sharding, noise: .sharded, pieceCapacity: 1000, nodes: nodes)
      for (mode, clipping, tied) in [
        (TrainingMode.standard, Clipping.flat, true), (.hooks, .flat, true), (.hooks, .perLayer, false), (.ghost, .flat, true), (.ghost, .flat, false),
        (.ghost, .perLayer, true),
      ] {
        cases.append(
          Case(mode: mode, clipping: clipping, tied: tied, microbatch: 3, sharding: sharding, noise: .sharded, pieceCapacity: 1000, nodes: nodes))
      }
      for change: (inout Case) -> Void in [
        { $0.recompute = .blocks }, { $0.isPoisoned = true }, { ($0.hasUnits, $0.pieceCapacity) = (true, 100) },
        { ($0.keeps, $0.ownFrom) = (true, 8) }, { $0.isLlama = true }, { $0.hasSlowNoise = true },
      ] {
        var changed = test
        change(&changed)
        cases.append(changed)
      }
      guard sharding == .none else { continue }
      for (mode, tied) in [(TrainingMode.standard, true), (.ghost, true), (.ghost, false)] {
        cases.append(
          Case(
            mode: mode, clipping: .flat, tied: tied, microbatch: 3, sharding: sharding, noise: .rank0, pieceCapacity: 1000, nodes: nodes, chunkRows: 7))
      }
    }
    cases.append(
      Case(mode: .ghost, clipping: .flat, tied: true, microbatch: 3, sharding: .optimizer, noise: .sharded, pieceCapacity: 16, nodes: .pairs))
    return cases
  }

  /// This job's, or with another node that has one rank less: slices are then as many as that one has ranks. A job of several nodes
  /// can't be taken for one node; there, hosts of unequal size make idle ranks.
  private func topology(_ test: Case) -> NodeTopology {
    let size = environment.world.size
    if test.nodes != .own, environment.topology.nodeCount == 1 {
      let nodes = (0..<size).map(test.nodes.node)
      return NodeTopology(rank: environment.world.rank, nodeOfRank: nodes, hosts: Set(nodes).map { "node\($0)" })
    }
    guard test.hasIdleRank, size > 1, environment.topology.nodeCount == 1 else { return environment.topology }
    let nodes = [Int](repeating: 0, count: size) + [Int](repeating: 1, count: size - 1)
    return NodeTopology(rank: environment.world.rank, nodeOfRank: nodes, hosts: ["this", "another"])
  }

  /// Runs all of one node, or all over several; rank 0 prints a line each.
  ///
  /// - Parameter isAtOnce: whether a rank has no thread for it, by MPI or by the system, so that sums are made when all is there.
  func run(overHosts isOverHosts: Bool = false, atOnce isAtOnce: Bool = false) throws -> Int32 {
    var failures = 0
    for test in isOverHosts ? overHosts : cases {
      let layout = try Self.model(test).parameterLayout
      let alone = ShardPlan(layout)
      let expected = try steps(test, alone, exchange: nil).map { $0 + shift }
      let plan = ShardPlan(
        layout, sharding: test.sharding, noise: test.noise, topology: topology(test), pieceCapacity: test.pieceCapacity)
      let exchange = try ModelStateExchange(plan, parameterCount: layout.totalCount, world: environment.world, node: node(test))
      // Else nothing of what follows would be on its way.
      let travels = exchange.sumTravels == (plan.sumTravels && !isAtOnce)
      let distance = try Self.distance(steps(test, plan, exchange: exchange), expected)
      try exchange.free()
      // Sums in another order: a few units in the last place of a float. A rank left out, or noise added twice, is of order 1.
      let problems = try environment.world.allgather(
        !travels ? "sums \(exchange.sumTravels ? "travel" : "don't travel")" : distance < 1e-5 ? "" : "parameters differ by \(distance)")
      let failed = problems.firstIndex { !$0.isEmpty }
      if environment.world.rank == 0 { print(failed.map { "failed \(test.name): rank \($0): \(problems[$0])" } ?? "ok \(test.name)") }
      failures += failed == nil ? 0 : 1
    }
    return failures == 0 ? 0 : 1
  }

  private func node(_ test: Case) throws -> Communicator {
    guard test.nodes != .own, environment.topology.nodeCount == 1 else { return environment.node }
    let world = environment.world
    return try world.split(color: test.nodes.node(ofRank: world.rank), key: world.rank)!
  }

  private static func model(_ test: Case) throws -> ModelConfiguration {
    guard test.isLlama else {
      return try ModelConfiguration(
        vocabularySize: 257, positions: 24, width: 12, layers: 2, heads: 2, innerWidth: 36, tiedEmbeddings: test.tied, initializerRange: 0.3)
    }
    return try ModelConfiguration(
      modelType: "llama", vocabularySize: 257, positions: 24, width: 12, layers: 2, heads: 4, keyHeads: 2, headWidth: 6, innerWidth: 30,
      activation: .silu, biases: test.tied ? .none : .all, rotary: RotaryPositions(theta: 100), tiedEmbeddings: test.tied, initializerRange: 0.3)
  }

  private static let dataset = TokenizedDataset(
    RecordStore(["", "aaaaaaaaaaaa", "x", "abababab", "the quick brown fox", "hello", "hello", "zyxwvut", "aab"]),
    tokenizer: ByteTokenizer(), longestSequence: 24)

  private static let unitDataset = TokenizedDataset(
    RecordStore(
      zip(["a", "b", "a", "c", "a", "d", "b", "e", "a"], ["", "aaaaaaaaaaaa", "x", "abababab", "the quick brown fox", "hello", "hello", "zyxwvut", "aab"])
        .map { (unit: $0, text: $1) }), tokenizer: ByteTokenizer(), longestSequence: 24)

  /// Three steps of SGD with momentum and noise: the parameters afterwards, less those before.
  ///
  /// - Parameter exchange: nil runs all records on this rank.
  private func steps(_ test: Case, _ plan: ShardPlan, exchange: ModelStateExchange?) throws -> [Double] {
    let model = try Self.model(test)
    let dataset = test.hasUnits ? Self.unitDataset : Self.dataset
    // Of units, those of two short records still fit.
    let rows = test.hasUnits ? 24 : test.microbatch * 24
    let replica = try ModelReplica(
      ReplicaPlan(
        model: model, mode: test.mode, clipping: test.clipping, maxGradNorm: 0.5,
        capacity: Microbatch.Capacity(units: test.microbatch, rows: rows, positions: 24, ownMicrobatchRows: test.ownFrom),
        recompute: test.recompute, optimizer: .sgd(momentum: 0.9, weightDecay: 0), hasLargeUnits: test.hasUnits,
        choices: .init(logits: test.chunkRows.map { .chunks(rows: $0) }, keepsOnlyExample: test.keeps), shards: plan),
      windows: exchange?.windows)
    let key = RandomKey(seed: 5)
    let mechanism = GaussianMechanism(noiseMultiplier: 0.1, expectedBatchSize: 1, source: GaussianSource(key.subKey(for: .noise)))
    try replica.loadParameters(from: nil, key: key, communicator: environment.world, exchange: exchange)
    if test.isPoisoned {
      let poisoned = model.parameterLayout["transformer.wpe.weight"].offset + 15 * model.width
      if exchange == nil || test.sharding != .node || topology(test).isNodeLeader { replica.parameters[poisoned] = .infinity }
      try exchange?.publish(replica.parameters, through: replica.exchangeBuffer)
    }
    let before = replica.parameters.map(Double.init)
    var optimizer = replica.makeOptimizer()
    // Whether in each step with a microbatch the first part had left when the last microbatch was done.
    var leaves = true
    for step in 0..<3 {
      var batches = replica.batches(of: share(exchange == nil, dataset.unitCount), in: dataset)
      if let exchange {
        batches.large = try exchange.sharingLargeUnits(batches.large) { unit, rank, ranks in
          replica.sharedParts(ofUnit: unit, in: dataset, rank: rank, ranks: ranks)
        }
        batches.pad(microbatches: try exchange.agreedMicrobatchCount(batches.microbatches.count))
      }
      var (hasSent, hadSent) = (false, false)
      _ = replica.accumulateGradients(of: batches, in: dataset, exchange: exchange, inspect: { _, _ in hadSent = hasSent }) { elements in
        if elements == replica.plan.parts[0] { hasSent = true }
        guard let sum = replica.accumulator?.clippedSum else { return }
        if test.hasSlowNoise { usleep(2000) }
        mechanism.addNoise(to: sum, step: step, elements: (exchange == nil ? 0..<Int.max : plan.noiseElements).clamped(to: elements))
      }
      if !batches.microbatches.isEmpty { leaves = leaves && hadSent }
      try replica.update(by: &optimizer, exchange: exchange, gradientScale: 0.1, learningRate: 0.5)
    }
    if exchange?.sumTravels == true && !leaves { return replica.parameters.map { _ in .infinity } }
    return zip(replica.parameters, before).map { $1.isFinite ? Double($0) - $1 : 0 }
  }

  /// Rank r has what is left for it of a deal that favours the lower ranks; the last of several has nothing.
  private func share(_ all: Bool, _ count: Int) -> [Int] {
    let (rank, size) = (environment.world.rank, environment.world.size)
    if all || size == 1 { return Array(0..<count) }
    let dealt = (0..<count).map { $0 * $0 % (size - 1) }
    return dealt.indices.filter { dealt[$0] == rank }
  }

  private static func distance(_ a: [Double], _ b: [Double]) -> Double {
    let difference = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    return (difference / b.reduce(0) { $0 + $1 * $1 }).squareRoot()
  }
}
