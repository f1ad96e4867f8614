import DistEngine
import TestSupport
import Testing

@Suite struct NormChoiceTests {
  private static let shape = LinearShape(inputs: 48, outputs: 80)

  /// T² against T, and a length for which both cost the same.
  @Test(arguments: [16, 17, 100, 511, 512, 700])
  func theLimitIsWhereBothCostTheSame(equal: Int) {
    let timing = NormTiming(shape: Self.shape, longest: 1000) {
      NormTiming.Cost(gram: Double($0 * $0), instantiate: Double($0 * equal))
    }
    #expect(abs(timing.gramLimit - equal) <= 1, "\(timing.gramLimit)")
    #expect(timing.cost.gram == 1e6 && timing.cost.instantiate == 1000 * Double(equal))
  }

  @Test func aWayThatIsAlwaysFasterIsAlwaysTaken() {
    var asked: [Int] = []
    let gram = NormTiming(shape: Self.shape, longest: 100) {
      asked.append($0)
      return NormTiming.Cost(gram: 1, instantiate: 2)
    }
    #expect(gram.gramLimit == 100 && asked == [100])
    for longest in [1, 2, 100] {
      #expect(NormTiming(shape: Self.shape, longest: longest) { _ in .init(gram: 2, instantiate: 1) }.gramLimit == 0)
    }
  }

  @Test func withoutTimingsAShortSideDecides() {
    for (inputs, outputs) in [(16, 100), (100, 16), (1, 1)] {
      #expect(NormChoice.byShape.method(positions: 9, inputs: inputs, outputs: outputs) == .instantiate)
    }
    #expect(NormChoice.byShape.method(positions: 9, inputs: 17, outputs: 17) == .gram)
  }

  /// Which scratch a layer writes tells which way it took.
  @Test(arguments: [0, 5, 12])
  func theLayerTakesTheFasterWay(limit: Int) {
    let (positions, d, p) = (12, Self.shape.inputs, Self.shape.outputs)
    var random = TestRandom(seed: 1)
    let values = random.floats(positions * max(d, p))
    let rows = AlignedBuffer<Float>(count: values.count)
    _ = rows.elements.update(from: values)
    let scratch = (0..<4).map { _ in AlignedBuffer<Float>(count: max(positions * positions, d * p)) }
    let places = AlignedBuffer<Int32>(count: positions)
    let timing = NormTiming(shape: Self.shape, longest: positions) {
      NormTiming.Cost(gram: Double($0 * $0), instantiate: Double($0) * (Double(limit) + 0.5))
    }
    let workspace = GradientWorkspace(
      rows: scratch[0].elements, gramOfInputs: scratch[1].elements, gramOfGradients: scratch[1].elements,
      gramRows: positions, exampleGradient: scratch[2].elements, columnSums: scratch[3].elements,
      lastPosition: places.elements, previousPosition: places.elements, norms: .timed([timing]))
    let gradient = LinearGradient(
      primary: 0, secondary: nil, layout: .inputByOutput, input: .stored(Matrix(rows.base, rows: positions, columns: d)),
      outputGradient: Matrix(rows.base, rows: positions, columns: p))
    for length in [1, 4, 5, 6, 11, 12] where !(8...9).contains(limit) {
      for buffer in scratch { buffer.elements.update(repeating: 0) }
      _ = gradient.squaredGradientNorms(rows: 0..<length, workspace: workspace)
      let wroteGradient = scratch[2].elements.contains { $0 != 0 }
      // Below 8 targets nothing is timed.
      #expect(wroteGradient == (length > timing.gramLimit), "\(length) of \(timing.gramLimit)")
    }
  }

  @Test(arguments: [1, 7, 33])
  func everyShapeWhoseNormsAreTakenIsTimed(positions: Int) throws {
    let model = try SmallModels.configuration(tied: true, positions: 40)
    let timings = { (mode: TrainingMode, examples: Int, choices: ReplicaPlan.Choices) in
      ReplicaPlan(
        model: model, mode: mode,
        capacity: Microbatch.Capacity(units: examples, rows: examples * positions, positions: positions),
        optimizer: nil, choices: choices
      ).timeNorms()
    }
    let all = timings(.ghost, 3, .init(logits: .whole))
    #expect(all.map(\.shape) == model.blockShapes + model.headShapes)
    for timing in all {
      #expect(timing.longest == positions && (0...positions).contains(timing.gramLimit))
      #expect(timing.cost.gram > 0 && timing.cost.instantiate > 0)
    }
    // The head's gradient is there where logits come in chunks, and a block's where it is kept.
    #expect(timings(.ghost, 3, .init(logits: .chunks(rows: 1))).map(\.shape) == model.blockShapes)
    #expect(timings(.ghost, 1, .init(logits: .chunks(rows: 1), keepsOnlyExample: true)).isEmpty)
    #expect(timings(.ghost, 1, .init(logits: .whole, keepsOnlyExample: true)).map(\.shape) == model.headShapes)
    #expect(timings(.standard, 3, .init()).isEmpty && timings(.hooks, 3, .init()).isEmpty)
  }
}
