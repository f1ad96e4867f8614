import Foundation

extension TokenizedDataset {
  /// Entropy of the targets' distribution, in nats: the loss of the best model that knows only how often each id occurs.
  package var unigramEntropy: Double {
    var counts: [Int32: Int] = [:]
    for record in 0..<count {
      for id in targets(of: record) { counts[id, default: 0] += 1 }
    }
    let total = Double(totalTargetCount)
    return counts.values.reduce(0) { $0 - Double($1) / total * log(Double($1) / total) }
  }

  /// Targets of a record, on average, rounded up; 0 without records.
  package var meanTargetCount: Int { isEmpty ? 0 : (totalTargetCount + count - 1) / count }
}
