import ArgumentParser
import DistEngine
import PrivacyAccounting

extension TrainingMode: ExpressibleByArgument {}
extension Clipping: ExpressibleByArgument {}
extension TrainableParameters: ExpressibleByArgument {}
extension Recomputation: ExpressibleByArgument {}
extension TrainingConfiguration.Sampler: ExpressibleByArgument {}
extension LearningRateSchedule.Shape: ExpressibleByArgument {}

extension TokenizerKind {
  static let help: String =
    "A tokenizer.json or a directory that holds one; bytes: ids 0-255 are bytes, 256 is <|endoftext|>; auto: a model directory's own, bytes for "
    + "a preset."
}

/// `auto`, or a number.
enum Automatic: ExpressibleByArgument {
  case auto
  case number(Int)

  init?(argument: String) {
    if argument == "auto" {
      self = .auto
    } else if let number = Int(argument) {
      self = .number(number)
    } else {
      return nil
    }
  }

  var number: Int? {
    if case .number(let number) = self { number } else { nil }
  }
}

/// Names with commas between them, as they stand.
enum FieldNames {
  static func list(_ argument: String) -> [String] { argument.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
}

struct DataOptions: ParsableArguments {
  @Option(help: "standard, hooks (materialised per-example gradients) or ghost (ghost clipping).")
  var mode = TrainingMode.ghost

  @Option(help: "A preset (\(ModelPreset.allCases.map(\.rawValue).joined(separator: ", "))) or a model directory in Hugging Face's layout.")
  var model = "tiny"

  @Flag(help: "Take for granted that the model directory was trained without these records, whatever its privacy.json says.")
  var baseIsPublic = false

  @Option(
    help: ArgumentHelp(
      "Training records: .txt (a line a record), .jsonl, .csv, .tsv, or builtin (5,574 SMS messages, a tenth held out; default). Repeated for several "
        + "files."))
  var data: [String] = []

  @Option(help: "Records to evaluate on. Repeated for several files.")
  var evalData: [String] = []

  @Option(help: ArgumentHelp("The field of a .jsonl, .csv or .tsv record that holds the text; two with a comma are a pair.", valueName: "name[,name]"))
  var textField = "text"

  @Option(help: "The field of what the text completes. It carries no loss: what is trained is the text behind it.")
  var promptField: String?

  @Option(help: "The field of a record's label: the model classifies.")
  var labelField: String?

  @Option(help: ArgumentHelp("The labels that there are, which is public (default: the model's own).", valueName: "a,b,c"))
  var labels: String?

  @Option(help: "The field that names whose record it is: all records of one name are one unit of privacy, which the guarantee is for.")
  var unit: String?

  @Option(help: "The most records of a unit that take part in a step (default: \(TrainingConfiguration.standardRecordsPerUnit)).")
  var maxRecordsPerUnit: Int?

  @Option(
    help: ArgumentHelp(
      "all; bias: every bias; head: the language head, with the table that it shares; lora: adapters of low rank. What isn't trained has no gradient and "
        + "no noise (default: all; lora with --adapter).",
      valueName: TrainableParameters.allCases.map(\.rawValue).joined(separator: "|")))
  var trainable: TrainableParameters?

  @Option(help: "r: rank of the adapters (default: \(LoRAOptions.standardRank)).")
  var loraRank: Int?

  @Option(help: "alpha: what an adapter computes is scaled by alpha/r (default: 2r).")
  var loraAlpha: Double?

  @Option(
    help: ArgumentHelp(
      "The linear layers that have an adapter, as q_proj,v_proj, or \(LowRankAdapters.Targets.allLinearName): attention's and the feed-forward layers' "
        + "(default).", valueName: "name,…|\(LowRankAdapters.Targets.allLinearName)"))
  var loraTargets: String?

  @Flag(help: "Train the adapters' B alone; A stays as it is.")
  var loraFreezeA = false

