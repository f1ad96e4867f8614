import PrivacyAccounting

/// What a training run is asked to do: the options of `dp-mpirun train`, with their defaults.
public struct TrainingConfiguration: Sendable {
  /// How the noise multiplier is found.
  public enum Noise: Sendable, Equatable {
    /// σ as given.
    case multiplier(Double)
    /// The smallest σ with which the run's steps stay within ε.
    case targetEpsilon(Double)
  }

  public enum Length: Sendable, Equatable {
    case steps(Int)
    /// steps = ceil(E·N₀/B).
    case epochs(Double)
  }

  public enum Sampler: String, Codable, CaseIterable, Sendable {
    case poisson, shuffle
  }

  /// Which parameters are trained.
  public var trainable = TrainableParameters.all
  /// What is asked of adapters, where they are trained.
  public var lora = LoRAOptions()
  /// The directory of the adapter that stands beside the model, and is trained on where something is trained.
  public var adapter: String?
  public var mode = TrainingMode.ghost
  public var clipping = Clipping.flat
  public var maxGradNorm = 1.0
  /// A preset's name or a model directory.
  public var model = "tiny"
  /// Files whose records follow each other, or `builtin`.
  public var data = [Corpus.builtinName]
  /// Empty: none of one's own.
  public var evaluationData: [String] = []
  /// The field that names the unit of privacy a record belongs to; nil: every record is one.
  public var unitField: String?
  /// The most records of a unit that take part in a step.
  public var maxRecordsPerUnit = Self.standardRecordsPerUnit
  public static let standardRecordsPerUnit = 8
  /// The field of the text, or those of two that are taken as a pair.
  public var textFields = ["text"]
  /// The field of what a text completes: it carries no loss.
  public var promptField: String?
  /// The field of the label: a classification.
  public var labelField: String?
  /// Whether records are classified that have no label.
  public var isUnlabelled = false
  package var isClassification: Bool { labelField != nil || isUnlabelled }
  /// The labels that there are; nil takes the model's own.
  public var labels: [String]?
  /// nil: that of a model directory; bytes for a preset.
  public var tokenizer: TokenizerKind?
  /// T; nil takes what the records need, at most the model's positions.
  public var sequenceLength: Int?
  /// N₀; nil takes the number of training records, which is then treated as public.
  public var datasetSize: Int?
  public var batchSize = 256
  public var length = Length.steps(100)
  public var noise: Noise?
  /// nil: 1/(10·N₀).
  public var targetDelta: Double?
  public var accountant = AccountantKind.pld
  /// What earlier runs spent on the same records.
  public var spent: [DPSGDPhase] = []
  /// Whether it is taken for granted that the start model has seen none of the records.
  public var baseIsPublic = false
  public var optimizer = OptimizerConfiguration.adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01)
  public var learningRate = 1e-3
  public var warmupSteps = 0
  public var schedule = LearningRateSchedule.Shape.constant
  public var sampler = Sampler.poisson
  public var seed: UInt64?
  public var output: String?
  public var evaluateEvery: Int?
  public var logEvery: Int?
  /// Whether a run in ``output`` that was cut off goes on.
  public var resumes = false
  /// Steps from one checkpoint to the next; nil: time alone decides.
  public var checkpointEvery: Int?
  /// Seconds from one checkpoint to the next; 0: steps alone decide.
  public var checkpointSeconds = 600
  /// Checkpoints that are kept while the run goes on.
  public var keepCheckpoints = 2
  /// Of the linear layers' products; nil: by processor and model (`auto`).
  public var precision: Precision? = .f32
  public var performance = PerformanceOptions()

  public init() {}

  /// The target of a private run on the built-in corpus that names neither σ nor ε.
  public static let builtinTargetEpsilon = 8.0
  /// More steps, or examples in a microbatch, than any run has: a slip of the keyboard, refused before it overflows a product.
  package static let mostSteps = 100_000_000
  package static let mostExamples = 1_000_000
}

extension TrainingConfiguration {
  /// What the guarantee is for, as a statement says it.
  package var unitDescription: String { unitField.map { "all records of the same \($0)" } ?? "record" }

