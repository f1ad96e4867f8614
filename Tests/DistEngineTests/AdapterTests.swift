import DistEngine
import Foundation
import TestSupport
import Testing

/// Adapters of low rank: their gradients, norms and sums, and that nothing else is trained.
@Suite struct AdapterTests {
  struct Case: Sendable, CustomStringConvertible {
    let model: ModelConfiguration
    let name: String
    var description: String { name }
  }

  private static func cases() throws -> [Case] {
    let languages = try SmallModels.all().map { model in
      Case(model: SmallAdapters.adapted(model), name: "\(model.modelType) \(model.tiedEmbeddings ? "tied" : "untied")")
    }
    let some = try [
      Case(model: SmallAdapters.adapted(SmallModels.configuration(tied: true), targets: .modules(["c_attn", "mlp.c_proj"]), isRankStabilized: true), name: "some of gpt2's"),
      Case(model: SmallAdapters.adapted(SmallModels.llama(tied: true), targets: .modules(["q_proj", "v_proj", "down_proj"]), freezesDown: true), name: "some of llama's, A frozen"),
    ]
    let classifiers = try SmallClassifiers.all.map { Case(model: SmallAdapters.adapted(try SmallClassifiers.configuration($0)), name: "\($0) classifier") }
    return languages + some + classifiers
  }

  private static func dataset(_ model: ModelConfiguration) -> TokenizedDataset {
    model.labels == nil ? SmallModels.dataset() : SmallClassifiers.dataset(for: model.base)
  }

  /// The sum of clipped gradients is that of the merged model's full gradient, projected in Double, record by record.
  @Test(arguments: try cases()) func theSumIsTheProjectionOfTheFullGradient(test: Case) throws {
    let model = test.model
    let dataset = Self.dataset(model)
    let first = try SmallAdapters.replica(.standard, .flat, model)
    let trained = first.plan.layout
    let single = try SmallModels.replica(.standard, model.base, microbatch: 1)
    let merged = SmallAdapters.merged(first)
    for entry in single.plan.layout { _ = Vector(rebasing: single.parameters[entry.range]).update(fromContentsOf: merged[entry.name]!.map(Float.init)) }
    let gradients = (0..<dataset.count).map { unit in
      _ = single.accumulateGradients(of: [unit], in: dataset)
      return SmallAdapters.projected({ single.gradientSum[single.plan.layout[$0].range].map(Double.init) }, onto: first)
    }
    for (mode, clipping) in FrozenTests.configurations {
      var expected = [Double](repeating: 0, count: trained.totalCount)
      var clipped = 0
      for gradients in gradients {
        let squares = gradients.map { $0.reduce(0) { $0 + $1 * $1 } }
        let whole = squares.reduce(0, +).squareRoot()
        for (entry, gradient) in zip(trained, gradients) {
          let norm = clipping == .flat ? whole : squares[entry.index].squareRoot()
          let bound = clipping == .flat ? 0.5 : 0.5 / Double(trained.count).squareRoot()
          let factor = mode == .standard || norm <= bound ? 1 : bound / norm
          if factor < 1 { clipped += 1 }
          for (j, value) in zip(entry.range, gradient) { expected[j] += factor * value }
        }
      }
      #expect(mode == .standard || clipped > 0, "nothing is clipped")
      for recompute in Recomputation.allCases {
        for (microbatch, chunked, keeps) in [(1, false, false), (1, false, true), (3, true, false), (16, false, false)] {
          guard !keeps || mode == .ghost && clipping == .flat, !chunked || model.labels == nil else { continue }
          let own = try SmallAdapters.replica(
            mode, clipping, model, recompute: recompute, microbatch: microbatch, chunked: chunked, keepsOnlyExample: keeps, threads: microbatch == 16 ? 2 : 1)
          #expect(own.tensorsWithoutGradient() == [])
          own.team.use { _ = own.accumulateGradients(of: 0..<dataset.count, in: dataset) }
          let sum = own.gradientSum.map(Double.init)
          let distance = relativeDistance(sum, expected)
          #expect(distance < 2e-5, "\(mode) \(clipping) recompute \(recompute) b \(microbatch) keeps \(keeps): \(distance)")
          for entry in trained {
            let distance = relativeDistance(sum[entry.range], expected[entry.range])
            #expect(distance < 1e-4, "\(entry.name) \(mode) \(clipping) recompute \(recompute) b \(microbatch) keeps \(keeps): \(distance)")
          }
        }
      }
    }
  }

