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
  public var performance = PerformanceOptions()

  public init() {}

  /// The target of a private run on the built-in corpus that names neither σ nor ε.
  public static let builtinTargetEpsilon = 8.0
  /// More steps, or examples in a microbatch, than any run has: a slip of the keyboard, refused before it overflows a product.
  package static let mostSteps = 100_000_000
  package static let mostExamples = 1_000_000
}

/// Why a run is refused.
public enum TrainingError: UserError, Equatable {
  /// An option whose value can't be, whatever the data.
  case badOption(option: String, value: String, allowed: String)
  case conflictingOptions(String)
  /// A private mode on other than the built-in data needs its noise stated.
  case noNoise
  case batchLargerThanData(batch: Int, datasetSize: Int)
  case sequenceLongerThanModel(length: Int, positions: Int)
  case sequenceLongerThanWindow(length: Int, window: Int)
  /// No record has a target that carries loss.
  case nothingCounts(data: String)
  /// A classification of which nobody says what labels there are.
  case noLabels
  /// An encoder predicts no next token.
  case encoderWithoutLabels(model: String)
  /// A classifier's head predicts no next token.
  case classifierWithoutLabels(model: String)
  /// Neither an encoder nor a classifier's head can write texts.
  case continuesNoText(model: String, isClassifier: Bool)
  /// A model without a classifier where a trained one is needed.
  case noClassifier(model: String)
  /// Stated labels that aren't a trained classifier's.
  case otherLabels(model: String, own: [String], stated: [String])
  case vocabularyTooSmall(tokenizer: Int, model: Int)
  case tokenTypesTooMany(file: String, types: Int32, model: Int)
  case outputHoldsRun(String)
  /// A preset where trained weights are needed.
  case noWeights(preset: String)
  /// An adapter beside a preset, whose parameters are other ones each time.
  case adapterOfPreset(preset: String)
  /// A model directory has a tokenizer of its own, which can't be used here.
  case foreignTokenizer(file: String)
  /// Neither tokenizer nor model say what ends texts.
  case noEndOfText(tokenizer: String)
  /// A model directory has none, and wasn't trained on bytes.
  case noTokenizer(directory: String)
  /// Bytes that the smallest plan needs.
  case overBudget(needed: Int, budget: MemoryBudget)
  /// A node has not what the ranks on it need: which, and what would fit.
  case notEnoughMemory(String)
  /// What a rank has read or was told differs from rank 0's.
  case ranksDisagree(what: String, rank: Int, host: String)
  case diverged(step: Int)
  case lossNotFinite(step: Int)
  /// 1-based.
  case logitsNotFinite(record: Int)
  /// A second run of one trainer would draw the first one's noise again.
  case alreadyRun
  case parametersDiffer(step: Int)
  /// No gradient covers them: they would be in no norm, and stay as they are.
  case tensorsWithoutGradient([String])

  public var exitStatus: Int32 {
    switch self {
    case .badOption, .conflictingOptions: ExitStatus.usage
    case .parametersDiffer, .alreadyRun, .tensorsWithoutGradient: ExitStatus.internalError
    default: ExitStatus.refused
    }
  }

