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

  /// Continues `ids` by up to `count` ids, ending before one of `ends`. The model sees the last T ids, or where they are more the last half
  /// of T at least: then what was before that is forgotten at once, so that an id's time stays the same on the whole.
  ///
  /// - Parameter replica: its plan keeps keys and values.
  package mutating func continuation(of ids: [Int32], count: Int, ends: Set<Int32>, replica: ModelReplica) -> [Int32] {
    let positions = replica.plan.capacity.positions
    var ids = ids
    let given = ids.count
    // The first id that is seen, and how many from there on have their keys.
    var (first, known) = (max(0, ids.count - positions), 0)
    while ids.count < given + count {
      if ids.count - first > positions { (first, known) = (ids.count - max(1, positions / 2), 0) }
      let next = Int32(sample(Self.logits(after: ids[first...], known: known, replica: replica)))
      known = ids.count - first
      if ends.contains(next) { break }
      ids.append(next)
    }
    return Array(ids[given...])
  }

  /// - Parameter known: of the ids, how many were in the passes before.
  package static func logits(after ids: ArraySlice<Int32>, known: Int, replica: ModelReplica) -> Vector {
    var left = ids.dropFirst(known)
    while left.count > replica.plan.capacity.rows {
      _ = replica.logits(after: left.prefix(replica.plan.capacity.rows), first: left.startIndex - ids.startIndex)
      left = left.dropFirst(replica.plan.capacity.rows)
    }
    return replica.logits(after: left, first: left.startIndex - ids.startIndex)
  }

  /// An index with probability softmax(logits / temperature) over the candidates.
  private mutating func sample(_ logits: Vector) -> Int {
    guard temperature > 0 else { return logits.indices.min { (logits[$0], $1) > (logits[$1], $0) } ?? 0 }
    let candidates = topK.map { Array(logits.indices.sorted { (logits[$0], $1) > (logits[$1], $0) }.prefix($0)) } ?? Array(logits.indices)
    let top = Double(candidates.lazy.map { logits[$0] }.max() ?? 0)
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
  /// - Parameters:
  ///   - adapter: the directory of one that stands beside the model.
  ///   - seed: nil samples afresh each time.
  ///   - note: told what is to be known of the model.
  public static func text(
    model directory: String, adapter: String? = nil, prompt: String, count: Int, temperature: Double, topK: Int?, seed: UInt64?,
    tokenizer kind: TokenizerKind? = nil, note: (String) -> Void = { _ in }
  ) throws -> [UInt8] {
    let source = try ModelSource.resolve(directory, tokenizer: kind, task: .generation, adapter: try AdapterRequest(directory: adapter))
    guard source.directory != nil else { throw TrainingError.noWeights(preset: directory) }
    (source.notes + (try adapter.map { try AdapterBase.check(adapter: $0, model: directory) } ?? [])).forEach(note)
    let (tokenizer, model) = (source.tokenizer, source.configuration)
    let ids = Self.start(of: prompt, by: tokenizer)
    let threads = min(ProcessorAffinity.affordableCores.count, PerformanceOptions.mostThreads)
    let plan = Self.plan(model, ids: ids.count + count, stored: source.stored, threads: threads)
    try plan.checkAddressSpace(threads: threads)
    let replica = try ModelReplica(plan)
    try replica.readParameters(from: directory, adapter: adapter)
    let ends = Set(model.eosTokenIDs.map(Int32.init) + [tokenizer.endOfText])
    var generation = Generation(
      temperature: temperature, topK: topK, key: seed.map { RandomKey(seed: $0) } ?? RandomKey())
    let continuation = replica.team.use { generation.continuation(of: ids, count: count, ends: ends, replica: replica) }
    try replica.mapped?.checkUnchanged()
    // Behind the prompt, so that a word keeps the space in front of it; a scalar that the last ids only begin is left out.
    return tokenizer.wholeText(of: continuation, after: ids.suffix(16))
  }

  /// What a record that begins with `prompt` begins with in training.
  package static func start(of prompt: String, by tokenizer: some Tokenizer) -> [Int32] {
    var ids = [tokenizer.startOfText]
    tokenizer.encode(Array(prompt.utf8)[...], limit: .max, into: &ids)
    return ids
  }

  /// Ids of a prompt that are taken in one pass.
  private static let largestPass = 256

  /// - Parameter ids: of the prompt and what may follow it.
  package static func plan(
    _ model: ModelConfiguration, ids: Int, stored: StoredTensors = StoredTensors(), threads: Int
  ) -> ReplicaPlan {
    let positions = min(model.longestSequence, max(1, ids))
    return ReplicaPlan(
      model: model, mode: .standard, capacity: Microbatch.Capacity(cachedPositions: positions, rows: min(positions, largestPass)), optimizer: nil,
      trainable: model.trainedByDefault, stored: stored, computesGradients: false, cachesKeys: true, threads: threads,
      choices: .init(logits: .chunks(rows: 1)))
  }
}
