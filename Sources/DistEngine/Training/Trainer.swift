import Foundation
import PrivacyAccounting

/// A training run over all ranks, from a configuration to a released model.
public final class Trainer {
  let setup: TrainingSetup
  let environment: MPIEnvironment
  package let exchange: ModelStateExchange
  package let replica: ModelReplica
  private let key: RandomKey
  /// On rank 0 alone.
  let directory: RunDirectory?
  var observer: (any TrainingObserver)?
  let signals: RunSignals?
  let checkpointWriter: CheckpointWriter?
  private let restored: Optimizer
  /// Of what isn't trained.
  private let frozenChecksum: Int
  /// Of a run that was done before.
  private let finished: TrainingReport?

  private var hasRun = false
  /// Of this start's steps.
  var losses: [Double] = []
  var stepSeconds: [Double] = []
  var tokens = 0
  /// Of the steps before, on rank 0.
  var earlier = EarlierSteps()
  var evaluationLoss: Double?
  var evaluationAccuracy: Double?
  var nodePeakBytes: [Int] = []
  /// What the program held before it allocated what was planned.
  let baselineBytes: Int
  var lastCheckpoint = ContinuousClock.now

  /// Reads, decides, allocates; collective. What can be refused is refused here, on all ranks together.
  ///
  /// - Parameters:
  ///   - observer: told of the run's progress, on rank 0 alone.
  ///   - signals: by which the run may be asked to stop.
  public init(
    _ configuration: TrainingConfiguration, environment: MPIEnvironment, observer: (any TrainingObserver)? = nil, signals: RunSignals? = nil
  ) throws {
    let communicator = environment.world
    let isFirst = communicator.rank == 0
    self.environment = environment
    self.observer = isFirst ? observer : nil
    var reader = self.observer
    self.signals = signals
    // A run that goes on is locked before it is looked at.
    let held = try communicator.agree("output") {
      try isFirst && configuration.resumes
        ? configuration.output.map { try RunDirectory($0, resumes: true, hasAdapter: configuration.trainable == .lora) } : nil
    }
    let found = try communicator.agree("checkpoints") { try held?.resumption { StandardError.write(line: "Warning: \($0)") } }
    let resumption = try communicator.broadcast(found)
    let setup = try TrainingSetup(configuration, environment: environment, resumption: resumption) { reader?.didRead($0) }
    self.setup = setup
    // A directory that can't be used must be known before hours are spent; it is touched before anything else is made.
    directory = try communicator.agree("output") {
      try held ?? (isFirst ? configuration.output.map { try RunDirectory($0, hasAdapter: configuration.trainable == .lora) } : nil)
    }
    checkpointWriter = try Self.checkpointWriter(setup, directory, environment)
    let finished = try Self.finishedReport(setup, directory, communicator)
    self.finished = finished
    try communicator.agree("address space") { try setup.plan.checkAddressSpace(threads: setup.threads.own) }
    baselineBytes = MemoryMeter.residentBytes
    let norms = setup.timesNorms ? NormChoice.timed(try setup.plan.timeNorms(communicator: communicator)) : .byShape
    exchange = try ModelStateExchange(
      setup.plan.shards, parameterCount: setup.plan.layout.totalCount, environment: environment)
    let windows = exchange.windows
    let replica = try communicator.agree("memory") {
      try ModelReplica(setup.plan, norms: norms, windows: windows, threads: setup.threads.own)
    }
    self.replica = replica
    // A run that goes on takes a fresh key: noise that was drawn for steps which are lost is never drawn again.
    let key = try communicator.sharedKey(seed: configuration.seed)
    self.key = key
    let (exchange, directory) = (self.exchange, self.directory)
    var optimizer = replica.makeOptimizer()
    try replica.team.use {
      try replica.loadParameters(
        from: setup.modelDirectory, adapter: setup.configuration.adapter, key: key, allowsNewHead: setup.model.labels != nil,
        communicator: communicator, exchange: exchange)
      if let manifest = setup.resumed, finished == nil {
        try Self.restore(
          manifest, directory, replica, &optimizer, frozen: Vector(rebasing: replica.frozen[..<setup.frozenCountOfCheckpoints]), communicator,
          exchange)
      }
      // Whatever the mode and the sharding: a sum alone doesn't show what was never added to it.
      try communicator.agree("gradients") {
        let missing = replica.tensorsWithoutGradient()
        guard missing.isEmpty else { throw TrainingError.tensorsWithoutGradient(missing) }
      }
    }
    restored = optimizer
    frozenChecksum = replica.team.use { replica.frozenChecksum() }
  }

