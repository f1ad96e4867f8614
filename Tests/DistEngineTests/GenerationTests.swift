import DistEngine
import TestSupport
import Testing

@Suite struct GenerationTests {
  private func replica(_ model: ModelConfiguration, positions: Int, rows: Int) throws -> ModelReplica {
    let replica = try ModelReplica(
      ReplicaPlan(
        model: model, mode: .standard, capacity: Microbatch.Capacity(cachedPositions: positions, rows: rows), optimizer: nil,
        computesGradients: false, cachesKeys: true, choices: .init(logits: .chunks(rows: 1))))
    SmallModels.fill(replica.parameters, model)
    return replica
  }

  private let ids = (0..<24).map { Int32($0 * 17 % 39) }

  /// With keys and values of earlier passes, whatever pieces the ids come in.
  @Test(arguments: try SmallModels.all(), [1, 5, 24])
  func logitsAreThoseOfTheFullPass(model: ModelConfiguration, rows: Int) throws {
    let whole = try SmallModels.replica(.standard, model, microbatch: 1)
    let cached = try replica(model, positions: 24, rows: rows)
    var known = 0
    for length in [1, 2, 9, 10, 24] {
      let expected = whole.logits(after: ids[..<length]).map(Double.init)
      let found = Generation.logits(after: ids[..<length], known: known, replica: cached).map(Double.init)
      let mismatch = Mismatch.between(found, expected, relative: 1e-5, absolute: 1e-5, of: "logit behind \(length)")
      #expect(mismatch == nil, "\(mismatch!)")
      known = length
    }
  }

  /// Beyond the positions, the continuation is that of a window which is filled again from its last half.
  @Test(arguments: try SmallModels.all())
  func theLikeliestContinuationIsTheFullPasss(model: ModelConfiguration) throws {
    let (positions, count) = (12, 40)
    let whole = try SmallModels.replica(.standard, model, microbatch: 1)
    var generation = Generation(temperature: 0, topK: nil, key: RandomKey(seed: 1))
    let found = generation.continuation(of: Array(ids[..<5]), count: count, ends: [], replica: try replica(model, positions: positions, rows: 4))
    var expected = Array(ids[..<5])
    var first = 0
    for _ in 0..<count {
      if expected.count - first > positions { first = expected.count - positions / 2 }
      let logits = whole.logits(after: expected[first...])
      expected.append(Int32(logits.indices.max { logits[$0] < logits[$1] }!))
    }
    #expect(found == Array(expected[5...]))
    #expect(Set(found).count > 1)
  }

  @Test func aTextEndsBeforeAnyOfItsEnds() throws {
    let model = try SmallModels.llama(tied: true)
    var generation = Generation(temperature: 0, topK: nil, key: RandomKey(seed: 1))
    let all = generation.continuation(of: [1], count: 10, ends: [], replica: try replica(model, positions: 24, rows: 24))
    for place in [0, 3] {
      let ends: Set<Int32> = [all[place], 38]
      let found = generation.continuation(of: [1], count: 10, ends: ends, replica: try replica(model, positions: 24, rows: 24))
      #expect(found == Array(all.prefix { !ends.contains($0) }))
    }
  }

  @Test func samplesAreOfTheKLikeliest() throws {
    let model = try SmallModels.llama(tied: false)
    let replica = try replica(model, positions: 24, rows: 24)
    let logits = Generation.logits(after: [3], known: 0, replica: replica)
    let likeliest = Set(logits.indices.sorted { logits[$0] > logits[$1] }.prefix(3).map { Int32($0) })
    var generation = Generation(temperature: 1, topK: 3, key: RandomKey(seed: 2))
    let found = Set((0..<60).flatMap { _ in generation.continuation(of: [3], count: 1, ends: [], replica: replica) })
    #expect(found.isSubset(of: likeliest) && found.count > 1)
    var free = Generation(temperature: 1, topK: nil, key: RandomKey(seed: 2))
    let any = Set((0..<200).flatMap { _ in free.continuation(of: [3], count: 1, ends: [], replica: replica) })
    #expect(any.count > 3)
  }

  /// The plan holds what a sequence's keys and values need, and no pass's whole sequence.
  @Test func keysAndValuesArePlanned() {
    let model = ModelPreset.llama1B.configuration
    let plan = Generation.plan(model, ids: 4096, threads: 1)
    let cached = plan.memory.buffers.filter { $0.name.hasSuffix("keys and values") }
    #expect(cached.count == model.layers)
    #expect(cached.allSatisfy { $0.byteCount == 4 * 4096 * 2 * 8 * 64 && $0.lifetime == MemoryPlan.always })
    #expect(plan.capacity.rows == 256)
  }
}
