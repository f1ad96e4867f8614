/// A model directory's model and records, ready for forward passes.
package struct ModelOnData {
  let replica: ModelReplica
  let dataset: TokenizedDataset

  /// Reads both; collective.
  ///
  /// - Parameters:
  ///   - configuration: model and data.
  ///   - verb: what is done with the records.
  ///   - note: told, on rank 0 and before anything is computed, what is to be known of the records.
  package init(
    _ configuration: TrainingConfiguration, task: ModelTask, verb: String, environment: MPIEnvironment, note: (String) -> Void
  ) throws {
    let communicator = environment.world
    let threads = try ThreadCounts(configuration.performance, in: environment).own
    let source = try communicator.agree("model") {
      try configuration.validate()
      let source = try ModelSource.resolve(
        configuration.model, tokenizer: configuration.tokenizer, task: task, adapter: try AdapterRequest(configuration))
      guard source.directory != nil else { throw TrainingError.noWeights(preset: configuration.model) }
      return source
    }
    try communicator.requireEqual(configuration, source.configuration)
    let weights = try SharedWeights(
      source.stored, directory: source.directory, mapsAny: !source.configuration.parameterTable(stored: source.stored, trains: false).mapped.isEmpty,
      environment: environment)
    try weights?.requireEqual()
    let loaded = try LoadedRecords(configuration, model: source.configuration, tokenizer: source.tokenizer, environment: environment, progress: note)
    let dataset = loaded.evaluation ?? loaded.training
    try communicator.requireEqual(training: dataset, evaluation: nil, node: environment.node)
    let replica = try communicator.agree("memory") {
      let capacity = configuration.performance.capacities(
        mode: .standard, positions: dataset.longestSequence, lengths: dataset.unitLengths(ofRecords: 1), model: source.configuration)[0]
      let plan = ReplicaPlan(
        model: source.configuration, mode: .standard, capacity: capacity, optimizer: nil, trainable: source.configuration.trainedByDefault,
        stored: source.stored, computesGradients: false, threads: threads)
      try plan.checkAddressSpace(threads: threads)
      return try ModelReplica(plan)
    }
    // One rank reads the weights, and compares.
    let notes = try communicator.agree("adapter") {
      communicator.rank == 0 ? try configuration.adapter.map { try AdapterBase.check(adapter: $0, model: configuration.model) } ?? [] : []
    }
    if communicator.rank == 0 { (source.notes + notes + dataset.notes(verb)).forEach(note) }
    try replica.loadParameters(from: configuration.model, adapter: configuration.adapter, key: RandomKey(seed: 0), communicator: communicator)
    (self.replica, self.dataset) = (replica, dataset)
  }
}
