import ArgumentParser
import DistEngine
import PrivacyAccounting

extension Clipping: ExpressibleByArgument {}
extension Recomputation: ExpressibleByArgument {}
extension TrainingConfiguration.Sampler: ExpressibleByArgument {}
extension LearningRateSchedule.Shape: ExpressibleByArgument {}

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
