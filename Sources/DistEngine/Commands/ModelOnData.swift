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
    let (replica, dataset, notes) = try communicator.agree("model and data") {
      try configuration.validate()
      let source = try ModelSource.resolve(configuration.model, tokenizer: configuration.tokenizer, task: task)
      guard source.directory != nil else { throw TrainingError.noWeights(preset: configuration.model) }
      let (training, heldOut) = try TrainingSetup.load(configuration, model: source.configuration, tokenizer: source.tokenizer)
      let dataset = heldOut ?? training
      let capacity = configuration.performance.capacity(
        mode: .standard, positions: dataset.longestSequence, typicalPositions: dataset.meanTargetCount,
        parameterCount: source.configuration.parameterCount)
      let plan = ReplicaPlan(
        model: source.configuration, mode: .standard, capacity: capacity, optimizer: nil, computesGradients: false, threads: threads)
      try plan.checkAddressSpace(threads: threads)
      return (try ModelReplica(plan), dataset, source.notes + dataset.notes(verb))
    }
    try communicator.requireEqual(configuration, replica.plan.configuration, training: dataset, evaluation: nil)
    if communicator.rank == 0 { notes.forEach(note) }
    try replica.loadParameters(from: configuration.model, key: RandomKey(seed: 0), communicator: communicator)
    (self.replica, self.dataset) = (replica, dataset)
  }
}