  /// Along random directions, by central differences of a model in Double: s is in the gradient of both factors, once.
  @Test(arguments: try SmallModels.all()) func gradientsEqualFiniteDifferences(model: ModelConfiguration) throws {
    let dataset = SmallModels.dataset()
    let replica = try SmallAdapters.replica(.standard, .flat, SmallAdapters.adapted(model))
    let record = 7
    let ids = dataset.inputs(of: record).map { Int($0) } + [39]
    _ = replica.accumulateGradients(of: [record], in: dataset)
    let gradient = replica.gradientSum.map(Double.init)
    let before = Array(replica.parameters)
    func loss() -> Double {
      let floats = AlignedBuffer<Float>(count: model.parameterCount)
      floats.elements.update(repeating: 0)
      var naive = SmallModels.naive(model, floats.elements)
      naive.tensors = SmallAdapters.merged(replica)
      return naive.loss(ids)
    }
    for entry in replica.plan.layout {
      let direction = GaussianSource(RandomKey(seed: UInt64(entry.index)).subKey(for: .generation)).normals(step: 0, elements: 0..<entry.count)
      let step = 1e-3
      func moved(_ scale: Double) -> Double {
        for (place, j) in entry.range.enumerated() { replica.parameters[j] = before[j] + Float(scale * direction[place]) }
        defer { for j in entry.range { replica.parameters[j] = before[j] } }
        return loss()
      }
      let slope = (moved(step) - moved(-step)) / (2 * step)
      let expected = zip(entry.range, direction).reduce(0.0) { $0 + gradient[$1.0] * $1.1 }
      #expect(abs(slope - expected) < 2e-3 * max(abs(expected), 0.05), "\(entry.name): \(slope) and \(expected)")
    }
  }

