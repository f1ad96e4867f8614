import Foundation
import PrivacyAccounting

/// A training run over all ranks, from a configuration to a released model.
public final class Trainer {
  private let setup: TrainingSetup
  private let environment: MPIEnvironment
  private let exchange: ModelStateExchange
  package let replica: ModelReplica
  private let key: RandomKey
  private let directory: RunDirectory?
  private var observer: (any TrainingObserver)?

  private var hasRun = false
  private var losses: [Double] = []
  private var stepSeconds: [Double] = []
  private var tokens = 0
  private var evaluationLoss: Double?
  private var evaluationAccuracy: Double?
  private var nodePeakBytes: [Int] = []
  /// What the program held before it allocated what was planned.
  private let baselineBytes: Int

  /// Reads, decides, allocates; collective. What can be refused is refused here, on all ranks together.
  ///
  /// - Parameter observer: told of the run's progress, on rank 0 alone.
  public init(
    _ configuration: TrainingConfiguration, environment: MPIEnvironment, observer: (any TrainingObserver)? = nil
  ) throws {
    let communicator = environment.world
    self.environment = environment
    self.observer = communicator.rank == 0 ? observer : nil
    let setup = try TrainingSetup(configuration, environment: environment)
    self.setup = setup
    // A directory that can't be used must be known before hours are spent; it is touched before anything else is made.
    let directory = try communicator.agree("output") {
      try communicator.rank == 0 ? configuration.output.map(RunDirectory.init(creating:)) : nil
    }
    self.directory = directory
    try communicator.agree("address space") { try setup.plan.checkAddressSpace(threads: setup.threads.own) }
    baselineBytes = MemoryMeter.residentBytes
    let norms = setup.timesNorms ? NormChoice.timed(try setup.plan.timeNorms(communicator: communicator)) : .always(.gram)
    exchange = try ModelStateExchange(
      setup.plan.shards, parameterCount: setup.plan.layout.totalCount, environment: environment)
    let windows = exchange.windows
    let replica = try communicator.agree("memory") {
      try ModelReplica(setup.plan, norms: norms, windows: windows, threads: setup.threads.own)
    }
    self.replica = replica
    let key = try communicator.sharedKey(seed: configuration.seed)
    self.key = key
    let exchange = self.exchange
    try replica.team.use {
      try replica.loadParameters(
        from: setup.modelDirectory, key: key, allowsNewHead: setup.model.labels != nil, communicator: communicator, exchange: exchange)
      // Whatever the mode and the sharding: a sum alone doesn't show what was never added to it.
      try communicator.agree("gradients") {
        let missing = replica.tensorsWithoutGradient()
        guard missing.isEmpty else { throw TrainingError.tensorsWithoutGradient(missing) }
      }
    }
  }

  /// Runs every step, evaluates, writes the model; collective. Once: noise and batches are functions of the key and the step, so a second
  /// run would draw the first one's again, with a ledger that knows only its own steps.
  ///
  /// - Throws: ``TrainingError/alreadyRun`` the second time.
  public func run() throws -> TrainingReport {
    guard !hasRun else { throw TrainingError.alreadyRun }
    hasRun = true
    return try replica.team.use(runSteps)
  }

  private func runSteps() throws -> TrainingReport {
    let communicator = environment.world
    // What the whole run may spend, on rank 0: what people are told at the start is what the file says.
    let statement = try communicator.agree("privacy statement") {
      communicator.rank == 0 ? try PrivacyStatement(setup, steps: min(setup.steps, setup.allowedSteps)) : nil
    }
    let overview = try overview(warnings: statement?.warnings ?? [])
    try communicator.agree("run files") {
      if let statement { try directory?.begin(setup, statement: statement, overview: overview, environment: environment) }
    }
    observer?.didStart(overview)
    var step = try makeStep()
    let epsilons = try loggedEpsilons()
    for index in 0..<setup.steps {
      guard step.ledger?.hasBudget ?? true else { break }
      environment.step = index
      let report = try step.run(index)
      try record(report, epsilon: epsilons[index + 1])
      // Parameters can be finite and too large to compute with. A private run goes on: when it stops must not depend on its records.
      if setup.privacy == nil, report.targets > 0, !(report.loss?.isFinite ?? false) {
        throw try communicator.agreed(TrainingError.lossNotFinite(step: index))
      }
      let isLast = index + 1 == setup.steps || !(step.ledger?.hasBudget ?? true)
      if isLast || (index + 1).isMultiple(of: Self.checkInterval) { try checkParameters(after: index) }
      if isLast || isEvaluated(after: index) { try evaluate(after: index) }
    }
    environment.step = nil
    if losses.isEmpty { try evaluate(after: -1) }
    try checkFinalLoss()
    return try finish(stepsDone: stepSeconds.count, stepsCharged: step.ledger?.chargedSteps ?? stepSeconds.count)
  }