  /// Runs every step, evaluates, writes the model; collective. Once: noise and batches are functions of the key and the step, so a second
  /// run would draw the first one's again, with a ledger that knows only its own steps.
  ///
  /// - Throws: ``TrainingError/alreadyRun`` the second time.
  public func run() throws -> TrainingReport {
    guard !hasRun else { throw TrainingError.alreadyRun }
    hasRun = true
    if let finished { return finished }
    return try replica.team.use {
      do { return try runSteps() } catch {
        // Whatever ended it: the statement says what was spent, as far as it can be written.
        sayWhatWasSpent()
        throw error
      }
    }
  }

  private func runSteps() throws -> TrainingReport {
    let communicator = environment.world
    // What the whole run may spend, on rank 0: what people are told at the start is what the file says.
    let statement = try communicator.agree("privacy statement") {
      communicator.rank == 0 ? try PrivacyStatement(setup, steps: setup.mostCharges) : nil
    }
    let overview = try overview(warnings: statement?.warnings ?? [])
    try communicator.agree("run files") {
      if let statement { try directory?.begin(setup, statement: statement, overview: overview, environment: environment) }
    }
    observer?.didStart(overview)
    earlier = try communicator.agree("metrics") { try directory?.earlierSteps(before: setup.firstStep) ?? EarlierSteps() }
    if setup.resumed == nil { try writeCheckpoint(restored, stepsDone: 0, charges: 0) }
    var step = try makeStep()
    let epsilons = try loggedEpsilons()
    for index in setup.firstStep..<setup.lastStep {
      environment.step = index
      var requests = StepRequests(own: ownRequests)
      let report = try step.run(index, requests: &requests)
      try record(report, epsilon: epsilons[index + 1])
      // Parameters can be finite and too large to compute with. A private run goes on: when it stops must not depend on its records.
      if setup.privacy == nil, report.targets > 0, !(report.loss?.isFinite ?? false) {
        throw try communicator.agreed(TrainingError.lossNotFinite(step: index))
      }
      let isLast = index + 1 == setup.lastStep
      let isWritten = isLast || checkpointWriter != nil && (requests.stops || requests.checkpoints || isCheckpointed(after: index))
      if isWritten || (index + 1).isMultiple(of: Self.checkInterval) { try checkParameters(after: index) }
      if isLast { try checkFinalLoss(after: index) }
      if isWritten {
        try writeCheckpoint(step.optimizer, stepsDone: index + 1, charges: step.ledger?.chargedSteps ?? 0)
      }
      if requests.stops && !isLast { try stop(stepsDone: index + 1) }
      if isLast || isEvaluated(after: index) { try evaluate(after: index) }
    }
    environment.step = nil
    if losses.isEmpty {
      try evaluate(after: setup.firstStep - 1)
      if setup.firstStep > 0 { try checkFinalLoss(after: setup.firstStep - 1) }
    }
    return try finish(
      stepsDone: setup.firstStep + stepSeconds.count, stepsCharged: step.ledger?.chargedSteps ?? setup.firstStep + stepSeconds.count)
  }

