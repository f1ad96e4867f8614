import Foundation
import PrivacyAccounting

/// Loss of a model on records, computed without noise.
public struct Evaluation: Sendable {
  /// Nats a target.
  public let loss: Double
  public let perplexity: Double
  public let records: Int
  /// Those that carry loss.
  public let targets: Int

  /// Reads model and records and computes; collective, the records are split over the ranks.
  ///
  /// - Parameters:
  ///   - data: files, or `builtin` for the built-in corpus' held-out records.
  ///   - fields: of the text, and of what it completes.
  ///   - note: told, on rank 0 and before anything is computed, what is to be known of the records.
  public init(
    model directory: String, data: [String], fields: (texts: [String], prompt: String?) = (["text"], nil), sequenceLength: Int?,
    tokenizer: TokenizerKind? = nil, environment: MPIEnvironment, note: (String) -> Void = { _ in }
  ) throws {
    let communicator = environment.world
    var configuration = TrainingConfiguration()
    configuration.mode = .standard
    configuration.model = directory
    configuration.data = data
    (configuration.textFields, configuration.promptField) = fields
    configuration.tokenizer = tokenizer
    configuration.sequenceLength = sequenceLength
    let threads = try ThreadCounts(configuration.performance, in: environment).own
    let source = try communicator.agree("model") {
      try configuration.validate()
      let source = try ModelSource.resolve(directory, tokenizer: tokenizer)
      guard source.directory != nil else { throw TrainingError.noWeights(preset: directory) }
      return source
    }
    try communicator.requireEqual(configuration, source.configuration)
    let loaded = try LoadedRecords(configuration, model: source.configuration, tokenizer: source.tokenizer, environment: environment, progress: note)
    let dataset = loaded.evaluation ?? loaded.training
    try communicator.requireEqual(training: dataset, evaluation: nil, node: environment.node)
    let replica = try communicator.agree("memory") {
      let capacity = configuration.performance.capacity(
        mode: .standard, positions: dataset.longestSequence, typicalPositions: dataset.meanTargetCount,
        parameterCount: source.configuration.parameterCount)
      let plan = try ReplicaPlan(
        model: source.configuration, mode: .standard, capacity: capacity, optimizer: nil, computesGradients: false, threads: threads)
      try plan.checkAddressSpace(threads: threads)
      return try ModelReplica(plan)
    }
    if communicator.rank == 0 { dataset.notes("evaluated").forEach(note) }
    try replica.loadParameters(from: directory, key: RandomKey(seed: 0), communicator: communicator)
    loss = try replica.team.use { try replica.meanLoss(over: dataset, communicator: communicator) }
    perplexity = exp(loss)
    records = dataset.count
    targets = dataset.countedTargetCount
  }
}

extension Evaluation: Encodable {
  private enum CodingKeys: String, CodingKey { case loss, perplexity, records, targets }

  /// What is beyond a double is infinite to whoever reads it.
  public func encode(to encoder: any Encoder) throws {
    let number = { (value: Double) in ExtendedReal(value: value.isFinite ? value : .infinity) }
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(number(loss), forKey: .loss)
    try values.encode(number(perplexity), forKey: .perplexity)
    try values.encode(records, forKey: .records)
    try values.encode(targets, forKey: .targets)
  }
}
