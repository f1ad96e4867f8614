import DistEngine

/// Steps of ranks that all have the same records, against those of one process alone.
///
/// Without noise the sum and the batch are both n times as large: the update is the same. With noise far above the gradients, which
/// is added once, it is an n-th; were it added by every rank, it would be the same.
func fixedBatch(_ environment: MPIEnvironment) throws -> Int32 {
  let world = environment.world
  var problems: [String] = []
  for mode in TrainingMode.allCases {
    let (alone, together) = (try updates(mode, nil), try updates(mode, environment))
    let checksum = together.reduce(0) { $0 + Double($1) }
    if try world.allreduceMin(checksum) != world.allreduceMax(checksum) { problems.append("\(mode): ranks differ") }
    let ratio = length(together) / length(alone)
    let expected = mode.isPrivate ? 1 / Double(world.size) : 1
    if abs(ratio / expected - 1) > 0.02 { problems.append("\(mode): \(ratio) of the update of one process, not \(expected)") }
  }
  if world.rank == 0 { print(problems.isEmpty ? "ok" : problems.joined(separator: "; ")) }
  return problems.isEmpty ? 0 : 1
}

/// What two steps change in the parameters.
///
/// - Parameter environment: nil is one process alone, as the benchmarks have it.
private func updates(_ mode: TrainingMode, _ environment: MPIEnvironment?) throws -> [Float] {
  let model = ModelPreset.tiny.configuration
  let plan = ReplicaPlan(
    model: model, mode: mode, capacity: Microbatch.Capacity(units: 2, rows: 16, positions: 8),
    optimizer: .sgd(momentum: 0, weightDecay: 0),
    shards: environment.map {
      ShardPlan(model.parameterLayout, sharding: .none, noise: .rank0, topology: $0.topology)
    })
  let replica = try ModelReplica(plan)
  let dataset = TokenizedDataset.synthetic(records: 3, length: 8)
  var run = try environment.map {
    try FixedBatchRun(
      replica, dataset: dataset,
      exchange: ModelStateExchange(plan.shards, parameterCount: plan.layout.totalCount, environment: $0))
  } ?? FixedBatchRun(replica, dataset: dataset)
  let before = Array(replica.parameters)
  for step in 0..<2 { _ = try run.step(step) }
  return zip(replica.parameters, before).map { $0 - $1 }
}

private func length(_ values: [Float]) -> Double {
  values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
}
