import DistEngine
import Foundation

/// Steps whose sums are on their way to other hosts while they are made, and steps whose sums are made when all is there, alternating in one run:
/// mpirun … exchange-benchmarks overlap [PRESET] [ROUNDS] [RECORDS] [LENGTH] [node|none]
///
/// A rank has so many records a step, in microbatches of 512 rows. `exposed` is what a step spends in collectives behind its last weighted sum: what
/// overlap hides is missing there. All figures are of the slowest rank.
func compareOverlap(_ arguments: [String], _ environment: MPIEnvironment) throws -> Int32 {
  let number = { (place: Int, other: Int) in arguments.indices.contains(place) ? Int(arguments[place]) ?? other : other }
  let preset = arguments.first.flatMap(ModelPreset.init) ?? .seedMedium
  let (rounds, records, length) = (number(1, 3), number(2, 4), number(3, 128))
  let sharding = arguments.indices.contains(4) ? Sharding(rawValue: arguments[4]) ?? .node : .node
  let world = environment.world
  let model = preset.configuration
  let shards = ShardPlan(model.parameterLayout, sharding: sharding, noise: .sharded, topology: environment.topology)
  let units = max(1, min(records, 512 / length))
  let plan = ReplicaPlan(
    model: model, mode: .ghost, capacity: Microbatch.Capacity(units: units, rows: units * length, positions: length),
    optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0), choices: .init(logits: .whole), shards: shards)
  let exchange = try ModelStateExchange(shards, parameterCount: plan.layout.totalCount, environment: environment)
  guard exchange.sumTravels else {
    if world.rank == 0 { print("nothing to compare: one host, a small model, or an MPI library without MPI_THREAD_MULTIPLE") }
    return ExitStatus.refused
  }
  let replica = try ModelReplica(plan, windows: exchange.windows)
  var run = try FixedBatchRun(replica, dataset: .synthetic(records: records, length: length), exchange: exchange)
  var results: [Bool: [(step: Double, exposed: Double)]] = [:]
  for round in 0...rounds {
    for overlaps in [true, false] {
      try world.barrier()
      let seconds = try run.step(2 * round + (overlaps ? 0 : 1), overlaps: overlaps)
      let (step, exposed) = (try world.allreduceMax(seconds), try world.allreduceMax(run.exposedSeconds))
      if round > 0 { results[overlaps, default: []].append((step, exposed)) }
    }
  }
  try exchange.free()
  guard world.rank == 0 else { return ExitStatus.done }
  print("\(preset.rawValue), \(sharding.rawValue), \(world.size) ranks on \(environment.topology.nodeCount) hosts, \(records) records of \(length) a rank; medians of \(rounds)")
  for overlaps in [false, true] {
    let all = results[overlaps] ?? []
    let each = all.map { String(format: "%.2f", $0.exposed) }.joined(separator: " ")
    print("\(overlaps ? "overlapping" : "at once    ") step \(String(format: "%6.2f", median(all.map(\.step)))) s, exposed \(String(format: "%6.2f", median(all.map(\.exposed)))) s (\(each))")
  }
  let (with, without) = (median((results[true] ?? []).map(\.exposed)), median((results[false] ?? []).map(\.exposed)))
  print(String(format: "hidden: %.0f%%", 100 * (1 - with / without)))
  return ExitStatus.done
}
