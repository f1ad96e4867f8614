import Foundation
import PrivacyAccounting

/// `dp-mpirun test`: whether this build, on this machine, with these libraries, computes what it claims.
public enum SelfTest {
  public struct Check: Sendable {
    public let name: String
    public let passed: Bool
    public let detail: String
  }

  public struct Failure: UserError {
    public let count: Int
    public init(count: Int) { self.count = count }
    public var description: String { "\(count) of the self-test's checks failed: don't train with this build" }
    public var exitStatus: Int32 { ExitStatus.internalError }
  }

  /// Runs every check, reporting each as it ends.
  ///
  /// - Returns: how many failed.
  public static func run(environment: MPIEnvironment, report: (Check) -> Void) throws -> Int {
    var failures = 0
    func tell(_ check: Check) {
      if !check.passed { failures += 1 }
      report(check)
    }
    for model in try models() {
      for clipping in Clipping.allCases { try tell(norms(clipping: clipping, model: model)) }
    }
    for mode in [TrainingMode.hooks, .ghost] { try tell(nonFiniteExample(mode)) }
    tell(noiseVariance())
    for check in try accountants() { tell(check) }
    for mode in TrainingMode.allCases { try tell(trains(mode, environment: environment)) }
    return failures
  }
}

// MARK: Norms and sums

extension SelfTest {
  /// Among them a record of repeated tokens, one of a single byte, an empty one.
  private static let texts = [
    "aaaaaaaaaaaaaaaaaaaaaaaa", "x", "", "The quick brown fox jumps over the lazy dog.", "abababababab",
    "Call 0800-123 now to claim", "\u{0}\u{1}", "a longer line, cut at the end of the positions that there are: 64 bytes",
  ]

  static func models() throws -> [ModelConfiguration] {
    try [true, false].flatMap { tied in [try gpt2(tied: tied), try llama(tied: tied)] } + [bert()]
  }

  private static func gpt2(tied: Bool) throws -> ModelConfiguration {
    try ModelConfiguration(
      vocabularySize: 257, positions: 48, width: 32, layers: 2, heads: 4, tiedEmbeddings: tied, initializerRange: 0.2)
  }

  /// Two heads of queries for one of keys; with biases where the head isn't tied.
  private static func llama(tied: Bool) throws -> ModelConfiguration {
    try ModelConfiguration(
      modelType: "llama", vocabularySize: 257, positions: 48, width: 32, layers: 2, heads: 4, keyHeads: 2, headWidth: 10, innerWidth: 90,
      activation: .silu, biases: tied ? .none : .all,
      rotary: tied ? RotaryPositions(theta: 1000, scaling: .llama3(factor: 8, low: 1, high: 4, originalPositions: 16)) : RotaryPositions(theta: 10),
      tiedEmbeddings: tied, initializerRange: 0.2)
  }

  /// A classifier behind blocks of post-norm layers without a mask.
  private static func bert() throws -> ModelConfiguration {
    try ModelConfiguration(
      modelType: "bert", vocabularySize: 257, positions: 48, width: 32, layers: 2, heads: 4, innerWidth: 64, activation: .gelu, tokenTypes: 2,
      tiedEmbeddings: false, initializerRange: 0.2, labels: ["even", "odd"])
  }

  /// With labels where the model is a classifier.
  private static func dataset(for model: ModelConfiguration) -> TokenizedDataset {
    guard let labels = model.labels else {
      return TokenizedDataset(RecordStore(texts), tokenizer: ByteTokenizer(), longestSequence: model.positions)
    }
    let records = texts.enumerated().map { (texts: [$1], label: Int32($0 % labels.count)) }
    return TokenizedDataset(
      RecordStore(labelled: records), tokenizer: ByteTokenizer(), format: .classification, longestSequence: model.positions)
  }

  private static func replica(
    _ mode: TrainingMode, _ clipping: Clipping, model: ModelConfiguration, maxGradNorm: Double, microbatch: Int,
    dataset: TokenizedDataset
  ) throws -> ModelReplica {
    let plan = ReplicaPlan(
      model: model, mode: mode, clipping: clipping, maxGradNorm: maxGradNorm,
      capacity: Microbatch.Capacity(
        units: microbatch, rows: microbatch * dataset.longestSequence, positions: dataset.longestSequence),
      optimizer: nil)
    let replica = try ModelReplica(plan, norms: .timed(plan.timeNorms()))
    let key = RandomKey(seed: 7)
    replica.plan.layout.initialise(replica.parameters, from: GaussianSource(key.subKey(for: .initialisation)))
    // Biases and gains off their defaults, so that an error in them shows.
    GaussianSource(key.subKey(for: .generation)).add(
      step: 0, elements: 0..<replica.parameters.count, scale: 0.1, to: replica.parameters)
    return replica
  }