  @Option(help: "The directory of an adapter, in PEFT's layout, that stands beside the model: it is what is trained.")
  var adapter: String?

  @Option(help: ArgumentHelp(TokenizerKind.help, valueName: "auto|bytes|file"))
  var tokenizer = AutomaticOr<TokenizerKind>.auto

  @Option(help: "T: longer records are cut to T targets (default: what the records need, at most the model's positions, and 1024).")
  var seqLen: Int?

  @Option(help: "N0: public number of units (of records without --unit), for the sampling rate and delta (default: the number in the training data).")
  var datasetSize: Int?

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.mode = mode
    configuration.model = model
    configuration.baseIsPublic = baseIsPublic
    if !data.isEmpty { configuration.data = data }
    configuration.evaluationData = evalData
    configuration.textFields = FieldNames.list(textField)
    configuration.promptField = promptField
    configuration.labelField = labelField
    configuration.labels = labels.map(FieldNames.list)
    configuration.unitField = unit
    if let maxRecordsPerUnit { configuration.maxRecordsPerUnit = maxRecordsPerUnit }
    configuration.trainable = trainable ?? (adapter == nil ? .all : .lora)
    configuration.adapter = adapter
    configuration.lora.rank = loraRank
    configuration.lora.alpha = loraAlpha
    configuration.lora.targets = loraTargets.map { $0 == LowRankAdapters.Targets.allLinearName ? .allLinear : .modules(FieldNames.list($0)) }
    configuration.lora.freezesDown = loraFreezeA
    configuration.sequenceLength = seqLen
    configuration.tokenizer = tokenizer.value
    configuration.datasetSize = datasetSize
  }
}

struct ClippingOptions: ParsableArguments {
  @Option(help: "flat: one factor for an example's whole gradient; per-layer: one for each parameter tensor.")
  var clipping = Clipping.flat

  @Option(help: "C: bound of one example's gradient norm.")
  var maxGradNorm = 1.0

  @Option(help: "Examples processed at a time, or auto. Changes time and memory, not the result.")
  var microbatch = Automatic.auto

  @Option(help: "blocks: keep only the blocks' inputs, compute their activations again. Less memory, more time, the same result.")
  var recompute = Recomputation.none
  @Option(help: "Threads of a rank; auto: one for each core that the rank was given.")
  var threads = Automatic.auto

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.clipping = clipping
    configuration.maxGradNorm = maxGradNorm
    configuration.performance.microbatch = microbatch.number
    configuration.performance.recompute = recompute
    configuration.performance.threads = threads.number
  }
}

struct PrivacyOptions: ParsableArguments {
  @Option(help: "Expected batch size B: each unit (each record without --unit) takes part in a step with probability B/N0.")
  var batchSize: Int?

  @Option(help: "Steps to run.")
  var steps: Int?

  @Option(help: "Steps as passes over the data: ceil(E * N0 / B).")
  var epochs: Double?

  @Option(help: "sigma: standard deviation of the noise over C.")
  var noiseMultiplier: Double?

  @Option(help: "Calibrates sigma so that the run's steps spend at most this epsilon (builtin data: 8 unless stated).")
  var targetEpsilon: Double?

  @Option(help: "delta (default: 1/(10 * N0)).")
  var targetDelta: Double?

  @Option(help: "pld (rigorous and tight), rdp (an upper bound, looser), gdp (an approximation).")
  var accountant = "pld"

  @Option(help: "What an earlier run spent on the same records, as q:sigma:steps (0.01:1.1:5000); repeated for several.")
  var spent: [String] = []

  @Option(help: "poisson; shuffle for --mode standard alone.")
  var sampler = TrainingConfiguration.Sampler.poisson