  /// Refuses values that can't be, whatever the data and the model.
  public func validate() throws(TrainingError) {
    func check(_ condition: Bool, _ option: String, _ value: Any, _ allowed: String) throws(TrainingError) {
      guard condition else { throw .badOption(option: option, value: "\(value)", allowed: allowed) }
    }
    try validateFields()
    try validateAdapters(check)
    try check(batchSize >= 1, "--batch-size", batchSize, "1 or more")
    // Squares are float32, with an absolute rounding error of 2^-150 once they are subnormal: 10^10 of them are off by 10^-35, which is
    // 10^-11 of C^2 at the lower end; at the upper one C^2 is 10^14 times below the largest float32.
    try check((1e-12...1e12).contains(maxGradNorm), "--max-grad-norm", maxGradNorm, "1e-12 to 1e12: its square must be well within 32-bit floats")
    if let sequenceLength { try check(sequenceLength >= 1, "--seq-len", sequenceLength, "1 or more") }
    try check(maxRecordsPerUnit >= 1, "--max-records-per-unit", maxRecordsPerUnit, "1 or more")
    if unitField == nil && maxRecordsPerUnit != Self.standardRecordsPerUnit {
      throw .conflictingOptions("--max-records-per-unit is for --unit: without it every record is a unit")
    }
    if let datasetSize { try check(datasetSize >= 1, "--dataset-size", datasetSize, "1 or more") }
    if let microbatch = performance.microbatch {
      try check((1...Self.mostExamples).contains(microbatch), "--microbatch", microbatch, "1 to \(Self.mostExamples), or auto")
    }
    try performance.validateThreads()
    switch length {
    case .steps(let steps): try check((0...Self.mostSteps).contains(steps), "--steps", steps, "0 to \(Self.mostSteps)")
    case .epochs(let epochs):
      try check((0...Double(Self.mostSteps)).contains(epochs), "--epochs", epochs, "0 to \(Self.mostSteps)")
    }
    switch noise {
    case .multiplier(let sigma)?:
      try check(sigma >= 0 && sigma.isFinite, "--noise-multiplier", sigma, "0 or a number above it")
    case .targetEpsilon(let epsilon)?:
      try check(epsilon > 0 && epsilon.isFinite, "--target-epsilon", epsilon, "a number above 0")
    case nil: break
    }
    if let targetDelta { try check(targetDelta > 0 && targetDelta < 1, "--target-delta", targetDelta, "above 0 and below 1") }
    try check(learningRate >= 0 && learningRate.isFinite, "--learning-rate", learningRate, "0 or a number above it")
    try check(warmupSteps >= 0, "--warmup", warmupSteps, "0 or more")
    if let evaluateEvery { try check(evaluateEvery >= 1, "--eval-every", evaluateEvery, "1 or more") }
    if let logEvery { try check(logEvery >= 1, "--log-every", logEvery, "1 or more") }
    if let checkpointEvery { try check(checkpointEvery >= 1, "--checkpoint-every", checkpointEvery, "1 or more") }
    try check(checkpointSeconds >= 0, "--checkpoint-seconds", checkpointSeconds, "0 (never by time) or more")
    try check((1...1000).contains(keepCheckpoints), "--keep-checkpoints", keepCheckpoints, "1 to 1000")
    if output == nil {
      if resumes { throw .conflictingOptions("--resume goes on with the run in --output, which isn't given") }
      if checkpointEvery != nil { throw .conflictingOptions("--checkpoint-every writes into --output, which isn't given") }
    }
    try validateOptimizer(check)
    if sampler == .shuffle && mode.isPrivate {
      throw .conflictingOptions("--sampler shuffle is for --mode standard alone: a shuffled batch has no privacy amplification by sampling")
    }
    if let sharding = performance.sharding, sharding != .none, performance.noise == .rank0 {
      throw .conflictingOptions(
        "--noise rank0: no rank holds the sum with --shard \(sharding.rawValue); leave it out, or use --shard none")
    }
    if mode == .standard && !spent.isEmpty {
      throw .conflictingOptions("--spent is for the private modes: --mode standard states no epsilon")
    }
    if baseIsPublic, ModelPreset(rawValue: model) != nil {
      throw .conflictingOptions("--base-is-public: --model \(model) is a preset with new parameters, which no data have made")
    }
    if mode == .standard && noise != nil {
      throw .conflictingOptions("--mode standard adds no noise: leave out --noise-multiplier and --target-epsilon, or use --mode ghost")
    }
  }

  /// The fields of a record are another each, and the options for a task are for that task.
  private func validateFields() throws(TrainingError) {
    guard (1...2).contains(textFields.count), !textFields.contains("") else {
      throw .badOption(option: "--text-field", value: textFields.joined(separator: ","), allowed: "the name of a field, or two for a pair, as a,b")
    }
    let fields = textFields.map { ("--text-field", $0) } + [("--prompt-field", promptField), ("--label-field", labelField)].compactMap { option, name in
      name.map { (option, $0) }
    }
    for (place, (option, name)) in fields.enumerated() {
      guard let other = fields[..<place].first(where: { $0.1 == name }) else { continue }
      throw .conflictingOptions("\(option) \(name): is the field of \(other.0), too: they must differ")
    }
    if data.count > 1 && data.contains(Corpus.builtinName) || evaluationData.contains(Corpus.builtinName) {
      throw .conflictingOptions("--data builtin stands alone: it is no file, and has its own held-out records")
    }
    if labelField == nil && labels != nil { throw .conflictingOptions("--labels is for --label-field: without it there are no labels") }
    if labelField != nil && promptField != nil {
      throw .conflictingOptions("--prompt-field is for completions, --label-field for a classification: give one of them")
    }
    if !isClassification && textFields.count == 2 {
      throw .conflictingOptions("--text-field \(textFields.joined(separator: ",")): a pair is for --label-field; a language model has --prompt-field")
    }
  }

  private func validateOptimizer(
    _ check: (Bool, String, Any, String) throws(TrainingError) -> Void
  ) throws(TrainingError) {
    switch optimizer {
    case .sgd(let momentum, let decay):
      try check((0..<1).contains(momentum), "--momentum", momentum, "at least 0 and below 1")
      try check(decay >= 0 && decay.isFinite, "--weight-decay", decay, "0 or a number above it")
    case .adamW(let beta1, let beta2, let epsilon, let decay):
      try check((0..<1).contains(beta1), "--beta1", beta1, "at least 0 and below 1")
      try check((0..<1).contains(beta2), "--beta2", beta2, "at least 0 and below 1")
      try check(epsilon > 0 && epsilon.isFinite, "--epsilon-adam", epsilon, "a number above 0")
      try check(decay >= 0 && decay.isFinite, "--weight-decay", decay, "0 or a number above it")
    }
  }
}