  private func makeStep() throws -> TrainingStep {
    let configuration = setup.configuration
    let ledger = try makeLedger()
    let sampling = CounterRandom(key.subKey(for: .sampling))
    let sampler: BatchSampler.Kind =
      switch configuration.sampler {
      case .poisson:
        .poisson(
          try PoissonSampler(
            expectedBatchSize: configuration.batchSize, datasetSize: setup.datasetSize, random: sampling),
          unitCount: setup.training.unitCount)
      case .shuffle:
        .shuffle(
          try ShuffleSampler(
            batchSize: configuration.batchSize, unitCount: setup.training.unitCount,
            random: CounterRandom(key.subKey(for: .shuffle))))
      }
    return TrainingStep(
      replica: replica, communicator: environment.world, exchange: exchange, dataset: setup.training, sampler: BatchSampler(sampler),
      choice: RecordChoice(most: configuration.maxRecordsPerUnit, random: CounterRandom(key.subKey(for: .records))),
      mechanism: setup.privacy.map {
        GaussianMechanism(
          noiseMultiplier: $0.noiseMultiplier, expectedBatchSize: configuration.batchSize, source: GaussianSource(key.subKey(for: .noise)))
      },
      ledger: ledger,
      optimizer: restored,
      schedule: LearningRateSchedule(
        shape: configuration.schedule, peak: configuration.learningRate, warmupSteps: configuration.warmupSteps,
        totalSteps: setup.steps),
      expectedBatchSize: configuration.batchSize)
  }

  private func makeLedger() throws -> PrivacyLedger? {
    guard let privacy = setup.privacy else { return nil }
    let runID = setup.provenance.runID
    // Rank 0's is on disk; a file that can't be opened ends the run on all ranks before its first step.
    try environment.world.agree("ledger") { if let directory { _ = try PrivacyLedger.log(path: directory.ledger, privacy, runID: runID) } }
    let (allowed, charged) = (setup.allowedSteps, setup.chargedSteps)
    guard let directory else { return PrivacyLedger(privacy, runID: runID, allowedSteps: allowed, chargedSteps: charged, log: nil) }
    return PrivacyLedger(
      privacy, runID: runID, allowedSteps: allowed, chargedSteps: charged,
      log: try PrivacyLedger.log(path: directory.ledger, privacy, runID: runID))
  }

  private func isLogged(_ stepsDone: Int) -> Bool {
    let every = setup.configuration.logEvery ?? max(1, setup.steps / 20)
    return stepsDone == setup.lastStep || stepsDone.isMultiple(of: every)
  }

  private func isEvaluated(after step: Int) -> Bool {
    setup.configuration.evaluateEvery.map { (step + 1).isMultiple(of: $0) } ?? false
  }

  /// ε after the steps that are logged, on rank 0: known before the first step, so that no step waits for it.
  private func loggedEpsilons() throws -> [Int: Double] {
    guard environment.world.rank == 0, let privacy = setup.privacy else { return [:] }
    let steps = (setup.firstStep...setup.lastStep).filter { $0 > setup.firstStep && isLogged($0) }
    if setup.provenance.start?.exposesRecords ?? false { return Dictionary(uniqueKeysWithValues: steps.map { ($0, .infinity) }) }
    let charges = steps.map { setup.chargedSteps + $0 - setup.firstStep }
    return try Dictionary(uniqueKeysWithValues: zip(steps, privacy.epsilons(after: charges, target: setup.targetEpsilon).map(\.upper)))
  }

  private func record(_ report: StepReport, epsilon: Double?) throws {
    losses.append(report.loss ?? (report.targets > 0 ? .infinity : .nan))
    stepSeconds.append(report.seconds)
    tokens += report.targets
    if isLogged(report.step + 1) {
      let bytes = try environment.node.allreduceSum(MemoryMeter.proportionalBytes)
      nodePeakBytes.append(bytes)
    }
    guard environment.world.rank == 0 else { return }
    try directory?.append(report, epsilon: epsilon, isPrivateRun: setup.privacy != nil)
    observer?.didFinish(report, epsilon: epsilon, isLogged: isLogged(report.step + 1))
  }