  /// Norms by tensor and clipped sum, one example at a time, by ordinary backward passes, in double.
  private static func oneAtATime(
    _ clipping: Clipping, model: ModelConfiguration, maxGradNorm: Double, dataset: TokenizedDataset
  ) throws -> (norms: [[Double]], sum: [Double]) {
    let replica = try replica(
      .standard, clipping, model: model, maxGradNorm: maxGradNorm, microbatch: 1, dataset: dataset)
    let layout = replica.plan.layout
    var sum = [Double](repeating: 0, count: layout.totalCount)
    var norms: [[Double]] = []
    for unit in 0..<dataset.count {
      _ = replica.accumulateGradients(of: [unit], in: dataset)
      let gradient = replica.gradientSum
      let squares = layout.map { RowKernels.squaredNorm(Vector(rebasing: gradient[$0.range])) }
      let groups = clipping == .flat ? [squares.reduce(0, +)] : squares
      let bound = maxGradNorm / Double(groups.count).squareRoot()
      norms.append(groups.map { $0.squareRoot() })
      for tensor in layout {
        let factor = min(1, bound / norms[unit][clipping == .flat ? 0 : tensor.index])
        for j in tensor.range { sum[j] += factor * Double(gradient[j]) }
      }
    }
    return (norms, sum)
  }

  private static func norms(clipping: Clipping, model: ModelConfiguration) throws -> Check {
    let dataset = dataset(for: model)
    let maxGradNorm = 2.0
    let expected = try oneAtATime(clipping, model: model, maxGradNorm: maxGradNorm, dataset: dataset)
    var worst = 0.0
    for mode in [TrainingMode.hooks, .ghost] {
      for microbatch in [1, 3, 8] {
        let replica = try replica(
          mode, clipping, model: model, maxGradNorm: maxGradNorm, microbatch: microbatch, dataset: dataset)
        _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset) { batch, factors in
          guard let factors else { return }
          for (example, unit) in batch.units.enumerated() {
            for group in 0..<factors.groups {
              let reference = expected.norms[unit][group]
              let whole = expected.norms[unit].reduce(0) { $0 + $1 * $1 }.squareRoot()
              // A bias of keys that all positions see alike has a gradient of 0, and so have queries and keys of a record of one target: what
              // float32 leaves there is rounding, which is compared on the whole's scale.
              let scale = max(reference, (reference < 1e-5 * whole ? 1e-1 : 1e-3) * whole)
              worst = larger(worst, abs(factors.norm(unit: example, group: group) - reference) / scale)
            }
          }
        }
        worst = larger(worst, relativeDistance(replica.gradientSum, expected.sum))
      }
    }
    let head = model.labels == nil ? model.tiedEmbeddings ? ", tied" : ", untied" : ""
    return Check(
      name: "ghost = hooks = one example at a time (\(model.modelType), \(clipping.rawValue)\(head))", passed: worst < 2e-5,
      detail: "norms and clipped sum differ by \(String(format: "%.1e", worst)) at most, relative")
  }

  /// The larger one; what isn't a number is larger than all: `max` would leave it out.
  private static func larger(_ a: Double, _ b: Double) -> Double { b <= a ? a : b.isNaN ? .infinity : b }

  private static func relativeDistance(_ a: Vector, _ b: [Double]) -> Double {
    var (difference, size) = (0.0, 0.0)
    for (x, y) in zip(a, b) {
      difference += (Double(x) - y) * (Double(x) - y)
      size += y * y
    }
    return (difference / size).squareRoot()
  }

  /// A position's embedding is not a number: records that reach it count for nothing, and the others as if they were alone.
  private static func nonFiniteExample(_ mode: TrainingMode) throws -> Check {
    let model = try gpt2(tied: true)
    let dataset = TokenizedDataset(
      RecordStore(texts), tokenizer: ByteTokenizer(), longestSequence: model.positions)
    let poisoned = 30
    let sound = (0..<dataset.count).filter { dataset.targetCount(of: $0) <= poisoned }
    var sums: [[Double]] = []
    var nonFinite = 0
    for units in [Array(0..<dataset.count), sound] {
      let replica = try replica(mode, .flat, model: model, maxGradNorm: 2, microbatch: 8, dataset: dataset)
      let positions = replica.plan.layout.first { $0.stage == 0 && $0.shape.first == model.positions }
      guard let positions else { preconditionFailure("a model without a table of positions") }
      replica.parameters[positions.offset + poisoned * model.width] = .nan
      nonFinite += replica.accumulateGradients(of: units, in: dataset).clipping.nonFinite
      sums.append(replica.gradientSum.map(Double.init))
    }
    let distance = zip(sums[0], sums[1]).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
    let expected = dataset.count - sound.count
    return Check(
      name: "an example that isn't finite contributes nothing (\(mode.rawValue))",
      passed: nonFinite == expected && expected > 0 && distance < 1e-5 * sums[1].reduce(0) { $0 + $1 * $1 }.squareRoot(),
      detail: "\(nonFinite) of \(dataset.count) left out, the sum of the others is theirs")
  }
}

