import Foundation

/// The whole configuration of a run, defaults included, with versions, ranks and hosts: `run.json`.
struct RunDescription: Encodable {
  let version = ProgramVersion.current
  let blas: String
  let precision: Precision
  /// What makes bfloat16's products; nil: none are.
  let bfloat16Products: String?
  let started: Date
  /// Every start of the run: when, on what, and the step that its model had been through.
  let starts: [JSONValue]
  let runId: String
  /// Of the training records, by run: this one's and those of the start model's training; the names of files in `seen/`. Of private data, so
  /// here and in no file that is for release.
  let dataFingerprints: [String: String]
  let ranks: Int
  let hosts: [String]
  /// By rank.
  let threads: [Int]
  let mode: TrainingMode
  let model: String
  let modelShape: Shape
  let data: [String]
  let evaluationData: [String]
  let textField: [String]
  let promptField, labelField: String?
  let labels: [String]?
  let tokenizer: String
  /// Of its file, in hexadecimal; nil: bytes.
  let tokenizerSha256: String?
  let unit: String
  let maxRecordsPerUnit: Int?
  let trainable: TrainableParameters
  /// nil: none.
  let adapter: AdapterClaim?
  /// That it was read from; nil: it was new.
  let adapterDirectory: String?
  let trainingRecords: Int
  let trainingUnits: Int
  let evaluationRecords: Int
  let sequenceLength: Int
  let datasetSize: Int
  let batchSize: Int
  let microbatch: Microbatch
  let recompute: Recomputation
  let memoryBudget: String
  let steps: Int
  let sampler: TrainingConfiguration.Sampler
  let clipping: Clipping?
  let maxGradNorm: Double?
  let noiseMultiplier: Double?
  let targetEpsilon: Double?
  let targetDelta: Double?
  let accountant: String?
  let optimizer: Optimizer
  let sharding: Sharding
  let noisePlacement: NoisePlacement
  let reproducible: Bool
  let plannedBytes: Int
  /// Keys that are of the private data, which the guarantee doesn't cover.
  let notCoveredByGuarantee = [
    "training_records", "training_units", "evaluation_records", "sequence_length", "microbatch", "planned_bytes", "data_fingerprints",
  ]

  struct Shape: Encodable {
    let modelType: String
    let vocabularySize, positions, width, layers, heads, keyHeads, headWidth, innerWidth: Int
    let tied: Bool
    let parameters: Int
  }

  struct Microbatch: Encodable {
    let examples, rows: Int
  }

  struct Optimizer: Encodable {
    let name: String
    let learningRate: Double
    let schedule: LearningRateSchedule.Shape
    let warmup: Int
    let momentum, beta1, beta2, epsilon: Double?
    let weightDecay: Double
  }

  /// - Parameter earlier: starts of a run that goes on; nil for one that begins.
  init(_ setup: TrainingSetup, overview: TrainingOverview, environment: MPIEnvironment, earlier: [JSONValue]?) {
    let configuration = setup.configuration
    let shape = setup.model
    blas = MatrixProducts.libraryDescription
    precision = configuration.precision ?? .f32
    bfloat16Products = precision == .bf16 ? BFloat16Probe.description() : nil
    started = Date()
    let start: [String: JSONValue] = [
      "started": .string(started.ISO8601Format()), "ranks": .integer(overview.ranks), "hosts": .array(overview.hosts.map(JSONValue.string)),
      "from_step": .integer(setup.firstStep),
    ]
    starts = (earlier ?? []) + [.object(start)]
    runId = setup.provenance.runID
    dataFingerprints = setup.provenance.fingerprints
    ranks = overview.ranks
    hosts = overview.hosts
    threads = overview.threads
    mode = configuration.mode
    model = configuration.model
    modelShape = Shape(
      modelType: shape.modelType, vocabularySize: shape.vocabularySize, positions: shape.positions, width: shape.width,
      layers: shape.layers, heads: shape.heads, keyHeads: shape.keyHeads, headWidth: shape.headWidth, innerWidth: shape.innerWidth, tied: shape.tiedEmbeddings, parameters: shape.parameterCount)
    data = configuration.data
    evaluationData = configuration.evaluationData
    textField = configuration.textFields
    (promptField, labelField, labels) = (configuration.promptField, configuration.labelField, setup.model.labels)
    trainingRecords = setup.training.count
    unit = configuration.unitDescription
    maxRecordsPerUnit = configuration.unitField == nil ? nil : configuration.maxRecordsPerUnit
    trainingUnits = setup.training.unitCount
    trainable = configuration.trainable
    (adapter, adapterDirectory) = (AdapterClaim(shape), configuration.adapter)
    tokenizer = setup.tokenizer.name
    tokenizerSha256 = (setup.tokenizer as? FileTokenizer)?.digest
    evaluationRecords = setup.evaluation?.count ?? 0
    sequenceLength = setup.training.longestSequence
    datasetSize = setup.datasetSize
    batchSize = configuration.batchSize
    let capacity = setup.plan.capacity
    microbatch = Microbatch(examples: capacity.units, rows: capacity.rows)
    recompute = configuration.performance.recompute
    memoryBudget = configuration.performance.memoryBudget.description
    steps = setup.steps
    sampler = configuration.sampler
    clipping = setup.privacy?.clipping
    maxGradNorm = setup.privacy?.maxGradNorm
    noiseMultiplier = setup.privacy?.noiseMultiplier
    targetEpsilon = setup.targetEpsilon
    targetDelta = setup.privacy?.delta
    accountant = setup.privacy?.accountant.rawValue
    optimizer = Self.optimizer(configuration)
    reproducible = configuration.seed != nil
    sharding = overview.sharding
    noisePlacement = overview.noise
    plannedBytes = overview.plannedBytes
  }

  /// The starts that a run's file tells of; none where it can't be read: they are for people, nothing rests on them.
  static func starts(inFile path: String) -> [JSONValue] {
    guard let bytes = try? FileBytes.read(path), let file = try? JSONScanner.parse(file: bytes) else { return [] }
    return file.object?["starts"]?.array ?? []
  }

  private static func optimizer(_ configuration: TrainingConfiguration) -> Optimizer {
    var momentum: Double?
    var adam: (beta1: Double, beta2: Double, epsilon: Double)?
    let decay: Double
    switch configuration.optimizer {
    case .sgd(let value, let weightDecay): (momentum, decay) = (value, weightDecay)
    case .adamW(let beta1, let beta2, let epsilon, let weightDecay): (adam, decay) = ((beta1, beta2, epsilon), weightDecay)
    }
    return Optimizer(
      name: configuration.optimizer.name, learningRate: configuration.learningRate, schedule: configuration.schedule,
      warmup: configuration.warmupSteps, momentum: momentum, beta1: adam?.beta1, beta2: adam?.beta2,
      epsilon: adam?.epsilon, weightDecay: decay)
  }
}

public enum ProgramVersion {
  public static let current = "0.1.0"
}