  private func makeStep() throws -> TrainingStep {
    let configuration = setup.configuration
    try checkLedgerOpens()
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
        GaussianMechanism(noiseMultiplier: $0.noiseMultiplier, source: GaussianSource(key.subKey(for: .noise)))
      },
      ledger: ledger,
      optimizer: replica.makeOptimizer(),
      schedule: LearningRateSchedule(
        shape: configuration.schedule, peak: configuration.learningRate, warmupSteps: configuration.warmupSteps,
        totalSteps: setup.steps),
      expectedBatchSize: configuration.batchSize)
  }

  private func makeLedger() throws -> PrivacyLedger? {
    guard let privacy = setup.privacy else { return nil }
    guard let directory else { return PrivacyLedger(privacy, allowedSteps: setup.allowedSteps, log: nil) }
    return PrivacyLedger(privacy, allowedSteps: setup.allowedSteps, log: try DurableLog(path: directory.ledger))
  }

  /// Rank 0's ledger is on disk; a file that can't be opened ends the run on all ranks before its first step.
  private func checkLedgerOpens() throws {
    try environment.world.agree("ledger") {
      if let directory, setup.privacy != nil { _ = try DurableLog(path: directory.ledger) }
    }
  }

  private func isLogged(_ stepsDone: Int) -> Bool {
    let every = setup.configuration.logEvery ?? max(1, setup.steps / 20)
    return stepsDone == setup.steps || stepsDone.isMultiple(of: every)
  }

  private func isEvaluated(after step: Int) -> Bool {
    setup.configuration.evaluateEvery.map { (step + 1).isMultiple(of: $0) } ?? false
  }

  /// ε after the steps that are logged, on rank 0: known before the first step, so that no step waits for it.
  private func loggedEpsilons() throws -> [Int: Double] {
    guard environment.world.rank == 0, let privacy = setup.privacy else { return [:] }
    let steps = (0...setup.steps).filter { $0 > 0 && isLogged($0) }
    if setup.provenance.start?.exposesRecords ?? false { return Dictionary(uniqueKeysWithValues: steps.map { ($0, .infinity) }) }
    return try Dictionary(uniqueKeysWithValues: zip(steps, privacy.epsilons(after: steps, target: setup.targetEpsilon).map(\.upper)))
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
  private func checkFinalLoss() throws {
    let communicator = environment.world
    guard let last = losses.indices.last else { return }
    let isFinite = replica.loss(of: 0..<1, in: setup.training).sum.isFinite
    guard try communicator.allreduceMin(isFinite ? 1 : 0) == 0 else { return }
    if setup.privacy == nil { throw try communicator.agreed(TrainingError.lossNotFinite(step: last)) }
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
      privacy: setup.privacy, warnings: setup.notes + warnings + (crowded.map { [$0] } ?? []),
      plannedBytes: replica.plan.memory.byteCountOfRank, sharding: exchange.plan.sharding, noise: exchange.plan.noise,
      labels: setup.model.labels, unigramEntropy: setup.configuration.data == [Corpus.builtinName]
        ? setup.evaluation?.unigramEntropy : nil)
  }

  private func finish(stepsDone: Int, stepsCharged: Int) throws -> TrainingReport {
    let communicator = environment.world
    let statement = try communicator.agree("privacy statement") {
      communicator.rank == 0 ? try PrivacyStatement(setup, steps: stepsCharged) : nil
    }
    try communicator.agree("model file") {
      if let statement { try directory?.finish(replica, setup: setup, statement: statement) }
    }
    let report = try makeReport(stepsDone: stepsDone, statement: statement)
    observer?.didEnd()
    try exchange.free()
    return report
  }

  private func makeReport(stepsDone: Int, statement: PrivacyStatement?) throws -> TrainingReport {
    let megabytes = { (bytes: Int) in Double(bytes) / Double(MemoryMeter.megabyte) }
    let seconds = stepSeconds.reduce(0, +)
    let seen = losses.filter { !$0.isNaN }
    let tenth = max(1, seen.count / 10)
    let mean = { (values: ArraySlice<Double>) in
      values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }
    let communicator = environment.world
    if communicator.rank == 0, losses.contains(.infinity) {
      StandardError.write(
        line: "Warning: some losses are not finite: the run diverged, and went on, since when a private run ends must not depend on its records")
    }
    let leaders = try communicator.allgather(environment.topology.isNodeLeader ? nodePeakBytes.max() ?? 0 : -1)
    return TrainingReport(
      mode: setup.configuration.mode, ranks: communicator.size, steps: stepsDone, lossFirst: mean(seen.prefix(tenth)),
      lossLast: mean(seen.suffix(tenth)), evalLoss: evaluationLoss, evalAccuracy: evaluationAccuracy,
      lossUnit: setup.model.labels == nil ? "target" : "record", epsilon: statement?.epsilon ?? ExtendedReal(value: .infinity), delta: setup.privacy?.delta,
      noiseMultiplier: setup.privacy?.noiseMultiplier ?? 0, tokens: tokens,
      tokensPerSecond: seconds > 0 ? Double(tokens) / seconds : 0,
      stepSecondsMedian: stepSeconds.isEmpty ? 0 : stepSeconds.sorted()[stepSeconds.count / 2],
      secondsPerToken: tokens > 0 ? seconds / Double(tokens) : 0,
      peakRssMb: try communicator.allgather(MemoryMeter.peakResidentBytes).map(megabytes),
      nodePssMb: leaders.filter { $0 >= 0 }.map(megabytes),
      plannedMb: try communicator.allgather(replica.plan.memory.byteCountOfRank).map(megabytes),
      baselineRssMb: try communicator.allgather(baselineBytes).map(megabytes),
      parameters: setup.model.parameterCount, parametersL2: RowKernels.squaredNorm(replica.parameters).squareRoot(),
      output: directory?.path ?? setup.configuration.output, isPrivate: PrivacyStatement.isPrivate(setup),
      warnings: statement?.warnings ?? PrivacyStatement.warnings(setup))
  }
}
