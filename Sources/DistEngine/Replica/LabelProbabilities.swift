import Foundation

/// What a classifier makes of one record: a probability for each label.
package struct LabelProbabilities: Sendable {
  /// `[C]`, of sum 1.
  package let values: [Double]
  private let logSumExp: Double
  private let logits: [Double]

  /// - Parameter logits: `[C]`.
  package init(_ logits: Vector) {
    let logits = logits.map(Double.init)
    let top = logits.reduce(-.infinity) { $1 > $0 ? $1 : $0 }
    let sum = logits.reduce(0) { $0 + exp($1 - top) }
    (self.logits, logSumExp) = (logits, top + log(sum))
    values = logits.map { exp($0 - top) / sum }
  }

  package var areFinite: Bool { values.allSatisfy(\.isFinite) }

  /// The likeliest label; the first of several.
  package var likeliest: Int { logits.indices.reduce(0) { logits[$1] > logits[$0] ? $1 : $0 } }

  /// -log p(label), in nats.
  package func loss(of label: Int) -> Double { logSumExp - logits[label] }
}

extension ModelReplica {
  /// Mean loss over all records of a data set, in nats, and how often which label is said of which; its records are split over the ranks.
  /// Collective.
  package func classification(over dataset: TokenizedDataset, communicator: Communicator) throws -> (loss: Double, counts: ClassificationCounts) {
    var counts = ClassificationCounts(labels: plan.configuration.labelCount)
    var sums = [0.0]
    classify(stride(from: communicator.rank, to: dataset.count, by: communicator.size), in: dataset) { record, logits in
      guard let label = dataset.label(of: record).map({ Int($0) }) else { preconditionFailure("a record without a label") }
      let probabilities = LabelProbabilities(logits)
      counts.add(label: label, predicted: probabilities.likeliest)
      sums[0] += probabilities.loss(of: label)
    }
    try communicator.allreduceSum(&sums)
    try counts.combine(over: communicator)
    return (sums[0] / Double(dataset.count), counts)
  }
}