  /// How often the ranks compare their parameters.
  private static let checkInterval = 50

  private func checkParameters(after step: Int) throws {
    let communicator = environment.world
    let checksum = replica.parametersChecksum()
    let (low, high) = (try communicator.allreduceMin(checksum), try communicator.allreduceMax(checksum))
    guard low == high else { throw try communicator.agreed(TrainingError.parametersDiffer(step: step)) }
    guard RowKernels.squaredNorm(replica.parameters).isFinite else {
      throw try communicator.agreed(TrainingError.diverged(step: step))
    }
  }

  /// The last update may have made a model that computes nothing: known by the first record's loss, which no step has taken.
  private func checkFinalLoss(after step: Int) throws {
    let communicator = environment.world
    let isFinite = replica.loss(of: 0..<1, in: setup.training).sum.isFinite
    guard try communicator.allreduceMin(isFinite ? 1 : 0) == 0 else { return }
    if setup.privacy == nil { throw try communicator.agreed(TrainingError.lossNotFinite(step: step)) }
    losses.append(.infinity)
  }

  private func evaluate(after step: Int) throws {
    guard let evaluation = setup.evaluation else { return }
    let loss: Double
    if setup.model.labels == nil {
      loss = try replica.meanLoss(over: evaluation, communicator: environment.world)
    } else {
      let result = try replica.classification(over: evaluation, communicator: environment.world)
      (loss, evaluationAccuracy) = (result.loss, result.counts.accuracy)
    }
    evaluationLoss = loss
    observer?.didEvaluate(step: step, loss: loss, accuracy: evaluationAccuracy)
  }

  private func overview(warnings: [String]) throws -> TrainingOverview {
    let threads = try environment.world.allgather(replica.team.count)
    let cores = try environment.world.allgather(ProcessorAffinity.usableCores)
    let crowded = zip(threads, cores).lazy.compactMap { ProcessorAffinity.warning(threads: $0, usableCores: $1) }.first
    return TrainingOverview(
      mode: setup.configuration.mode, ranks: environment.world.size, hosts: environment.topology.hosts,
      usableCores: cores[0], threads: threads, parameters: setup.model.parameterCount,
      trainingRecords: setup.training.count, evaluationRecords: setup.evaluation?.count ?? 0,
      longestRecord: setup.training.longestSequence, steps: setup.steps, expectedBatchSize: setup.configuration.batchSize,
      privacy: setup.privacy, warnings: setup.notes + warnings + [crowded, exchange.warning].compactMap(\.self),
      plannedBytes: replica.plan.memory.byteCountOfRank, precision: setup.configuration.precision ?? .f32, sharding: exchange.plan.sharding, noise: exchange.plan.noise,
      labels: setup.model.labels, unigramEntropy: setup.configuration.data == [Corpus.builtinName]
        ? setup.evaluation?.unigramEntropy : nil)
  }

  private func finish(stepsDone: Int, stepsCharged: Int) throws -> TrainingReport {
    let communicator = environment.world
    let statement = try communicator.agree("privacy statement") {
      communicator.rank == 0 ? try PrivacyStatement(setup, steps: stepsCharged) : nil
    }
    try communicator.agree("model file") {
      try replica.mapped?.checkUnchanged()
      guard frozenChecksum == replica.frozenChecksum() else { throw TrainingError.frozenChanged }
      if let statement { try directory?.finish(replica, setup: setup, statement: statement) }
    }
    let report = try makeReport(stepsDone: stepsDone, statement: statement)
    try communicator.agree("report") {
      try directory?.checkpointsNow().keep(1, newest: stepsDone)
      try directory?.markDone(report)
    }
    observer?.didEnd()
    try exchange.free()
    return report
  }
}
