/// How often a classifier said each label of records of each label.
public struct ClassificationCounts: Sendable, Equatable {
  /// C.
  package let labels: Int
  /// `[C, C]`: records by their own label, then by the predicted one.
  package private(set) var counts: [Int]

  package init(labels: Int) {
    self.labels = labels
    counts = [Int](repeating: 0, count: labels * labels)
  }

  package mutating func add(label: Int, predicted: Int) { counts[label * labels + predicted] += 1 }

  /// Adds up all ranks' counts; collective.
  mutating func combine(over communicator: Communicator) throws {
    try communicator.allreduceSum(&counts)
  }

  package var records: Int { counts.reduce(0, +) }

  /// Records of a label.
  package func records(of label: Int) -> Int { counts[label * labels..<(label + 1) * labels].reduce(0, +) }
  /// Records that a label is said of.
  package func predicted(_ label: Int) -> Int { (0..<labels).reduce(0) { $0 + counts[$1 * labels + label] } }
  package func correct(_ label: Int) -> Int { counts[label * labels + label] }

  /// The part of the records whose label is said; NaN without records.
  public var accuracy: Double { Double((0..<labels).reduce(0) { $0 + correct($1) }) / Double(records) }

  /// `2·correct / (records of it + records it is said of)`, the harmonic mean of precision and recall; nil where there is neither.
  package func f1(_ label: Int) -> Double? {
    let total = records(of: label) + predicted(label)
    return total == 0 ? nil : 2 * Double(correct(label)) / Double(total)
  }

  /// Mean of F1 over the labels that occur, in the records or in what is said of them, as scikit-learn's `f1_score(average="macro")`.
  public var macroF1: Double {
    let all = (0..<labels).compactMap(f1)
    return all.reduce(0, +) / Double(all.count)
  }
}
