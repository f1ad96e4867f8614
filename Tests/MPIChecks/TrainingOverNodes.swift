import DistEngine

/// Runs over nodes whose sums leave in many parts while they are made, against the same run of one rank: that every part gets its noise once, and
/// that the trainer gives away what the replica does. Rank 0 prints a line each.
struct TrainingOverNodes {
  let environment: MPIEnvironment
  /// Added to every expected parameter: 0, or enough to show that the checks can fail.
  let shift: Double
  /// MPI was started without threads: sums are made when all is there, and the run says so.
  let isAtOnce: Bool

  private struct Case {
    let name: String
    var mode = TrainingMode.ghost
    var clipping = Clipping.flat
    var sharding = Sharding.none
    var noise: NoisePlacement?
    var trainable = TrainableParameters.all
    var ranksANode = 1
  }

  private let cases = [
    Case(name: "ghost none"), Case(name: "ghost none, noise sharded", noise: .sharded), Case(name: "ghost node", sharding: .node),
    Case(name: "ghost node of pairs", sharding: .node, ranksANode: 2), Case(name: "ghost per-layer node", clipping: .perLayer, sharding: .node),
    Case(name: "hooks none", mode: .hooks), Case(name: "standard none", mode: .standard), Case(name: "lora none", trainable: .lora),
  ]

  func run() throws -> Int32 {
    var failures = 0
    for test in cases {
      let expected = try run(test, by: alone()).parameters.map { $0 + shift }
      let job = try job(test)
      let (found, travels, saysWhyNot) = try run(test, by: job)
      guard environment.world.rank == 0 else { continue }
      // With `none` only where no host has two ranks.
      let mayTravel = job.topology.nodeCount > 1 && (test.sharding == .node || job.topology.ranksPerNode.allSatisfy { $0 == 1 })
      let distance = Self.distance(found, expected)
      let problem =
        travels != (mayTravel && !isAtOnce) ? "sums \(travels ? "travel" : "don't travel")"
        : saysWhyNot != (mayTravel && isAtOnce) ? "a warning that is \(saysWhyNot ? "wrong" : "missing")" : distance < 1e-4 ? nil : "parameters differ by \(distance)"
      print(problem.map { "failed \(test.name): \($0)" } ?? "ok \(test.name)")
      failures += problem == nil ? 0 : 1
    }
    return try environment.world.allreduceMax(failures) == 0 ? 0 : 1
  }

  /// This rank by itself.
  private func alone() throws -> MPIEnvironment {
    let world = try environment.world.split(color: environment.world.rank, key: 0)!
    return MPIEnvironment(world: world, node: world, topology: NodeTopology(rank: 0, nodeOfRank: [0], hosts: ["alone"]))
  }

  /// The job as it is over several hosts; on one as if its ranks were on several nodes.
  private func job(_ test: Case) throws -> MPIEnvironment {
    guard environment.topology.nodeCount == 1 else { return environment }
    let world = environment.world
    let nodes = (0..<world.size).map { $0 / test.ranksANode }
    let node = try world.split(color: nodes[world.rank], key: world.rank)!
    return MPIEnvironment(
      world: world, node: node, topology: NodeTopology(rank: world.rank, nodeOfRank: nodes, hosts: Set(nodes).sorted().map { "node\($0)" }))
  }

  /// What three steps with noise change on rank 0.
  private func run(_ test: Case, by environment: MPIEnvironment) throws -> (parameters: [Double], travels: Bool, saysWhyNot: Bool) {
    var configuration = TrainingConfiguration()
    (configuration.mode, configuration.clipping, configuration.trainable) = (test.mode, test.clipping, test.trainable)
    (configuration.batchSize, configuration.sequenceLength, configuration.length, configuration.seed) = (24, 16, .steps(3), 5)
    (configuration.optimizer, configuration.learningRate) = (.sgd(momentum: 0.9, weightDecay: 0), 0.5)
    if test.mode.isPrivate { (configuration.noise, configuration.accountant) = (.multiplier(1), .rdp) }
    configuration.performance.threads = 1
    configuration.performance.pieceCapacity = 1000
    if environment.world.size > 1 { (configuration.performance.sharding, configuration.performance.noise) = (test.sharding, test.noise) }
    let observer = Parameters()
    let trainer = try Trainer(configuration, environment: environment, observer: observer)
    let before = trainer.replica.parameters.map(Double.init)
    observer.trainer = trainer
    _ = try trainer.run()
    observer.trainer = nil
    return (zip(observer.values, before).map { $0 - $1 }, trainer.exchange.sumTravels, observer.warnings.contains { $0.hasPrefix("sums over hosts are made when all") })
  }

  /// Those that the last step has left, on rank 0.
  private final class Parameters: TrainingObserver {
    var trainer: Trainer?
    private(set) var values: [Double] = []
    private(set) var warnings: [String] = []

    func didStart(_ overview: TrainingOverview) { warnings = overview.warnings }
    func didFinish(_ step: StepReport, epsilon: Double?, isLogged: Bool) { values = trainer?.replica.parameters.map(Double.init) ?? [] }
    func didEvaluate(step: Int, loss: Double, accuracy: Double?) {}
    func didCheckpoint(stepsDone: Int, seconds: Double) {}
    func didEnd() {}
  }

  private static func distance(_ a: [Double], _ b: [Double]) -> Double {
    guard a.count == b.count, !b.isEmpty else { return .infinity }
    let difference = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    return (difference / b.reduce(0) { $0 + $1 * $1 }).squareRoot()
  }
}