  func apply(to configuration: inout TrainingConfiguration) throws {
    if noiseMultiplier != nil && targetEpsilon != nil {
      throw UsageError(description: "--noise-multiplier and --target-epsilon: give one, the other follows from it")
    }
    if steps != nil && epochs != nil { throw UsageError(description: "--steps and --epochs: give one of them") }
    guard let kind = AccountantKind(name: accountant) else {
      throw UsageError(
        description:
          "--accountant \(accountant): must be one of \(AccountantKind.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    if let batchSize { configuration.batchSize = batchSize }
    if let steps { configuration.length = .steps(steps) }
    if let epochs { configuration.length = .epochs(epochs) }
    configuration.noise = noiseMultiplier.map { .multiplier($0) } ?? targetEpsilon.map { .targetEpsilon($0) }
    configuration.targetDelta = targetDelta
    configuration.accountant = kind
    configuration.spent = try spent.map { try PhaseOptions.phase("--spent", $0) }
    configuration.sampler = sampler
  }
}

enum OptimizerName: String, CaseIterable, ExpressibleByArgument {
  case sgd, adamw
}

struct OptimizationOptions: ParsableArguments {
  @Option(help: "sgd or adamw.")
  var optimizer = OptimizerName.adamw

  @Option(help: "Learning rate after the warm-up.")
  var learningRate: Double?

  @Option(help: "Momentum of sgd.")
  var momentum: Double?

  @Option(help: "Decay of adamw's first moment (default: 0.9).")
  var beta1: Double?

  @Option(help: "Decay of adamw's second moment (default: 0.999).")
  var beta2: Double?

  @Option(help: "Added to adamw's denominator (default: 1e-8).")
  var epsilonAdam: Double?

  @Option(help: "Weight decay (default: 0.01 with adamw, 0 with sgd).")
  var weightDecay: Double?

  @Option(help: "Steps over which the learning rate rises.")
  var warmup = 0

  @Option(help: "constant, linear or cosine.")
  var schedule = LearningRateSchedule.Shape.constant

  func apply(to configuration: inout TrainingConfiguration) throws {
    switch optimizer {
    case .sgd:
      if beta1 != nil || beta2 != nil || epsilonAdam != nil {
        throw UsageError(description: "--beta1, --beta2 and --epsilon-adam are for --optimizer adamw")
      }
      configuration.optimizer = .sgd(momentum: momentum ?? 0, weightDecay: weightDecay ?? 0)
    case .adamw:
      if momentum != nil { throw UsageError(description: "--momentum is for --optimizer sgd; adamw has --beta1") }
      configuration.optimizer = .adamW(
        beta1: beta1 ?? 0.9, beta2: beta2 ?? 0.999, epsilon: epsilonAdam ?? 1e-8, weightDecay: weightDecay ?? 0.01)
    }
    if let learningRate { configuration.learningRate = learningRate }
    configuration.warmupSteps = warmup
    configuration.schedule = schedule
  }
}

struct ShardingOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How ranks divide the model's state. none: every rank holds all; optimizer: its state in slices; node: parameters once a node, sums and "
        + "optimizer state in slices; auto: node where ranks share a node.",
      valueName: "auto|none|optimizer|node"))
  var shard = AutomaticOr<Sharding>.auto

  @Option(
    help: ArgumentHelp("Who draws the noise: rank0 (of a sum that isn't sharded), or each rank its slice's.", valueName: "auto|rank0|sharded"))
  var noise = AutomaticOr<NoisePlacement>.auto

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.performance.sharding = shard.value
    configuration.performance.noise = noise.value
  }
}

/// `auto`, or one of an enumeration's names.
enum AutomaticOr<Value: RawRepresentable & CaseIterable>: ExpressibleByArgument where Value.RawValue == String {
  case auto
  case value(Value)

  init?(argument: String) {
    if argument == "auto" {
      self = .auto
    } else if let value = Value(rawValue: argument) {
      self = .value(value)
    } else {
      return nil
    }
  }

  static var allValueStrings: [String] { ["auto"] + Value.allCases.map(\.rawValue) }

  var defaultValueDescription: String {
    if case .value(let value) = self { value.rawValue } else { "auto" }
  }

