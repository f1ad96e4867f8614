import Foundation
import PrivacyAccounting

/// A configuration with everything that it left open decided: data read, model found, noise calibrated. The same on all ranks.
package struct TrainingSetup {
  /// With its precision decided, too.
  package let configuration: TrainingConfiguration
  package let model: ModelConfiguration
  /// nil for a preset: a fresh model.
  package let modelDirectory: String?
  /// Makes the records' ids; carried from where the model is found to where it is written.
  package let tokenizer: any Tokenizer
  /// What is to be known of the model directory's settings and of the records, beyond the privacy.
  package let notes: [String]
  package let training: TokenizedDataset
  /// Held-out or separate records; nil where there are none.
  package let evaluation: TokenizedDataset?
  package let steps: Int
  /// Steps that the model has been through already: 0 but for a run that goes on.
  package let firstStep: Int
  /// Steps charged already, the lost ones among them.
  package let chargedSteps: Int
  /// What shapes the result, for the checkpoints.
  let resultOptions: ResultOptions
  /// The checkpoint that the run goes on from.
  let resumed: CheckpointManifest?
  /// B, N₀ and the rest; nil in `standard`.
  package let privacy: PrivacyParameters?
  /// N₀.
  package let datasetSize: Int
  /// Charges that the budget allows, ``chargedSteps`` among them: as many as the run needs where σ is given.
  package let allowedSteps: Int
  /// Every buffer of a rank; none is allocated.
  package let plan: ReplicaPlan
  package let threads: ThreadCounts
  /// The run's name, its data's fingerprint, and what its start model says of itself.
  let provenance: Provenance

  /// ε that σ was calibrated for; nil where σ was given.
  package var targetEpsilon: Double? {
    guard privacy != nil else { return nil }
    return switch configuration.noise {
    case .multiplier?: nil
    case .targetEpsilon(let epsilon)?: epsilon
    case nil: TrainingConfiguration.builtinTargetEpsilon
    }
  }

  /// Frozen parameters, from the first on, that come from no file and are therefore in the checkpoints: those of a fresh model, and an adapter's
  /// that aren't trained.
  var frozenCountOfCheckpoints: Int { modelDirectory == nil ? plan.table.frozen.totalCount : plan.table.frozenAdapterCount }

  /// Charges when the run ends.
  package var mostCharges: Int { max(chargedSteps, min(allowedSteps, chargedSteps + steps - firstStep)) }
  /// Steps of the model when the run ends: fewer than ``steps`` where lost ones have used up the budget.
  package var lastStep: Int { firstStep + mostCharges - chargedSteps }

  /// Whether the faster way to each norm is taken. With a seed, a run's bits must not hang on timings.
  package var timesNorms: Bool { configuration.seed == nil }

  /// Reads and decides; collective. Every refusal is one that all ranks share.
  ///
  /// - Parameters:
  ///   - resumption: of a run that goes on.
  ///   - progress: told, on rank 0, how far the reading of large data is.
  package init(_ configuration: TrainingConfiguration, environment: MPIEnvironment, progress: (String) -> Void = { _ in }) throws {
    try self.init(configuration, environment: environment, resumption: nil, progress: progress)
  }

  init(
    _ configuration: TrainingConfiguration, environment: MPIEnvironment, resumption: Resumption?, progress: (String) -> Void
  ) throws {
    let communicator = environment.world
    let isFirst = communicator.rank == 0
    let model = try communicator.agree("configuration and model") { try ModelToTrain(configuration) }
    try communicator.requireEqual(configuration, model.configuration)
    var configuration = configuration
    configuration.precision = try communicator.decidedPrecision(configuration.precision, model.configuration)
    let hashesRecords = environment.topology.nodeIndex == 0
    let sources = try Sources(configuration, model, hashesRecords: hashesRecords, environment: environment, progress: progress)
    let recordsDigest = try communicator.requireEqual(training: sources.training, evaluation: sources.evaluation, node: environment.node)
    let weights = try SharedWeights(
      sources.stored, directory: sources.modelDirectory, mapsAny: sources.mapsAny(configuration.trainable), environment: environment)
    // One rank reads: statement, fingerprint and weights must be of one moment. Where ranks map the weights, one of each node reads those.
    var digest: String?
    let found = try communicator.agree("start model") {
      let found =
        isFirst
        ? try Provenance(configuration, sources.modelDirectory, sources.records, hashesWeights: true, runID: resumption?.manifest.runID) : nil
      digest = try isFirst ? found?.start?.weightsDigest : weights?.digest()
      return found
    }
    try weights?.requireEqual(digest)
    let told = try communicator.broadcast(found)
    let provenance = found ?? told
    let length = try communicator.agree("length of the run") { try Length(configuration, units: sources.training.unitCount) }
    let options = ResultOptions(
      configuration, model: sources.model, tokenizer: sources.tokenizer, recordsDigest: recordsDigest, provenance: provenance, datasetSize: length.datasetSize,
      steps: length.steps)
    try communicator.agree("options of the run that goes on") {
      if isFirst, let resumption { try options.requireEqual(resumption.manifest.options) }
    }
    let limits = try NodeLimit.ofAllNodes(environment: environment)
    let threads = try ThreadCounts(configuration.performance, in: environment)
    let plan = try communicator.agree("memory plan") {
      try Self.plan(configuration, sources, topology: environment.topology, threads: threads, limits: limits)
    }
    // One rank computes: the others' cores are its own as often as not, and the last bits must agree.
    let decided = try communicator.agree("privacy accounting") {
      isFirst ? try Self.noise(configuration, length, spent: provenance.spent(configuration), resumption: resumption) : nil
    }
    let noise = try communicator.broadcast(decided ?? Noise(multiplier: 0, allowedSteps: 0))
    self.init(configuration, sources, provenance, length, plan, threads, noise, options, resumption)
  }

  /// What a run would decide, found out by this process alone: no rank is asked.
  ///
  /// - Parameters:
  ///   - topology: of the job, as the rank sees it whose plan is wanted.
  ///   - ranksPerNode: on the fullest node.
  package init(alone configuration: TrainingConfiguration, topology: NodeTopology, ranksPerNode: Int) throws {
    let model = try ModelToTrain(configuration)
    var configuration = configuration
    // What is stated is planned for whatever machine it is to run on.
    configuration.precision = try configuration.precision.decided(
      model.configuration, refusal: configuration.precision == nil ? BFloat16Probe.refusal() : nil)
    let sources = try Sources(configuration, model, hashesRecords: true, environment: nil)
    let provenance = try Provenance(configuration, sources.modelDirectory, sources.records, hashesWeights: false)
    let length = try Length(configuration, units: sources.training.unitCount)
    let threads = ThreadCounts(configuration.performance, ranksPerNode: ranksPerNode)
    let plan = try Self.plan(configuration, sources, topology: topology, threads: threads, limits: [])
    let noise = try Self.noise(configuration, length, spent: provenance.spent(configuration), resumption: nil)
    let options = ResultOptions(
      configuration, model: sources.model, tokenizer: sources.tokenizer, recordsDigest: try sources.training.digest(), provenance: provenance, datasetSize: length.datasetSize,
      steps: length.steps)
    self.init(configuration, sources, provenance, length, plan, threads, noise, options, nil)
  }

  private init(
    _ configuration: TrainingConfiguration, _ sources: Sources, _ provenance: Provenance, _ length: Length, _ plan: ReplicaPlan,
    _ threads: ThreadCounts, _ noise: Noise, _ options: ResultOptions, _ resumption: Resumption?
  ) {
    self.configuration = configuration
    (model, modelDirectory, tokenizer) = (sources.model, sources.modelDirectory, sources.tokenizer)
    (training, evaluation, notes) = (sources.training, sources.evaluation, sources.notes)
    (datasetSize, steps) = (length.datasetSize, length.steps)
    self.plan = plan
    self.provenance = provenance
    self.threads = threads
    allowedSteps = noise.allowedSteps
    resultOptions = options
    resumed = resumption?.manifest
    firstStep = resumption?.manifest.step ?? 0
    chargedSteps = resumption?.charges ?? 0
    privacy =
      configuration.mode.isPrivate
      ? Self.parameters(
        configuration, datasetSize: length.datasetSize, noiseMultiplier: noise.multiplier, spent: provenance.spent(configuration)) : nil
  }

  /// The model that is trained, and the tokenizer that makes its ids.
  struct ModelToTrain {
    let configuration: ModelConfiguration
    let source: ModelSource

    init(_ configuration: TrainingConfiguration) throws {
      try configuration.validate()
      for evaluation in configuration.evaluationData where configuration.data.contains(where: { Self.isSameFile(evaluation, $0) }) {
        throw TrainingError.conflictingOptions("--eval-data \(evaluation) is a training file: records that training has seen measure nothing")
      }
      source = try ModelSource.resolve(
        configuration.model, tokenizer: configuration.tokenizer, task: configuration.task(allowsNewHead: true),
        adapter: try AdapterRequest(configuration))
      self.configuration = source.trainedConfiguration
      if configuration.trainable == .lora, source.directory == nil, configuration.output != nil {
        throw TrainingError.adapterOfPreset(preset: configuration.model)
      }
      guard self.configuration.parameterTable(trainable: configuration.trainable).trained.totalCount > 0 else {
        throw TrainingError.conflictingOptions("--trainable \(configuration.trainable.rawValue): the model has no such parameter, so nothing would be trained")
      }
    }

    /// By device and inode: links are seen through.
    private static func isSameFile(_ one: String, _ other: String) -> Bool {
      var (first, second) = (stat(), stat())
      guard stat(one, &first) == 0, stat(other, &second) == 0 else { return false }
      return first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }
  }

  /// What is read: the same on every rank, or the run is refused.
  struct Sources {
    let model: ModelConfiguration
    let modelDirectory: String?
    let stored: StoredTensors
    let tokenizer: any Tokenizer
    let training: TokenizedDataset
    let evaluation: TokenizedDataset?
    let notes: [String]
    /// Of the training records, whole and as they were read; nil where nobody asks.
    let records: RecordHashes?

    /// Whether anything stays in the model's files.
    func mapsAny(_ trainable: TrainableParameters) -> Bool { !model.parameterTable(trainable: trainable, stored: stored).mapped.isEmpty }

    /// - Parameter environment: nil: this process alone.
    init(
      _ configuration: TrainingConfiguration, _ model: ModelToTrain, hashesRecords: Bool, environment: MPIEnvironment?,
      progress: (String) -> Void = { _ in }
    ) throws {
      self.model = model.configuration
      (tokenizer, modelDirectory, stored) = (model.source.tokenizer, model.source.directory, model.source.stored)
      let isAsked = hashesRecords && (configuration.output != nil || modelDirectory != nil)
      let loaded = try LoadedRecords(
        configuration, model: model.configuration, tokenizer: tokenizer, hashesRecords: isAsked, environment: environment, progress: progress)
      (training, evaluation, records) = (loaded.training, loaded.evaluation, loaded.hashes)
      notes = model.source.trainingNotes + model.source.notes + training.notes("training") + (evaluation?.notes("held-out") ?? [])
    }
  }

  private struct Length {
    /// N₀.
    let datasetSize: Int
    let steps: Int

    init(_ configuration: TrainingConfiguration, units: Int) throws {
      datasetSize = configuration.datasetSize ?? units
      guard configuration.batchSize <= datasetSize else {
        throw TrainingError.batchLargerThanData(batch: configuration.batchSize, datasetSize: datasetSize)
      }
      switch configuration.length {
      case .steps(let count): steps = count
      case .epochs(let epochs):
        let count = (epochs * Double(datasetSize) / Double(configuration.batchSize)).rounded(.up)
        guard count <= Double(TrainingConfiguration.mostSteps) else {
          throw TrainingError.badOption(
            option: "--epochs", value: "\(epochs)", allowed: "no more than \(TrainingConfiguration.mostSteps) steps in all")
        }
        steps = Int(count)
      }
    }
  }

  /// σ, and the steps that the budget allows with it.
  private struct Noise: BitwiseCopyable {
    let multiplier: Double
    let allowedSteps: Int
  }

  private static func parameters(
    _ configuration: TrainingConfiguration, datasetSize: Int, noiseMultiplier: Double, spent: [DPSGDPhase]
  ) -> PrivacyParameters {
    PrivacyParameters(
      clipping: configuration.clipping, maxGradNorm: configuration.maxGradNorm, noiseMultiplier: noiseMultiplier,
      datasetSize: datasetSize, expectedBatchSize: configuration.batchSize,
      delta: configuration.targetDelta ?? 1 / (10 * Double(datasetSize)), accountant: configuration.accountant,
      spent: spent)
  }

  /// - Parameter resumption: has σ: a run that goes on is never calibrated again, for its steps so far had that noise.
  private static func noise(
    _ configuration: TrainingConfiguration, _ length: Length, spent: [DPSGDPhase], resumption: Resumption?
  ) throws -> Noise {
    // Lost steps are charged beside those that the model needs.
    let needed = (resumption?.charges ?? 0) + length.steps - (resumption?.manifest.step ?? 0)
    guard configuration.mode.isPrivate else { return Noise(multiplier: 0, allowedSteps: needed) }
    let target: Double
    switch configuration.noise {
    case .multiplier(let sigma)?: return Noise(multiplier: resumption?.manifest.noiseMultiplier ?? sigma, allowedSteps: needed)
    case .targetEpsilon(let epsilon)?: target = epsilon
    case nil where configuration.data == [Corpus.builtinName]:
      target = TrainingConfiguration.builtinTargetEpsilon
    case nil: throw TrainingError.noNoise
    }
    let unnoised = parameters(configuration, datasetSize: length.datasetSize, noiseMultiplier: 0, spent: spent)
    let sigma = try resumption?.manifest.noiseMultiplier ?? Accounting.noiseMultiplier(
      targetEpsilon: target, delta: unnoised.delta, samplingRate: unnoised.samplingRate, steps: length.steps,
      accountant: configuration.accountant, spent: spent)
    let allowed = try Accounting.maximumSteps(
      targetEpsilon: target, delta: unnoised.delta, samplingRate: unnoised.samplingRate, noiseMultiplier: sigma,
      accountant: configuration.accountant, spent: spent, upTo: needed)
    return Noise(multiplier: sigma, allowedSteps: allowed)
  }
}

extension Communicator {
  /// The failure that every rank has found by itself, as one that all of them throw together.
  func agreed(_ error: some Error) throws -> any Error {
    do {
      try agree("refusal") { throw error }
    } catch {
      return error
    }
    preconditionFailure("agree() returned from a body that throws")
  }
}
