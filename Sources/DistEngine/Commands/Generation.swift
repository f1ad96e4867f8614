import Foundation

/// Samples a continuation from a model, one id at a time.
public struct Generation {
  /// 0 takes the likeliest id.
  package let temperature: Double
  /// Candidates, by likelihood; nil: all.
  package let topK: Int?
  private var random: RandomStream

  package init(temperature: Double, topK: Int?, key: RandomKey) {
    self.temperature = temperature
    self.topK = topK
    random = RandomStream(CounterRandom(key.subKey(for: .generation)), stream: 0)
  }

  /// Continues `ids` by up to `count` ids, ending at `end`. The model sees at most its last T ids.
  package mutating func continuation(
    of ids: [Int32], count: Int, end: Int32, replica: ModelReplica
  ) -> [Int32] {
    var ids = ids
    let start = ids.count
    while ids.count < start + count {
      let window = ids.suffix(replica.plan.capacity.positions)
      let next = Int32(sample(replica.logits(after: window)))
      if next == end { break }
      ids.append(next)
    }
    return Array(ids[start...])
  }

  /// An index with probability softmax(logits / temperature) over the candidates.
  private mutating func sample(_ logits: Vector) -> Int {
    let order = logits.indices.sorted { (logits[$0], $1) > (logits[$1], $0) }
    guard temperature > 0 else { return order[0] }
    let candidates = order.prefix(topK ?? order.count)
    let top = Double(logits[candidates[0]])
    let weights = candidates.map { exp((Double(logits[$0]) - top) / temperature) }
    var left = random.nextUniform() * weights.reduce(0, +)
    for (candidate, weight) in zip(candidates, weights) {
      left -= weight
      if left < 0 { return candidate }
    }
    return candidates[candidates.endIndex - 1]
  }
}

extension Generation {
  /// `dp-mpirun generate`: the bytes that a model directory's model continues `prompt` with. One process, without MPI.
  ///
  /// - Parameter seed: nil samples afresh each time.
  public static func text(
    model directory: String, prompt: String, count: Int, temperature: Double, topK: Int?, seed: UInt64?,
    tokenizer kind: TokenizerKind? = nil
  ) throws -> [UInt8] {
    let source = try ModelSource.resolve(directory, tokenizer: kind)
    guard source.directory != nil else { throw TrainingError.noWeights(preset: directory) }
    let (tokenizer, model) = (source.tokenizer, source.configuration)
    let capacity = Microbatch.Capacity(units: 1, rows: model.positions, positions: model.positions)
    let threads = min(ProcessorAffinity.affordableCores.count, PerformanceOptions.mostThreads)
    let plan = ReplicaPlan(
      model: model, mode: .standard, capacity: capacity, optimizer: nil, computesGradients: false, threads: threads)
    try plan.checkAddressSpace(threads: threads)
    let replica = try ModelReplica(plan)
    try replica.readParameters(from: directory)
    var ids = [tokenizer.endOfText]
    let bytes = Array(prompt.utf8)
    tokenizer.encode(bytes[...], limit: bytes.count, into: &ids)
    var generation = Generation(
      temperature: temperature, topK: topK, key: seed.map { RandomKey(seed: $0) } ?? RandomKey())
    return replica.team.use {
      tokenizer.decode(
        generation.continuation(of: ids, count: count, end: tokenizer.endOfText, replica: replica))
    }
  }
}