// MARK: Noise and accountants

extension SelfTest {
  /// Chance of a false alarm: below 1e-6 (5 standard errors of a variance).
  private static func noiseVariance() -> Check {
    let count = 1 << 18
    let sigma = 1.7
    let values = AlignedBuffer<Float>(count: count)
    let sum = ClippedGradientSum(
      WholeGradientSum(TensorSlab(values.base, extents: [.init(offset: 0, rows: 1, columns: count)])), maxGradNorm: 2)
    let source = GaussianSource(RandomKey(seed: 11).subKey(for: .noise))
    GaussianMechanism(noiseMultiplier: sigma, expectedBatchSize: 1, source: source).addNoise(to: sum, step: 3)
    let expected = (sigma * 2) * (sigma * 2)
    let variance = RowKernels.squaredNorm(values.elements) / Double(count)
    let tolerance = 5 * expected * (2 / Double(count)).squareRoot()
    return Check(
      name: "noise has variance (sigma C)^2", passed: abs(variance - expected) < tolerance,
      detail: "\(variance.formatted(digits: 4)) for \(expected.formatted(digits: 4)) +- \(tolerance.formatted(digits: 4))")
  }

  /// Exact values by contour integration of the privacy loss' moment generating function.
  private static func accountants() throws -> [Check] {
    let known: [(q: Double, sigma: Double, steps: Int, delta: Double, exact: Double)] = [
      (0.01, 1.0, 10000, 1e-6, 6.907384495045089), (256.0 / 60000, 1.3, 3515, 1e-5, 0.864409916888365),
    ]
    return try known.flatMap { q, sigma, steps, delta, exact in
      let phase = try DPSGDPhase(samplingRate: q, noiseMultiplier: sigma, steps: steps)
      return try [AccountantKind.pld, .rdp].map { kind in
        let bounds = try Accounting.epsilon(of: [phase], delta: delta, accountant: kind)
        // RDP is an upper bound too, but not a tight one.
        let slack = kind == .pld ? max(0.01 * exact, 0.001) : 0.15 * exact
        return Check(
          name: "\(kind.rawValue) accountant at q \(q.formatted(digits: 4)), sigma \(sigma), \(steps) steps",
          passed: bounds.upper >= exact - 1e-9 && bounds.upper <= exact + slack,
          detail: "epsilon \(bounds.upper.formatted(digits: 5)), exactly \(exact.formatted(digits: 5))")
      }
    }
  }
}

// MARK: Training

extension SelfTest {
  private static func trains(_ mode: TrainingMode, environment: MPIEnvironment) throws -> Check {
    var configuration = TrainingConfiguration()
    configuration.mode = mode
    configuration.batchSize = 64
    configuration.sequenceLength = 64
    configuration.length = .steps(15)
    configuration.learningRate = 3e-3
    configuration.seed = 1
    if mode.isPrivate { configuration.noise = .multiplier(0.5) }
    let report = try Trainer(configuration, environment: environment).run()
    let (first, last) = (report.lossFirst ?? .nan, report.lossLast ?? .nan)
    return Check(
      name: "\(mode.rawValue) trains", passed: last < first - 0.5,
      detail: "loss \(first.formatted(digits: 3)) -> \(last.formatted(digits: 3)) nats in \(report.steps) steps")
  }
}
