import Foundation

extension TokenizedDataset {
  /// Entropy of the distribution of the targets that count, or of the labels, in nats: the loss of the best model that knows only how often each
  /// occurs.
  package var unigramEntropy: Double {
    var counts: [Int32: Int] = [:]
    for record in 0..<count {
      if let label = label(of: record) {
        counts[label, default: 0] += 1
      } else {
        for id in targets(of: record).dropFirst(lossStart(of: record)) { counts[id, default: 0] += 1 }
      }
    }
    let total = Double(countedTargetCount)
    return counts.values.reduce(0) { $0 - Double($1) / total * log(Double($1) / total) }
  }

  /// Targets of the largest unit of which at most `most` records take part: its longest ones may.
  package func largestUnit(ofRecords most: Int) -> Int {
    (0..<unitCount).reduce(0) { largest, unit in
      let lengths = units.records(of: unit).map(targetCount)
      let taken = lengths.count <= most ? lengths : Array(lengths.sorted(by: >).prefix(most))
      return max(largest, taken.reduce(0, +))
    }
  }
}
