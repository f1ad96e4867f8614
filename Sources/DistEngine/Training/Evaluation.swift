import Foundation

/// Loss of a model on records, computed without noise.
public struct Evaluation: Sendable, Encodable {
  /// Nats a target.
  public let loss: Double
  public let perplexity: Double
  public let records: Int
  public let targets: Int

  /// Reads model and records and computes; collective, the records are split over the ranks.
  ///
  /// - Parameter data: a file, or `builtin` for the built-in corpus' held-out records.
  public init(
    model directory: String, data: String, textField: String, sequenceLength: Int?, environment: MPIEnvironment
  ) throws {
    let communicator = environment.world
    var configuration = TrainingConfiguration()
    configuration.mode = .standard
    configuration.model = directory
    configuration.data = data
    configuration.textField = textField
    configuration.sequenceLength = sequenceLength
    let threads = try ThreadCounts(configuration.performance, in: environment).own
    let (replica, dataset) = try communicator.agree("model and data") {
      try configuration.validate()
      let source = try ModelSource.resolve(directory)
      let (training, heldOut) = try TrainingSetup.load(configuration, model: source.0)
      let dataset = heldOut ?? training
      let capacity = configuration.performance.capacity(
        mode: .standard, positions: dataset.longestSequence, typicalPositions: dataset.meanTargetCount,
        parameterCount: source.0.parameterCount)
      let replica = try ModelReplica(
        ReplicaPlan(
          model: source.0, mode: .standard, capacity: capacity, optimizer: nil, computesGradients: false,
          threads: threads))
      guard source.directory != nil else { throw TrainingError.noWeights(preset: directory) }
      return (replica, dataset)
    }
    try communicator.requireEqual(configuration, replica.plan.model, training: dataset, evaluation: nil)
    try replica.loadParameters(from: directory, key: RandomKey(seed: 0), communicator: communicator)
    loss = try replica.team.use { try replica.meanLoss(over: dataset, communicator: communicator) }
    perplexity = exp(loss)
    records = dataset.count
    targets = dataset.totalTargetCount
  }
}
