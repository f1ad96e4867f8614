/// How units are divided into microbatches: by the plan and their lengths alone.
extension ReplicaPlan {
  /// Divides units into microbatches.
  ///
  /// - Parameters:
  ///   - choice: of a unit's records.
  ///   - step: of the draw, for the choice.
  package func batches(
    of units: some Sequence<Int>, in dataset: TokenizedDataset, choice: RecordChoice = .all, step: Int = 0
  ) -> ModelReplica.Batches {
    var result = ModelReplica.Batches()
    var fitting: [DrawnUnit] = []
    for unit in units {
      let drawn = DrawnUnit(unit: unit, records: choice.records(of: unit, step: step, in: dataset.units))
      if dataset.targetCount(of: drawn) <= capacity.unitRows {
        fitting.append(drawn)
      } else if mode.isPrivate {
        result.large.append((unit, parts(of: drawn, in: dataset)))
      } else {
        fitting += parts(of: drawn, in: dataset)
      }
    }
    result.microbatches = packed(fitting, in: dataset)
    return result
  }

  /// What one of several ranks takes of a large unit that they take together: every so many'th part, as many as the others.
  package func sharedParts(
    ofUnit unit: Int, in dataset: TokenizedDataset, choice: RecordChoice = .all, step: Int = 0, rank: Int, ranks: Int
  ) -> [DrawnUnit?] {
    let all = parts(of: DrawnUnit(unit: unit, records: choice.records(of: unit, step: step, in: dataset.units)), in: dataset)
    return stride(from: 0, to: all.count, by: ranks).map { first in first + rank < all.count ? all[first + rank] : nil }
  }

  /// A unit in parts that each fit a microbatch.
  private func parts(of drawn: DrawnUnit, in dataset: TokenizedDataset) -> [DrawnUnit] {
    var parts: [DrawnUnit] = []
    var first = drawn.records.startIndex
    var targets = 0
    for place in drawn.records.indices {
      let own = dataset.targetCount(of: drawn.records[place])
      if targets + own > capacity.unitRows {
        parts.append(
          DrawnUnit(unit: drawn.unit, records: drawn.records[first..<place], recordCount: drawn.recordCount, isFirst: parts.isEmpty))
        (first, targets) = (place, 0)
      }
      targets += own
    }
    let last = DrawnUnit(unit: drawn.unit, records: drawn.records[first...], recordCount: drawn.recordCount, isFirst: parts.isEmpty)
    return parts + [last]
  }

  /// Units by microbatch, filled by their rows: the longest first, each into the fullest that has room for it (best fit by decreasing size:
  /// Johnson et al. 1974, at most 11/9 of the fewest there can be), so that short ones fill what long ones leave. Those that the plan wants
  /// alone are.
  ///
  /// The order changes nothing but that of sums: draw, norms and factors are each unit's own.
  func packed(_ units: [DrawnUnit], in dataset: TokenizedDataset) -> [[DrawnUnit]] {
    var groups: [[DrawnUnit]] = []
    // Microbatches with room for so many rows more.
    var withRoom = [[Int]](repeating: [], count: capacity.rows + 1)
    let byLength = units.map { (targets: dataset.targetCount(of: $0), drawn: $0) }
      .sorted { ($0.targets, $1.drawn.unit) > ($1.targets, $0.drawn.unit) }
    for (count, drawn) in byLength {
      if count >= capacity.ownMicrobatchRows ?? .max {
        groups.append([drawn])
        continue
      }
      let room = (count...capacity.rows).first { !withRoom[$0].isEmpty }
      let group = room.flatMap { withRoom[$0].popLast() } ?? groups.count
      if group == groups.count { groups.append([]) }
      groups[group].append(drawn)
      if groups[group].count < capacity.units { withRoom[(room ?? capacity.rows) - count].append(group) }
    }
    return groups
  }
}
