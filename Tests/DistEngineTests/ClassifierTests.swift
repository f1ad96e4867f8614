import DistEngine
import Foundation
import TestSupport
import Testing

/// Classifiers of every family: encoders against naive models in Double and finite differences of those; norms and sums in every way that a plan
/// can choose against one record at a time.
@Suite struct ClassifierTests {
  @Test(arguments: SmallClassifiers.encoders) func lossEqualsTheNaiveModels(modelType: String) throws {
    let model = try SmallClassifiers.configuration(modelType)
    let dataset = SmallClassifiers.dataset(for: model)
    let replica = try SmallModels.replica(.standard, model)
    let naive = SmallClassifiers.naive(model, replica.parameters)
    var losses: [Int: Double] = [:]
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset) { batch, _ in
      for (record, unit) in batch.units.enumerated() { losses[unit] = batch.loss(ofUnit: record) }
    }
    for unit in 0..<dataset.count {
      let expected = loss(of: unit, in: dataset, naive)
      #expect(abs(losses[unit]! - expected) < 1e-5 * max(expected, 0.1), "record \(unit)")
    }
  }

  /// Along a random direction in each tensor, `⟨∇, v⟩` is the derivative of the naive loss.
  @Test(arguments: SmallClassifiers.encoders, Recomputation.allCases)
  func everyTensorsGradientEqualsFiniteDifferences(modelType: String, recompute: Recomputation) throws {
    let model = try SmallClassifiers.configuration(modelType, layers: 3)
    let dataset = SmallClassifiers.dataset(for: model)
    let replica = try SmallModels.replica(.standard, model, recompute: recompute)
    let units = [1, 3, 7, 9]
    _ = replica.accumulateGradients(of: units, in: dataset)
    let gradient = replica.gradientSum
    let whole = gradient.reduce(0) { $0 + Double($1 * $1) }.squareRoot()
    let naive = SmallClassifiers.naive(model, replica.parameters)
    var generator = TestRandom(seed: 5)
    for tensor in model.parameterLayout {
      let direction = (0..<tensor.count).map { _ in Double.random(in: -1...1, using: &generator) }
      let along = zip(direction, gradient[tensor.range]).reduce(0) { $0 + $1.0 * Double($1.1) }
      let step = 1e-5
      let moved = { (sign: Double) -> Double in
        var model = naive
        for j in 0..<tensor.count { model.tensors[tensor.name]![j] += sign * step * direction[j] }
        return units.reduce(0) { $0 + loss(of: $1, in: dataset, model) }
      }
      let difference = (moved(1) - moved(-1)) / (2 * step)
      let own = gradient[tensor.range].reduce(0) { $0 + Double($1 * $1) }.squareRoot()
      let scale = max(abs(difference), 1e-2 * own, 1e-4 * whole)
      #expect(abs(along - difference) < 2e-4 * scale, "\(tensor.name): \(along) for \(difference)")
    }
  }

  private func loss(of record: Int, in dataset: TokenizedDataset, _ naive: NaiveEncoder) -> Double {
    naive.loss(
      dataset.inputs(of: record).map(Int.init), types: dataset.tokenTypes(of: record).map { $0.map(Int.init) },
      label: Int(dataset.label(of: record)!))
  }

  struct Case: Sendable, CustomStringConvertible {
    let modelType: String
    let mode: TrainingMode
    let clipping: Clipping
    let byUnit: Bool
    let microbatch: Int
    let recompute: Recomputation
    /// nil: either, by the length of the record.
    let normMethod: NormMethod?
    var keepsOnlyUnit = false
    var trainable = TrainableParameters.all
    /// Rows of a microbatch: units that don't fit are taken in parts.
    var rows: Int?

    var description: String {
      "\(modelType) \(mode) \(clipping) \(byUnit ? "units" : "records") b \(microbatch) rows \(rows ?? 0) recompute \(recompute) norms \(normMethod.map { "\($0)" } ?? "mixed")\(keepsOnlyUnit ? " kept" : "") \(trainable)"
    }

    func replica(_ model: ModelConfiguration, _ dataset: TokenizedDataset, maxGradNorm: Double) throws -> ModelReplica {
      let largest = byUnit ? dataset.largestUnit(ofRecords: .max) : SmallClassifiers.positions
      let rows = max(rows ?? microbatch * largest, SmallClassifiers.positions)
      let plan = ReplicaPlan(
        model: model, mode: mode, clipping: clipping, maxGradNorm: maxGradNorm,
        capacity: Microbatch.Capacity(
          units: microbatch, rows: rows, positions: SmallClassifiers.positions, unitRows: max(SmallClassifiers.positions, min(largest, rows)),
          unitsAreRecords: !byUnit),
        recompute: recompute, optimizer: nil, trainable: trainable, hasLargeUnits: byUnit && largest > rows,
        choices: .init(keepsOnlyExample: keepsOnlyUnit))
      let replica = try ModelReplica(plan, norms: normMethod.map { .always($0) } ?? SmallModels.mixedNorms(model))
      for (index, part) in [replica.parameters, replica.frozen].enumerated() { Self.fill(part, index == 0 ? plan.table.trained : plan.table.frozen, model) }
      return replica
    }

    /// The values of the whole model, whatever of it is trained.
    private static func fill(_ values: UnsafeMutableBufferPointer<Float>, _ layout: ParameterLayout, _ model: ModelConfiguration) {
      let whole = AlignedBuffer<Float>(count: model.parameterCount)
      SmallModels.fill(whole.elements, model)
      for tensor in layout {
        let own = whole.elements[model.parameterLayout[tensor.name].range]
        _ = UnsafeMutableBufferPointer(rebasing: values[tensor.range]).update(fromContentsOf: own)
      }
    }
  }

  static let cases: [Case] = {
    var cases: [Case] = []
    for modelType in SmallClassifiers.all {
      for (mode, clipping) in [(TrainingMode.standard, Clipping.flat), (.hooks, .flat), (.hooks, .perLayer), (.ghost, .flat), (.ghost, .perLayer)] {
        for byUnit in [false, true] {
          for recompute in Recomputation.allCases {
            for microbatch in [1, 3, 16] {
              for method in mode == .ghost ? [nil, NormMethod.gram, .instantiate] : [nil] {
                cases.append(
                  Case(
                    modelType: modelType, mode: mode, clipping: clipping, byUnit: byUnit, microbatch: microbatch, recompute: recompute,
                    normMethod: method))
              }
            }
            if byUnit {
              cases.append(
                Case(
                  modelType: modelType, mode: mode, clipping: clipping, byUnit: true, microbatch: 2, recompute: recompute, normMethod: nil, rows: 48))
            }
            if mode == .ghost && clipping == .flat {
              cases.append(
                Case(
                  modelType: modelType, mode: mode, clipping: clipping, byUnit: byUnit, microbatch: 1, recompute: recompute, normMethod: nil,
                  keepsOnlyUnit: true))
            }
            for trainable in [TrainableParameters.head, .bias] where mode == .ghost {
              cases.append(
                Case(
                  modelType: modelType, mode: mode, clipping: clipping, byUnit: byUnit, microbatch: 3, recompute: recompute, normMethod: nil,
                  trainable: trainable))
            }
          }
        }
      }
    }
    return cases
  }()

  /// Gradients record by record, in Double: the mean over a unit's, its norms by group, and the clipped sum over units.
  static func oneAtATime(
    _ test: Case, _ model: ModelConfiguration, _ maxGradNorm: Double, _ dataset: TokenizedDataset
  ) throws -> (norms: [[Double]], sum: [Double]) {
    let plain = Case(
      modelType: test.modelType, mode: .standard, clipping: .flat, byUnit: false, microbatch: 1, recompute: .none, normMethod: nil,
      trainable: test.trainable)
    let single = SmallClassifiers.dataset(for: model)
    let replica = try plain.replica(model, single, maxGradNorm: 1)
    let layout = replica.plan.layout
    var sum = [Double](repeating: 0, count: layout.totalCount)
    var norms: [[Double]] = []
    for unit in 0..<dataset.unitCount {
      let records = dataset.units.records(of: unit)
      var gradient = [Double](repeating: 0, count: layout.totalCount)
      for record in records {
        _ = replica.accumulateGradients(of: [record], in: single)
        for (j, value) in replica.gradientSum.enumerated() { gradient[j] += Double(value) / Double(records.count) }
      }
      let squares = layout.map { gradient[$0.range].reduce(0) { $0 + $1 * $1 } }
      norms.append((test.clipping == .perLayer ? squares : [squares.reduce(0, +)]).map { $0.squareRoot() })
      let bound = maxGradNorm / Double(norms[unit].count).squareRoot()
      for tensor in layout {
        let norm = norms[unit][test.clipping == .perLayer ? tensor.index : 0]
        let factor = test.mode.isPrivate && norm > bound ? bound / norm : 1
        for j in tensor.range { sum[j] += factor * gradient[j] }
      }
    }
    return (norms, sum)
  }

  @Test(arguments: cases) func normsAndSumsAreThoseOfOneRecordAtATime(_ test: Case) throws {
    let model = try SmallClassifiers.configuration(test.modelType)
    let dataset = SmallClassifiers.dataset(for: model, byUnit: test.byUnit)
    let expected = try Self.oneAtATime(test, model, 2, dataset)
    let replica = try test.replica(model, dataset, maxGradNorm: 2)
    var seen: Set<Int> = []
    let totals = replica.accumulateGradients(of: 0..<dataset.unitCount, in: dataset) { batch, factors in
      guard let factors else { return }
      for (own, unit) in batch.units.enumerated() {
        seen.insert(unit)
        let whole = expected.norms[unit].reduce(0) { $0 + $1 * $1 }.squareRoot()
        for group in 0..<factors.groups {
          let (norm, reference) = (factors.norm(unit: own, group: group), expected.norms[unit][group])
          #expect(abs(norm - reference) < 1e-5 * max(reference, 0.05 * whole), "\(test): unit \(unit), group \(group): \(norm) for \(reference)")
        }
      }
    }
    #expect(totals.units == dataset.unitCount && (test.mode == .standard || seen.count == dataset.unitCount))
    let sum = replica.gradientSum.map(Double.init)
    #expect(relativeDistance(sum, expected.sum) < 1e-5, "\(test)")
    for (name, distance) in SmallClassifiers.distances(sum, expected.sum, replica.plan.layout) {
      #expect(distance < 1e-4, "\(test): \(name) differs by \(distance)")
    }
  }

  /// What is recomputed is computed alike: the same bits. An encoder's block has its input as it was kept then, and weighted sums scale the
  /// output gradients in its place: the last bits may differ.
  @Test(arguments: SmallClassifiers.all, [TrainingMode.hooks, .ghost]) func recomputedBlocksGiveTheSame(modelType: String, mode: TrainingMode) throws {
    let model = try SmallClassifiers.configuration(modelType, layers: 3)
    let dataset = SmallClassifiers.dataset(for: model)
    let sums = try Recomputation.allCases.map { recompute in
      let replica = try SmallModels.replica(mode, model, maxGradNorm: 3, microbatch: 3, recompute: recompute)
      _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
      return Array(replica.gradientSum)
    }
    #expect(mode == .ghost && model.isEncoder ? relativeDistance(sums[0].map(Double.init), sums[1].map(Double.init)) < 1e-6 : sums[0] == sums[1])
  }

  @Test(arguments: SmallClassifiers.all) func everyTensorHasAGradient(modelType: String) throws {
    let replica = try SmallModels.replica(.ghost, try SmallClassifiers.configuration(modelType))
    #expect(replica.tensorsWithoutGradient() == [])
  }

  /// `bias`: every bias, the norms' too, and the classifier; `head`: the classifier with its dense layer or pooler.
  @Test func trainableParametersOfAClassifier() throws {
    func trained(_ modelType: String, _ trainable: TrainableParameters) throws -> [String] {
      try SmallClassifiers.configuration(modelType, layers: 1).parameterTable(trainable: trainable).trained.map(\.name)
    }
    #expect(try trained("bert", .head) == ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"])
    #expect(
      try trained("roberta", .head)
        == ["classifier.dense.bias", "classifier.dense.weight", "classifier.out_proj.bias", "classifier.out_proj.weight"])
    #expect(try trained("distilbert", .head) == ["classifier.bias", "classifier.weight", "pre_classifier.bias", "pre_classifier.weight"])
    #expect(try trained("gpt2", .head) == ["score.weight"])
    let biases = try trained("bert", .bias)
    #expect(Set(biases.filter { !$0.hasSuffix(".bias") }) == ["bert.pooler.dense.weight", "classifier.weight"])
    #expect(biases.contains("bert.embeddings.LayerNorm.bias") && biases.contains("bert.encoder.layer.0.output.LayerNorm.bias"))
  }

  /// The last position that isn't padding is the one that is looked at, as `transformers` does.
  @Test func aDecoderLooksAtTheLastPositionThatIsNoPadding() throws {
    func losses(padding: Int?, _ ids: [Int32]) throws -> Double {
      let model = try ModelConfiguration(
        vocabularySize: 40, positions: 8, width: 16, layers: 1, heads: 2, initializerRange: 0.3, padTokenID: padding, labels: SmallClassifiers.labels)
      let replica = try SmallModels.replica(.standard, model, positions: 8)
      struct Fixed: Tokenizer {
        let ids: [Int32]
        var name: String { "fixed" }
        var vocabularySize: Int { 40 }
        var endOfText: Int32 { 39 }
        func encode(_ text: ArraySlice<UInt8>, limit: Int, into ids: inout [Int32]) {}
        func decode(_ ids: some Sequence<Int32>) -> [UInt8] { [] }
        func encodeWithSpecialTokens(
          _ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>?, limit: Int, ids: inout [Int32], types: inout [Int32]
        ) -> Int {
          ids += self.ids
          types += self.ids.map { _ in 0 }
          return 0
        }
      }
      let dataset = TokenizedDataset(
        RecordStore(labelled: [(["x"], 1)]), tokenizer: Fixed(ids: ids), format: .classification, longestSequence: 8)
      return replica.loss(of: [0], in: dataset).sum
    }
    let cut = try losses(padding: nil, [5, 6, 7])
    // Products of five rows may be summed in another order than those of three: BLAS' kernels differ by processor.
    #expect(try abs(losses(padding: 9, [5, 6, 7, 9, 9]) - cut) < 2e-6 * cut)
    #expect(try abs(losses(padding: nil, [5, 6, 7, 9, 9]) - cut) > 1e-2 * cut)
    #expect(try losses(padding: 5, [5, 5]) == losses(padding: nil, [5]))
  }
}
