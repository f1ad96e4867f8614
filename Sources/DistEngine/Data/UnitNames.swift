/// Which unit each record belongs to, as a field of the data names it. Units count in the order of their first appearance.
///
/// Names are compared by their bytes: the integer 1 and the text "1" are one unit.
package struct UnitNames: Sendable {
  package private(set) var names: [[UInt8]] = []
  /// Of each record.
  package private(set) var units: [Int] = []
  private var places: [[UInt8]: Int] = [:]

  package init() {}

  /// Those of several lists of records, one list behind the other.
  init(joining lists: [UnitNames]) {
    for list in lists {
      for unit in list.units { append(list.names[unit]) }
    }
  }

  /// The next record's unit.
  package mutating func append(_ name: [UInt8]) {
    if let place = places[name] {
      units.append(place)
    } else {
      places[name] = names.count
      units.append(names.count)
      names.append(name)
    }
  }
}

/// The records of each unit: what privacy protects, one record or several of one name.
package struct UnitIndex: Sendable {
  package let count: Int
  /// nil where every record is a unit of its own.
  private let groups: Groups?

  private struct Groups {
    /// Where a unit's records begin in `records`, and where the last one's end: [count + 1].
    let offsets: [Int]
    /// Records by unit, each unit's ascending.
    let records: [Int]
  }

  /// Every record a unit of its own.
  package init(recordCount: Int) {
    count = recordCount
    groups = nil
  }

  package init(_ names: UnitNames) {
    var counts = [Int](repeating: 0, count: names.names.count + 1)
    for unit in names.units { counts[unit + 1] += 1 }
    for unit in names.names.indices { counts[unit + 1] += counts[unit] }
    var places = counts
    var records = [Int](repeating: 0, count: names.units.count)
    for (record, unit) in names.units.enumerated() {
      records[places[unit]] = record
      places[unit] += 1
    }
    count = names.names.count
    groups = Groups(offsets: counts, records: records)
  }

  package func records(of unit: Int) -> ArraySlice<Int> {
    guard let groups else { return [unit] }
    return groups.records[groups.offsets[unit]..<groups.offsets[unit + 1]]
  }
}

/// Which of a unit's records take part in a step: all, or where there are more than `most` a choice that is a function of (key, step, record),
/// the same on every rank.
package struct RecordChoice: Sendable {
  private let most: Int
  private let random: CounterRandom?

  package static let all = RecordChoice(most: .max, random: nil)

  /// - Parameter random: keyed for the choice of records and nothing else.
  package init(most: Int, random: CounterRandom) {
    precondition(most >= 1, "\(most) records a unit")
    self.init(most: most, random: Optional(random))
  }

  private init(most: Int, random: CounterRandom?) {
    self.most = most
    self.random = random
  }

  /// In ascending order.
  package func records(of unit: Int, step: Int, in units: UnitIndex) -> ArraySlice<Int> {
    let all = units.records(of: unit)
    guard all.count > most, let random else { return all }
    let drawn = all.map { record in (word: random.words(stream: UInt64(step), from: record, count: 1)[0], record: record) }
    return drawn.sorted { ($0.word, $0.record) < ($1.word, $1.record) }.prefix(most).map(\.record).sorted()[...]
  }
}

/// A unit that a step has drawn, with the records of it that take part; or some of these, where they don't fit a microbatch.
package struct DrawnUnit: Sendable {
  package let unit: Int
  package let records: ArraySlice<Int>
  /// Records of the whole unit that take part: its gradient is the mean over them.
  package let recordCount: Int
  /// Whether it is the unit, or its first part: where it is counted.
  package let isFirst: Bool

  package init(unit: Int, records: ArraySlice<Int>, recordCount: Int? = nil, isFirst: Bool = true) {
    self.isFirst = isFirst
    self.unit = unit
    self.records = records
    self.recordCount = recordCount ?? records.count
  }
}

extension TokenizedDataset {
  /// Targets of the records that take part.
  package func targetCount(of drawn: DrawnUnit) -> Int { drawn.records.reduce(0) { $0 + targetCount(of: $1) } }
}