  var value: Value? {
    if case .value(let value) = self { value } else { nil }
  }
}

struct MemoryOptions: ParsableArguments {
  @Option(
    help: "What a rank's buffers may need, as 3000MB or 3GB; or, for ghost, over what standard needs, as 15%. The fastest way within it is taken."
  )
  var memoryBudget = MemoryBudget.standard.description

  func apply(to configuration: inout TrainingConfiguration) throws {
    guard let budget = MemoryBudget(parsing: memoryBudget) else {
      throw UsageError(description: "--memory-budget \(memoryBudget): must be a size, as 3000MB or 3GB, or a part, as 15%")
    }
    configuration.performance.memoryBudget = budget
  }
}

struct PrecisionOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Operands of the linear layers' products in passes: f32; bf16, rounded, with sums in float32; auto: bf16 where the processor has such products and "
        + "the model 10 M parameters.", valueName: "f32|bf16|auto"))
  var precision = AutomaticOr<Precision>.value(.f32)
}

struct RunOptions: ParsableArguments {
  @Option(help: "A seed, for tests: the run is reproducible and NOT private.")
  var seed: UInt64?

  @Option(help: "Where the model, the metrics and the privacy statement go. Nothing is written without it.")
  var output: String?

  @Option(help: "Steps between lines that state epsilon (default: a twentieth of the run).")
  var logEvery: Int?

  @Option(help: "Steps between evaluations (default: at the end).")
  var evalEvery: Int?

  @Flag(help: "Go on with the run in --output, on any number of ranks; start it where there is none; end at once where it is done.")
  var resume = false

  @Option(help: "Steps between checkpoints (default: --checkpoint-seconds alone decides).")
  var checkpointEvery: Int?

  @Option(help: "Seconds between checkpoints; 0: never by time.")
  var checkpointSeconds = 600

  @Option(help: "Checkpoints kept while the run goes on; the last one when it is done.")
  var keepCheckpoints = 2

  @Option(help: "Seconds that a rank waits in one collective before it ends the job.")
  var collectiveTimeout = 600

  @Flag(help: "For developers: let a rank that crashes dump its memory, with records and the key in it, but for the large buffers.")
  var allowCoreDumps = false

  @Flag(help: "No progress bar.")
  var noProgress = false

  @Flag(help: "Say at the end where a step's time went: gradients, noise, update, communication.")
  var timings = false

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  func validate() throws {
    guard collectiveTimeout >= 1 else {
      throw UsageError(description: "--collective-timeout \(collectiveTimeout): must be 1 or more")
    }
  }

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.seed = seed
    configuration.output = output
    configuration.logEvery = logEvery
    configuration.evaluateEvery = evalEvery
    configuration.resumes = resume
    configuration.checkpointEvery = checkpointEvery
    configuration.checkpointSeconds = checkpointSeconds
    configuration.keepCheckpoints = keepCheckpoints
  }
}

/// Everything that describes a training run.
struct TrainOptions: ParsableArguments {
  @OptionGroup var data: DataOptions
  @OptionGroup var clipping: ClippingOptions
  @OptionGroup var privacy: PrivacyOptions
  @OptionGroup var optimization: OptimizationOptions
  @OptionGroup var memory: MemoryOptions
  @OptionGroup var sharding: ShardingOptions
  @OptionGroup var precision: PrecisionOptions
  @OptionGroup var run: RunOptions

  func makeConfiguration() throws -> TrainingConfiguration {
    var configuration = TrainingConfiguration()
    data.apply(to: &configuration)
    clipping.apply(to: &configuration)
    try privacy.apply(to: &configuration)
    try optimization.apply(to: &configuration)
    try memory.apply(to: &configuration)
    sharding.apply(to: &configuration)
    configuration.precision = precision.precision.value
    run.apply(to: &configuration)
    try configuration.validate()
    return configuration
  }
}
