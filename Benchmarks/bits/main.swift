import DistEngine
import Foundation

// The bits of a training step, over every choice that a plan can make: one line a combination, a hash of losses, norms, factors, clipped sum and
// updated parameters, and the plan's slab. Two commits whose output is equal compute the same (Benchmarks/README.md).
//
//   bits            one rank, 1 and 2 threads
//   mpirun -np N bits   the shardings, over the ranks
//   bits plans      every buffer of every plan: name, bytes, lifetime

struct Combination {
  var mode: TrainingMode
  var clipping: Clipping
  var recompute: Recomputation
  var chunked: Bool
  var tied: Bool
  var microbatch: Int
  var keeps = false
  var threads = 1
  var sharding = Sharding.none
  var pieceCapacity = 1 << 20

  var name: String {
    "\(mode.rawValue) \(clipping.rawValue) recompute \(recompute.rawValue) logits \(chunked ? "chunked" : "whole") \(tied ? "tied" : "untied") "
      + "b \(microbatch)\(keeps ? " kept" : "") threads \(threads) shard \(sharding.rawValue) pieces \(pieceCapacity)"
  }

  static func all(threads: [Int], shardings: [(Sharding, Int)]) -> [Combination] {
    var result: [Combination] = []
    for (mode, clipping, keeps) in [
      (TrainingMode.standard, Clipping.flat, false), (.hooks, .flat, false), (.hooks, .perLayer, false), (.ghost, .flat, false),
      (.ghost, .perLayer, false), (.ghost, .flat, true),
    ] {
      for recompute in Recomputation.allCases {
        for chunked in [false, true] {
          for tied in [true, false] {
            for microbatch in keeps ? [1] : [1, 3, 16] {
              for threads in threads {
                for (sharding, pieces) in shardings where !(chunked && pieces < 1 << 20) {
                  result.append(
                    Combination(
                      mode: mode, clipping: clipping, recompute: recompute, chunked: chunked, tied: tied, microbatch: microbatch, keeps: keeps,
                      threads: threads, sharding: sharding, pieceCapacity: pieces))
                }
              }
            }
          }
        }
      }
    }
    return result
  }
}

struct Hash {
  private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325
  mutating func add(_ values: some Sequence<Float>) { for v in values { mix(UInt64(v.bitPattern)) } }
  mutating func add(_ values: some Sequence<Double>) { for v in values { mix(v.bitPattern) } }
  private mutating func mix(_ word: UInt64) { value = (value ^ word) &* 0x100_0000_01b3 }
  var text: String { String(value, radix: 16) }
}

func model(_ c: Combination) throws -> ModelConfiguration {
  try ModelConfiguration(
    vocabularySize: 257, positions: 24, width: 16, layers: 3, heads: 2, innerWidth: 48, tiedEmbeddings: c.tied, initializerRange: 0.3)
}

let texts = [
  "", "aaaaaaaaaaaaaaaaaa", "x", "abababab", "the quick brown fox jum", "hello", "hello", "zyxwvutsrqponm", "aab", "01234567890123456789012",
]
let dataset = TokenizedDataset(RecordStore(texts), tokenizer: ByteTokenizer(), longestSequence: 24)

func plan(_ c: Combination, _ shards: ShardPlan) throws -> ReplicaPlan {
  ReplicaPlan(
    model: try model(c), mode: c.mode, clipping: c.clipping, maxGradNorm: 2,
    capacity: Microbatch.Capacity(units: c.microbatch, rows: c.microbatch * 24, positions: 24), recompute: c.recompute,
    optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01), threads: c.threads,
    choices: .init(logits: c.chunked ? .chunks(rows: 7) : .whole, keepsOnlyExample: c.keeps), shards: shards)
}

/// Three noisy steps; what they computed, as one number for this rank.
func bits(_ c: Combination, _ shards: ShardPlan, _ exchange: ModelStateExchange?, environment: MPIEnvironment) throws -> Hash {
  let replica = try ModelReplica(plan(c, shards), windows: exchange?.windows)
  let key = RandomKey(seed: 5)
  let mechanism = GaussianMechanism(noiseMultiplier: 0.5, source: GaussianSource(key.subKey(for: .noise)))
  try replica.loadParameters(from: nil, key: key, communicator: environment.world, exchange: exchange)
  var optimizer = replica.makeOptimizer()
  var hash = Hash()
  try replica.team.use {
    for step in 0..<3 {
      let own = stride(from: environment.world.rank, to: dataset.count, by: exchange == nil ? 1 : environment.world.size)
      var batches = replica.batches(of: exchange == nil ? Array(0..<dataset.count) : Array(own), in: dataset)
      batches.pad(microbatches: try exchange?.agreedMicrobatchCount(batches.microbatches.count) ?? batches.microbatches.count)
      let totals = replica.accumulateGradients(of: batches, in: dataset) { batch, factors in
        hash.add(batch.losses)
        guard let factors else { return }
        for example in batch.units.indices {
          hash.add((0..<factors.groups).map { factors.norm(unit: example, group: $0) })
          hash.add((0..<factors.groups).map { factors.factor(unit: example, group: $0) })
        }
      }
      hash.add([totals.lossSum])
      hash.add(replica.gradientSum)
      if let sum = replica.accumulator?.clippedSum {
        mechanism.addNoise(to: sum, step: step, elements: exchange == nil ? 0..<Int.max : shards.noiseElements)
      }
      try replica.update(by: &optimizer, exchange: exchange?.atOnce, gradientScale: 0.1, learningRate: 0.01)
      hash.add(replica.gradientSum)
      hash.add(replica.parameters)
    }
  }
  return hash
}

func run(_ environment: MPIEnvironment) throws {
  let size = environment.world.size
  let shardings: [(Sharding, Int)] = size == 1 ? [(.none, 1 << 20)] : [(.none, 1 << 20), (.optimizer, 1 << 20), (.node, 1 << 20), (.node, 300)]
  for c in Combination.all(threads: size == 1 ? [1, 2] : [1], shardings: shardings) {
    let layout = try model(c).parameterLayout
    let shards =
      size == 1
      ? ShardPlan(layout)
      : ShardPlan(
        layout, sharding: c.sharding, noise: c.sharding == .none ? .rank0 : .sharded, topology: environment.topology, pieceCapacity: c.pieceCapacity)
    let exchange = size == 1 ? nil : try ModelStateExchange(shards, parameterCount: layout.totalCount, environment: environment)
    let own = try bits(c, shards, exchange, environment: environment).text
    try exchange?.free()
    let all = try environment.world.allgather(own)
    if environment.world.rank == 0 { print("\(c.name): \(all.joined(separator: " "))") }
  }
}

if CommandLine.arguments.dropFirst().first == "plans" {
  for c in Combination.all(threads: [1, 2], shardings: [(.none, 1 << 20)]) {
    let plan = try plan(c, ShardPlan(model(c).parameterLayout))
    print("plan \(c.name): slab \(plan.memory.layout().byteCount)")
    for buffer in plan.memory.buffers where buffer.byteCount > 0 {
      let life = buffer.lifetime == MemoryPlan.always ? "always" : "\(buffer.lifetime)"
      print("  \(buffer.name) | \(buffer.category.rawValue) | \(buffer.byteCount) | \(life)")
    }
  }
} else {
  exit(
    MPIEnvironment.run { environment in
      try run(environment)
      return 0
    })
}
