import Foundation

extension Trainer {
  /// Finds out who writes checkpoints, before the first is due; nil without a directory. Collective.
  static func checkpointWriter(
    _ setup: TrainingSetup, _ directory: RunDirectory?, _ environment: MPIEnvironment
  ) throws -> CheckpointWriter? {
    guard let output = setup.configuration.output else { return nil }
    let communicator = environment.world
    // What rank 0 wrote a moment ago, under a name that no host has seen before.
    var random = SystemRandomNumberGenerator()
    let token = String(format: "%016lx", random.next() as UInt64)
    let path = try communicator.agree("output") {
      guard let directory else { return output }
      let probe = "\(directory.path)/\(RunDirectory.probePrefix)\(token)"
      try AtomicFile.write(token.utf8, to: probe, permissions: 0o600)
      return probe
    }
    let probe = String(decoding: try communicator.broadcast(bytes: Array(path.utf8)), as: UTF8.self)
    let isSeen = (try? FileBytes.read(probe)).map { probe.hasSuffix("-" + String(decoding: $0, as: UTF8.self)) } ?? false
    let isShared = try communicator.allreduceMin(isSeen ? 1 : 0) == 1
    try communicator.agree("output") { if directory != nil { unlink(probe) } }
    return CheckpointWriter(
      CheckpointWriters(setup.plan.shards, topology: environment.topology, isDirectoryShared: isShared), communicator: communicator)
  }

  /// What a run that is done has reported, on all ranks; nil for one that has steps to go. Collective.
  static func finishedReport(_ setup: TrainingSetup, _ directory: RunDirectory?, _ communicator: Communicator) throws -> TrainingReport? {
    guard setup.resumed != nil, setup.firstStep >= setup.lastStep else { return nil }
    let bytes = try communicator.broadcast(bytes: directory?.finishedReport() ?? [])
    return bytes.isEmpty ? nil : try JSONDecoder().decode(TrainingReport.self, from: Data(bytes))
  }

  /// Reads the checkpoint into parameters and optimizer. Collective.
  ///
  /// - Parameter frozen: frozen parameters that come from no file: the checkpoint has them.
  static func restore(
    _ manifest: CheckpointManifest, _ directory: RunDirectory?, _ replica: ModelReplica, _ optimizer: inout Optimizer, frozen: Vector,
    _ communicator: Communicator, _ exchange: ModelStateExchange
  ) throws {
    optimizer.restore(updates: manifest.optimizerUpdates)
    let state = CheckpointState(parameters: replica.parameters, frozen: frozen, optimizer: optimizer, shards: exchange.plan)
    let path = directory?.checkpoints.path(ofStep: manifest.step) ?? ""
    try CheckpointReader(manifest, directory: path, communicator: communicator).read(into: state)
    try exchange.broadcast(replica.parameters)
  }

  /// Writes a checkpoint and takes away those that needn't be kept. Collective.
  ///
  /// - Precondition: the ranks' parameters were compared, and are finite: each writes a part of them, in the place of one that was.
  func writeCheckpoint(_ optimizer: Optimizer, stepsDone: Int, charges: Int) throws {
    guard let checkpointWriter else { return }
    let start = ContinuousClock.now
    let communicator = environment.world
    let frozen = Vector(rebasing: replica.frozen[..<setup.frozenCountOfCheckpoints])
    let state = CheckpointState(parameters: replica.parameters, frozen: frozen, optimizer: optimizer, shards: replica.plan.shards)
    let checkpoints = try communicator.agree("checkpoint") { try directory?.checkpointsNow() }
    try checkpointWriter.write(state, step: stepsDone, in: checkpoints) { files in
      CheckpointManifest(
        program: ProgramVersion.current, runID: setup.provenance.runID, step: stepsDone, charges: charges,
        noiseMultiplier: setup.privacy?.noiseMultiplier ?? 0, parameterCount: replica.parameters.count, frozenCount: frozen.count,
        optimizerUpdates: optimizer.updates, dataFingerprint: setup.provenance.ownFingerprint ?? "", options: setup.resultOptions.values,
        files: files)
    }
    try communicator.agree("checkpoint") { try checkpoints?.keep(setup.configuration.keepCheckpoints, newest: stepsDone) }
    lastCheckpoint = .now
    observer?.didCheckpoint(stepsDone: stepsDone, seconds: (lastCheckpoint - start).seconds)
  }

  func isCheckpointed(after step: Int) -> Bool {
    setup.configuration.checkpointEvery.map { (step + 1).isMultiple(of: $0) } ?? false
  }

  /// What this rank is asked for by signals, and on rank 0 by the clock.
  func ownRequests() -> (stops: Bool, checkpoints: Bool) {
    guard checkpointWriter != nil else { return (false, false) }
    let interval = setup.configuration.checkpointSeconds
    let isDue = environment.world.rank == 0 && interval > 0 && ContinuousClock.now - lastCheckpoint >= .seconds(interval)
    return (stops: signals?.asksToStop ?? false, checkpoints: signals?.takeCheckpoint() ?? false || isDue)
  }

  /// Ends a run that was asked to stop, when its checkpoint is there. Collective.
  ///
  /// - Throws: ``StoppedOnRequest``, on all ranks.
  func stop(stepsDone: Int) throws -> Never {
    observer?.didEnd()
    throw StoppedOnRequest(stepsDone: stepsDone, steps: setup.steps, output: directory?.path ?? setup.configuration.output ?? "")
  }

  /// Writes what the ledger says, on rank 0, of a run that ends before it is done.
  func sayWhatWasSpent() {
    let done = stepSeconds.count
    try? directory?.stop { charges in
      guard setup.privacy != nil else { return try PrivacyStatement(setup, steps: setup.firstStep + done) }
      return charges < setup.chargedSteps + done ? nil : try PrivacyStatement(setup, steps: charges)
    }
  }
}