  public var description: String {
    switch self {
    case .badOption(let option, let value, let allowed): "\(option) \(value): must be \(allowed)"
    case .conflictingOptions(let what): what
    case .noNoise:
      "a private mode on your own data needs --noise-multiplier or --target-epsilon: how much privacy is enough is yours to say"
    case .batchLargerThanData(let batch, let size):
      "--batch-size \(batch) is larger than the data set of \(size) records: must be at most that many"
    case .sequenceLongerThanWindow(let length, let window):
      "--seq-len \(length): attention of this model looks back \(window) positions (sliding_window), and is computed here whole: must be at most \(window)"
    case .sequenceLongerThanModel(let length, let positions):
      "--seq-len \(length) is beyond the model's \(positions) positions: must be at most that many"
    case .nothingCounts(let data):
      "\(data): every prompt fills --seq-len, so that no completion is left: allow longer sequences"
    case .noLabels:
      "--label-field: which labels there are is public, and neither --labels nor the model says it: --labels a,b,c does"
    case .encoderWithoutLabels(let model):
      "--model \(model) is an encoder, which has no next token to predict: it classifies, so --label-field must name the field of the labels"
    case .classifierWithoutLabels(let model):
      "--model \(model) is a classifier, which has no next token to predict: --label-field must name the field of the labels"
    case .continuesNoText(let model, let isClassifier):
      "--model \(model) is \(isClassifier ? "a classifier" : "an encoder"), which continues no text: generate needs a language model"
        + (isClassifier ? "; classify says its labels" : "")
    case .noClassifier(let model): "--model \(model) has no classifier: one that was trained with --label-field has"
    case .otherLabels(let model, let own, let stated):
      "--labels: the classifier of \(model) knows \(ModelTask.listed(own)), not \(ModelTask.listed(stated)): it can't be evaluated on those"
    case .vocabularyTooSmall(let tokenizer, let model):
      "the tokenizer makes \(tokenizer) ids and the model's vocabulary has \(model): the model must have at least as many"
    case .tokenTypesTooMany(let file, let largest, let model):
      "\(file): the post-processor gives token type \(largest) and the model has \(model): the model must have more (type_vocab_size)"
    case .noWeights(let preset):
      "--model \(preset) is a preset, which has no weights: name a model directory"
        + (ModelPreset.isAlsoDirectory(preset) ? " (./\(preset) is the one that lies here)" : "")
    case .adapterOfPreset(let preset):
      "--model \(preset) is a preset, whose parameters are new in every run: an adapter needs the model that it stands beside, so name a model directory"
    case .foreignTokenizer(let file):
      "\(file): the model's ids are those of this tokenizer, which is not read here: --tokenizer names a tokenizer.json "
        + "with the same ids; --tokenizer bytes makes ids of bytes all the same"
    case .noEndOfText(let tokenizer):
      "\(tokenizer): has no token named <|endoftext|>, <|end_of_text|>, </s> or [SEP], and no eos_token_id of the model says what ends texts"
    case .noTokenizer(let directory):
      "\(directory): holds no tokenizer.json, and its config.json doesn't end texts with 256, as models of bytes do: --tokenizer names one, or is bytes"
    case .overBudget(let needed, let budget):
      "--memory-budget \(budget): a rank's buffers need \((needed - 1) / MemoryMeter.megabyte + 1)MB at least: allow that many, or lower --microbatch or --seq-len"
    case .notEnoughMemory(let what): "the run \(what)"
    case .outputHoldsRun(let path): "--output \(path) holds a run already: name another directory"
    case .ranksDisagree(let what, let rank, let host):
      "\(what) of rank \(rank) on \(host) differ from those of rank 0: every host must have the same files and options"
    case .lossNotFinite(let step): "no loss is finite at step \(step): the run diverged; a smaller --learning-rate may help"
    case .logitsNotFinite(let record): "record \(record): what the model computes is not finite: its parameters are too large"
    case .alreadyRun: "a trainer runs once: a second run would draw the same noise again"
    case .diverged(let step): "the parameters are not finite after step \(step): a smaller --learning-rate or less noise may help"
    case .tensorsWithoutGradient(let names): "no gradient covers \(names.joined(separator: ", ")): they would be in no norm and never be trained"
    case .parametersDiffer(let step): "the ranks' parameters differ after step \(step): their processors or libraries disagree"
    }
  }
}

extension TrainingConfiguration {
  /// Refuses values that can't be, whatever the data and the model.
  /// What the guarantee is for, as a statement says it.
  package var unitDescription: String { unitField.map { "all records of the same \($0)" } ?? "record" }

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

  private func validateAdapters(
    _ check: (Bool, String, Any, String) throws(TrainingError) -> Void
  ) throws(TrainingError) {
    if let rank = lora.rank { try check((1...LoRAOptions.mostRank).contains(rank), "--lora-rank", rank, "1 to \(LoRAOptions.mostRank)") }
    if let alpha = lora.alpha { try check(alpha > 0 && alpha.isFinite, "--lora-alpha", alpha, "a number above 0") }
    if case .modules(let names)? = lora.targets {
      try check(
        !names.isEmpty && !names.contains(""), "--lora-targets", names.joined(separator: ","),
        "names of linear layers, as q_proj,v_proj, or \(LowRankAdapters.Targets.allLinearName)")
    }
    if adapter != nil && trainable != .lora {
      throw .conflictingOptions("--trainable \(trainable.rawValue): with --adapter it is the adapter that is trained: leave out --trainable, or merge the adapter first")
    }
    if trainable != .lora && lora != LoRAOptions() {
      throw .conflictingOptions("--lora-rank, --lora-alpha, --lora-targets and --lora-freeze-a are for --trainable lora")
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
