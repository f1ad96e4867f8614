import Foundation
import PrivacyAccounting

/// Loss of a model on records, and of a classifier how often it is right; computed without noise.
public struct Evaluation: Sendable {
  /// Nats a target, of a classifier a record.
  public let loss: Double
  public let records: Int
  /// Those that carry loss; of a classifier as many as records.
  public let targets: Int
  /// nil: a language model.
  public let classification: Labels?

  public struct Labels: Sendable {
    public let names: [String]
    public let counts: ClassificationCounts
  }

  public var perplexity: Double { exp(loss) }

  /// Reads model and records and computes; collective, the records are split over the ranks.
  ///
  /// - Parameters:
  ///   - configuration: model and data: files, or `builtin` for the built-in corpus' held-out records. With a field of labels the model
  ///     is a classifier.
  ///   - note: told, on rank 0 and before anything is computed, what is to be known of the records.
  public init(_ configuration: TrainingConfiguration, environment: MPIEnvironment, note: (String) -> Void = { _ in }) throws {
    var configuration = configuration
    configuration.mode = .standard
    let communicator = environment.world
    let loaded = try ModelOnData(
      configuration, task: configuration.task(allowsNewHead: false), verb: "evaluated", environment: environment, note: note)
    let (replica, dataset) = (loaded.replica, loaded.dataset)
    if let labels = replica.plan.configuration.labels {
      let result = try replica.team.use { try replica.classification(over: dataset, communicator: communicator) }
      loss = result.loss
      classification = Labels(names: labels, counts: result.counts)
    } else {
      loss = try replica.team.use { try replica.meanLoss(over: dataset, communicator: communicator) }
      classification = nil
    }
    try replica.checkFiles(communicator)
    records = dataset.count
    targets = dataset.countedTargetCount
  }
}

extension Evaluation: Encodable {
  private enum CodingKeys: String, CodingKey {
    case loss, perplexity, records, targets, accuracy, labels
    case macroF1 = "macro_f1"
  }

  /// What is beyond a double is infinite to whoever reads it.
  public func encode(to encoder: any Encoder) throws {
    let number = { (value: Double) in ExtendedReal(value: value.isFinite ? value : .infinity) }
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(number(loss), forKey: .loss)
    try values.encode(records, forKey: .records)
    guard let classification else {
      try values.encode(number(perplexity), forKey: .perplexity)
      try values.encode(targets, forKey: .targets)
      return
    }
    try values.encode(number(classification.counts.accuracy), forKey: .accuracy)
    try values.encode(number(classification.counts.macroF1), forKey: .macroF1)
    try values.encode(Dictionary(uniqueKeysWithValues: classification.rows.map { ($0.label, $0) }), forKey: .labels)
  }
}

extension Evaluation.Labels {
  /// How a label fared.
  public struct Row: Sendable, Encodable {
    public let label: String
    /// Records of it, records that it is said of, and both.
    public let records, predicted, correct: Int
    /// nil where it never occurs.
    public let precision, recall, f1: Double?

    private enum CodingKeys: CodingKey { case records, predicted, correct, precision, recall, f1 }
  }

  /// In the order of the labels.
  public var rows: [Row] {
    names.enumerated().map { index, name in
      let (records, predicted, correct) = (counts.records(of: index), counts.predicted(index), counts.correct(index))
      let part = { (whole: Int) in whole == 0 ? nil : Double(correct) / Double(whole) }
      return Row(
        label: name, records: records, predicted: predicted, correct: correct, precision: part(predicted), recall: part(records),
        f1: counts.f1(index))
    }
  }
}