  @Test(arguments: try cases()) func frozenBytesStayAndTrainedTensorsMove(test: Case) throws {
    let dataset = Self.dataset(test.model)
    let replica = try SmallAdapters.replica(.ghost, .flat, test.model)
    // As they begin: B = 0.
    for entry in replica.plan.table.whole where entry.role == .adapterUp { replica.values(of: entry).update(repeating: 0) }
    let (frozen, before) = (Array(replica.frozen), Array(replica.parameters))
    let base = test.model.base.parameterLayout
    #expect(replica.plan.table.whole.filter { $0.isOfAdapter }.count + replica.plan.table.frozen.filter { !$0.isOfAdapter }.count == replica.plan.table.whole.count)
    #expect(base.allSatisfy { replica.plan.table.entry(ofModel: $0.name).shape == $0.shape })
    var optimizer = replica.makeOptimizer()
    func step() {
      _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
      optimizer.update(replica.updatedParts, gradientScale: 0.1, learningRate: 0.1)
    }
    step()
    step()
    #expect(replica.frozen.elementsEqual(frozen))
    for entry in replica.plan.layout { #expect(!replica.parameters[entry.range].elementsEqual(before[entry.range]), "\(entry.name)") }
    #expect(replica.plan.layout.contains { $0.role == .adapterDown } == !test.model.adapters!.freezesDown)
    #expect(replica.plan.layout.contains { $0.role == .adapterUp })
    let down = replica.plan.table.whole.filter { $0.role == .adapterDown }.reduce(0) { $0 + $1.count }
    #expect(replica.plan.table.frozenAdapterCount == (test.model.adapters!.freezesDown ? down : 0))
  }

  /// A unit's factors' gradient is the mean of its records', clipped once.
  @Test(arguments: [true, false], [Recomputation.none, .blocks]) func aUnitsGradientIsTheMeanOfItsRecords(tied: Bool, recompute: Recomputation) throws {
    let model = SmallAdapters.adapted(try SmallModels.configuration(tied: tied))
    let (dataset, single) = (
      UnitTests.dataset(), TokenizedDataset(RecordStore(UnitTests.records.map(\.text)), tokenizer: SmallModels.SmallTokenizer(), longestSequence: 24)
    )
    let one = try SmallAdapters.replica(.standard, .flat, model, microbatch: 1)
    let bound = 0.5
    for (mode, clipping) in FrozenTests.configurations {
      var expected = [Double](repeating: 0, count: one.plan.layout.totalCount)
      for unit in 0..<dataset.unitCount {
        let records = dataset.units.records(of: unit)
        var gradient = [Double](repeating: 0, count: expected.count)
        for record in records {
          _ = one.accumulateGradients(of: [record], in: single)
          for (j, value) in one.gradientSum.enumerated() { gradient[j] += Double(value) / Double(records.count) }
        }
        let squares = one.plan.layout.map { gradient[$0.range].reduce(0) { $0 + $1 * $1 } }
        for entry in one.plan.layout {
          let norm = (clipping == .flat ? squares.reduce(0, +) : squares[entry.index]).squareRoot()
          let most = clipping == .flat ? bound : bound / Double(squares.count).squareRoot()
          for j in entry.range { expected[j] += gradient[j] * (mode == .standard || norm <= most ? 1 : most / norm) }
        }
      }
      for (microbatch, rows) in [(1, 24), (3, 72), (16, 128)] {
        let largest = dataset.largestUnit(ofRecords: .max)
        let plan = ReplicaPlan(
          model: model, mode: mode, clipping: clipping, maxGradNorm: bound,
          capacity: Microbatch.Capacity(units: microbatch, rows: rows, positions: 24, unitRows: max(24, min(largest, rows))), recompute: recompute,
          optimizer: nil, trainable: .lora, hasLargeUnits: largest > rows)
        let replica = try ModelReplica(plan)
        SmallAdapters.fill(replica)
        _ = replica.accumulateGradients(of: 0..<dataset.unitCount, in: dataset)
        let distance = relativeDistance(replica.gradientSum.map(Double.init), expected)
        #expect(distance < 1e-5, "\(mode) \(clipping) b \(microbatch): \(distance)")
      }
    }
  }

  /// With B = 0 an adapter changes nothing, and A's gradient is 0.
  @Test(arguments: try SmallModels.all()) func anAdapterBeginsAsNothing(model: ModelConfiguration) throws {
    let dataset = SmallModels.dataset()
    let adapted = SmallAdapters.adapted(model)
    let replica = try SmallAdapters.replica(.standard, .flat, adapted)
    replica.plan.table.initialise(
      trained: replica.parameters, frozen: replica.frozen, from: GaussianSource(RandomKey(seed: 5).subKey(for: .initialisation)), where: { $0.isOfAdapter })
    let base = try SmallModels.replica(.standard, model)
    for entry in base.plan.layout { _ = Vector(rebasing: base.parameters[entry.range]).update(fromContentsOf: replica.values(of: replica.plan.table.whole[entry.name])) }
    let (own, expected) = (replica.loss(of: 0..<dataset.count, in: dataset), base.loss(of: 0..<dataset.count, in: dataset))
    #expect(abs(own.sum - expected.sum) < 1e-6 * expected.sum)
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
    for entry in replica.plan.layout {
      let isZero = replica.gradientSum[entry.range].allSatisfy { $0 == 0 }
      #expect(isZero == (entry.role == .adapterDown), "\(entry.name)")
    }
  }

  /// A is drawn as PEFT draws it: `kaiming_uniform_(a=√5)`, which is uniform within ±1/√d.
  @Test func downFactorsAreDrawnUniformly() throws {
    let model = try SmallModels.configuration(tied: true, width: 64).adapted(
      by: LowRankAdapters(rank: 16, alpha: 32, targets: .allLinear, names: .peft))
    let table = model.parameterTable(trainable: .lora)
    let (trained, frozen) = (AlignedBuffer<Float>(count: table.trained.totalCount), AlignedBuffer<Float>(count: table.frozen.totalCount))
    table.initialise(
      trained: trained.elements, frozen: frozen.elements, from: GaussianSource(RandomKey(seed: 1).subKey(for: .initialisation)), where: { _ in true })
    for entry in table.trained {
      let values = trained.elements[entry.range].map(Double.init)
      guard entry.role == .adapterDown else {
        #expect(values.allSatisfy { $0 == 0 }, "\(entry.name)")
        continue
      }
      let bound = 1 / Double(entry.shape[1]).squareRoot()
      let n = Double(values.count)
      #expect(values.allSatisfy { abs($0) <= bound } && values.max()! > 0.95 * bound && values.min()! < -0.95 * bound, "\(entry.name)")
      #expect(abs(values.reduce(0, +) / n) < 5 * bound / (3 * n).squareRoot(), "\(entry.name)")
      let square = values.reduce(0) { $0 + $1 * $1 } / n
      #expect(abs(square / (bound * bound) - 1.0 / 3) < 5 * 0.2981 / n.squareRoot(), "\(entry.name): \(square / (bound * bound))")
    }
  }

  /// Sum, moments and clip factors are of the factors alone; of a layer whose product isn't adapted nothing is kept for it.
  @Test func thePlanHasNoStateForTheModel() throws {
    func plan(_ targets: LowRankAdapters.Targets, mode: TrainingMode = .ghost) -> ReplicaPlan {
      ReplicaPlan(
        model: ModelPreset.small.configuration.adapted(by: LowRankAdapters(rank: 8, alpha: 16, targets: targets, names: .peft)), mode: mode,
        capacity: Microbatch.Capacity(units: 4, rows: 512, positions: 128),
        optimizer: .adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0), trainable: .lora)
    }
    let all = plan(.allLinear)
    let count = all.layout.totalCount
    // 12 blocks: 8·(768 + 2304) + 8·(768 + 768) + 2 · 8·(768 + 3072).
    #expect(count == 12 * 8 * (3072 + 1536 + 2 * 3840))
    func bytes(_ plan: ReplicaPlan, _ category: MemoryPlan.Category) -> Int { plan.memory.buffers.filter { $0.category == category }.reduce(0) { $0 + $1.byteCount } }
    #expect(bytes(all, .gradients) == 4 * count && bytes(all, .optimizerState) == 8 * count)
    // What is exchanged, noised and updated is what the shards know: nothing else.
    #expect(all.shards.updatedCount == count && all.layout.allSatisfy { $0.isOfAdapter } && all.table.frozen.totalCount == ModelPreset.small.configuration.parameterCount)
    let attention = plan(.modules(["c_attn"]))
    let activated = attention.memory.buffers.filter { $0.name.hasSuffix("activated") }
    #expect(!activated.isEmpty && activated.allSatisfy { $0.lifetime.count == 1 }, "the input of a frozen product that isn't adapted")
  }
}
