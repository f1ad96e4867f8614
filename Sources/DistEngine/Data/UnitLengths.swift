/// How many units have so many targets: what decides how microbatches are filled.
package struct UnitLengths: Sendable, Equatable {
  /// By targets, the shortest first.
  package let counts: [(targets: Int, count: Int)]

  /// - Parameter lengths: targets of each unit, in any order.
  package init(_ lengths: some Sequence<Int>) {
    var counts: [Int: Int] = [:]
    for length in lengths { counts[length, default: 0] += 1 }
    self.counts = counts.sorted { $0.key < $1.key }.map { (targets: $0.key, count: $0.value) }
  }

  package static func == (a: Self, b: Self) -> Bool { a.counts.elementsEqual(b.counts) { $0 == $1 } }

  package var shortest: Int? { counts.first?.targets }
  package var longest: Int? { counts.last?.targets }
  package var unitCount: Int { counts.reduce(0) { $0 + $1.count } }
}

extension TokenizedDataset {
  /// Targets of the units, of which at most `most` records take part: then a part of its records' on average, rounded up.
  package func unitLengths(ofRecords most: Int) -> UnitLengths {
    UnitLengths(
      (0..<unitCount).lazy.map { unit in
        let records = units.records(of: unit)
        let targets = records.reduce(0) { $0 + targetCount(of: $1) }
        let taken = min(most, records.count)
        return (targets * taken + records.count - 1) / records.count
      })
  }
}
