/// Some units of a batch, packed: row after row without padding, so nothing is computed for positions that aren't there.
///
/// Three things: a *record* is a text of the data; a *sequence* is what attention sees, the rows of one record; a *unit* is what privacy
/// protects, one record or several of the same name, whose sequences lie one behind the other.
///
/// R rows are the inputs of all sequences. A language model's row has a target, whose loss counts `1/(T_i k)`, T_i being the targets of its own
/// sequence that count and k the sequences of its unit, so that a unit's loss is the mean over its records of the mean over each one's targets. A
/// target that doesn't count, of a prompt, is −1: its loss is 0 and so is its gradient, whatever the logits. A classifier's sequence has a label,
/// whose loss counts 1/k, and no targets.
package struct Microbatch {
  /// The most that a microbatch may hold.
  package struct Capacity: Hashable, Sendable {
    package let units: Int
    package let rows: Int
    /// T: targets of the longest sequence.
    package let positions: Int
    /// Rows of the largest unit: T where a unit is one record.
    package let unitRows: Int
    /// Whether every unit is one record, so that there are no more sequences than units.
    package let unitsAreRecords: Bool
    /// Rows from which on a unit gets a microbatch of its own; nil: it shares one where others fit.
    package let ownMicrobatchRows: Int?

    /// Of one sequence that comes a piece at a time, in passes that keep keys and values.
    ///
    /// - Parameter rows: of a pass.
    package init(cachedPositions positions: Int, rows: Int) {
      precondition(rows >= 1 && positions >= rows, "passes of \(rows) rows for \(positions) positions")
      (units, self.rows, self.positions, unitRows, unitsAreRecords, ownMicrobatchRows) = (1, rows, positions, rows, true, nil)
    }

    package init(units: Int, rows: Int, positions: Int, unitRows: Int? = nil, unitsAreRecords: Bool = false, ownMicrobatchRows: Int? = nil) {
      let unitRows = unitRows ?? positions
      precondition(units >= 1 && positions >= 1 && unitRows >= positions && rows >= unitRows, "a microbatch holds at least one unit")
      self.units = units
      self.rows = rows
      self.positions = positions
      self.unitRows = unitRows
      self.unitsAreRecords = unitsAreRecords
      self.ownMicrobatchRows = ownMicrobatchRows
    }

    /// The most sequences: each has a row at least.
    package var sequences: Int { unitsAreRecords ? min(units, rows) : rows }
  }

  package let capacity: Capacity
  private let tokenBuffer, targetBuffer, positionBuffer, typeBuffer, labelBuffer: UnsafeMutableBufferPointer<Int32>
  private let lossScaleBuffer: Vector
  private let lossBuffer: UnsafeMutableBufferPointer<Double>

  /// The rows of each sequence.
  package private(set) var sequences: [Range<Int>] = []
  /// The rows of each unit.
  package private(set) var unitRows: [Range<Int>] = []
  /// Places in `sequences` of each unit's.
  package private(set) var unitSequences: [Range<Int>] = []
  /// The unit (its index in the data set) behind each of `unitRows`.
  package private(set) var units: [Int] = []
  /// Whether each of `unitRows` is a unit or the first part of one.
  package private(set) var isFirstPart: [Bool] = []
  /// Records that take part, of each whole unit.
  private var recordCounts: [Int] = []
  /// The record behind each of `sequences`.
  package private(set) var records: [Int] = []
  /// Targets of each sequence that count: 0 where a completion was cut away altogether.
  private var countedTargets: [Int] = []
  /// Whether sequences have labels in place of targets.
  package private(set) var isClassification = false

  /// Buffers that a plan declared.
  package struct Buffers: Sendable {
    let tokens, targets, positions, types, labels, lossScale, losses: MemoryPlan.BufferID

    package init(_ capacity: Capacity, in plan: inout MemoryPlan) {
      tokens = plan.add("microbatch tokens", .data, count: capacity.rows, of: Int32.self)
      targets = plan.add("microbatch targets", .data, count: capacity.rows, of: Int32.self)
      positions = plan.add("microbatch positions", .data, count: capacity.rows, of: Int32.self)
      types = plan.add("microbatch token types", .data, count: capacity.rows, of: Int32.self)
      labels = plan.add("microbatch labels", .data, count: capacity.rows, of: Int32.self)
      lossScale = plan.add("microbatch loss scale", .data, count: capacity.rows)
      losses = plan.add("microbatch losses", .data, count: capacity.rows, of: Double.self)
    }
  }

  package init(_ capacity: Capacity, _ buffers: Buffers, in arena: MemoryArena) {
    self.capacity = capacity
    tokenBuffer = arena.elements(buffers.tokens, of: Int32.self)
    targetBuffer = arena.elements(buffers.targets, of: Int32.self)
    positionBuffer = arena.elements(buffers.positions, of: Int32.self)
    typeBuffer = arena.elements(buffers.types, of: Int32.self)
    labelBuffer = arena.elements(buffers.labels, of: Int32.self)
    lossScaleBuffer = arena.elements(buffers.lossScale)
    lossBuffer = arena.elements(buffers.losses, of: Double.self)
    sequences.reserveCapacity(capacity.units)
    records.reserveCapacity(capacity.units)
    unitRows.reserveCapacity(capacity.units)
    unitSequences.reserveCapacity(capacity.units)
    units.reserveCapacity(capacity.units)
  }

  package var rowCount: Int { sequences.last?.upperBound ?? 0 }
  package var tokens: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: tokenBuffer[..<rowCount]) }
  /// By row; −1: no loss here.
  package var targets: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: targetBuffer[..<rowCount]) }
  /// By row; 0 where records have none.
  package var tokenTypes: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: typeBuffer[..<rowCount]) }
  /// By sequence, of a classification.
  package var labels: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: labelBuffer[..<(isClassification ? sequences.count : 0)]) }
  package var positions: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: positionBuffer[..<rowCount]) }
  /// What each loss counts in its unit's: by row, of a classification by sequence.
  package var lossScale: Vector { Vector(rebasing: lossScaleBuffer[..<lossCount]) }
  /// Losses in nats, after the forward pass: by row, 0 where it has no target that counts; of a classification by sequence.
  package var losses: UnsafeMutableBufferPointer<Double> { UnsafeMutableBufferPointer(rebasing: lossBuffer[..<lossCount]) }
  private var lossCount: Int { isClassification ? sequences.count : rowCount }
  /// Targets that count, of all sequences; a classification's labels.
  package var countedTargetCount: Int { countedTargets.reduce(0, +) }

  package mutating func removeAll() {
    sequences.removeAll(keepingCapacity: true)
    records.removeAll(keepingCapacity: true)
    countedTargets.removeAll(keepingCapacity: true)
    isClassification = false
    recordCounts.removeAll(keepingCapacity: true)
    isFirstPart.removeAll(keepingCapacity: true)
    unitRows.removeAll(keepingCapacity: true)
    unitSequences.removeAll(keepingCapacity: true)
    units.removeAll(keepingCapacity: true)
  }

  /// Takes ids that a smaller vocabulary doesn't have for others, for measurements.
  package func fold(into vocabulary: Int) {
    let limit = Int32(clamping: vocabulary)
    for row in 0..<rowCount {
      tokenBuffer[row] %= limit
      // A classifier's row has none; -1 stays.
      if !isClassification && targetBuffer[row] >= limit { targetBuffer[row] %= limit }
    }
  }

  /// Whether a unit of so many targets still fits.
  package func hasRoom(for targets: Int) -> Bool {
    units.count < capacity.units && rowCount + targets <= capacity.rows
  }

  /// Appends a unit of one record of at least two ids: all but the last are inputs, all but the first are targets.
  ///
  /// - Parameter first: position of the first: above 0 where those before it were in an earlier pass.
  package mutating func append(unit: Int, ids: some RandomAccessCollection<Int32>, first: Int = 0) {
    precondition(hasRoom(for: ids.count - 1) && first + ids.count - 1 <= capacity.positions, "a record of \(ids.count - 1) targets")
    appendSequence(ids.dropLast(), record: unit)
    setTargets(ids.dropFirst(), of: 1, lossStart: 0)
    for row in rowCount - (ids.count - 1)..<rowCount { positionBuffer[row] += Int32(first) }
    endUnit(unit, sequences: 1, of: 1, isFirst: true)
  }

  /// Appends a unit of one record of a classification: all ids are inputs.
  package mutating func append(unit: Int, ids: some RandomAccessCollection<Int32>, label: Int32) {
    precondition(hasRoom(for: ids.count), "a record of \(ids.count) ids")
    appendSequence(ids, record: unit)
    setLabel(label, of: 1)
    endUnit(unit, sequences: 1, of: 1, isFirst: true)
  }

  /// Appends a sequence's inputs.
  private mutating func appendSequence(
    _ ids: some RandomAccessCollection<Int32>, types: (some RandomAccessCollection<Int32>)? = [Int32]?.none, record: Int
  ) {
    precondition(!ids.isEmpty && ids.count <= capacity.positions, "a record of \(ids.count) rows")
    let first = rowCount
    for (t, id) in ids.enumerated() {
      tokenBuffer[first + t] = id
      positionBuffer[first + t] = Int32(t)
      typeBuffer[first + t] = 0
    }
    if let types {
      for (t, type) in types.enumerated() { typeBuffer[first + t] = type }
    }
    sequences.append(first..<first + ids.count)
    records.append(record)
  }

  /// Gives the last sequence its targets, those from `lossStart` on with a loss.
  ///
  /// - Parameter count: sequences of the unit.
  private mutating func setTargets(_ targets: some RandomAccessCollection<Int32>, of count: Int, lossStart: Int) {
    let rows = sequences[sequences.count - 1]
    let counted = targets.count - lossStart
    for (t, target) in targets.enumerated() {
      targetBuffer[rows.lowerBound + t] = t < lossStart ? -1 : target
      lossScaleBuffer[rows.lowerBound + t] = t < lossStart ? 0 : 1 / Float(counted * count)
    }
    countedTargets.append(counted)
  }

  /// Gives the last sequence its label; −1: it is not known, and its loss is 0.
  private mutating func setLabel(_ label: Int32, of count: Int) {
    isClassification = true
    labelBuffer[sequences.count - 1] = label
    lossScaleBuffer[sequences.count - 1] = 1 / Float(count)
    countedTargets.append(1)
  }

  /// - Parameter total: records of the whole unit that take part.
  private mutating func endUnit(_ unit: Int, sequences count: Int, of total: Int, isFirst: Bool) {
    isFirstPart.append(isFirst)
    recordCounts.append(total)
    let own = sequences.count - count..<sequences.count
    unitSequences.append(own)
    unitRows.append(sequences[own.lowerBound].lowerBound..<rowCount)
    units.append(unit)
  }

  /// Appends a drawn unit of a data set, or the part of it that its records are.
  package mutating func append(_ drawn: DrawnUnit, of dataset: TokenizedDataset) {
    precondition(hasRoom(for: dataset.targetCount(of: drawn)) && !drawn.records.isEmpty, "unit \(drawn.unit) doesn't fit")
    for record in drawn.records {
      appendSequence(dataset.inputs(of: record), types: dataset.tokenTypes(of: record), record: record)
      if dataset.isClassification {
        setLabel(dataset.label(of: record) ?? -1, of: drawn.recordCount)
      } else {
        setTargets(dataset.targets(of: record), of: drawn.recordCount, lossStart: dataset.lossStart(of: record))
      }
    }
    endUnit(drawn.unit, sequences: drawn.records.count, of: drawn.recordCount, isFirst: drawn.isFirst)
  }

  /// Loss of a sequence, in nats: the mean over its targets that count, 0 where none does; a classification's is its label's.
  package func loss(ofSequence sequence: Int) -> Double {
    if isClassification { return losses[sequence] }
    let counted = countedTargets[sequence]
    return counted == 0 ? 0 : losses[sequences[sequence]].reduce(0, +) / Double(counted)
  }

  /// Mean over a unit's records of the loss of each; of a part of a unit, what it contributes to that.
  package func loss(ofUnit unit: Int) -> Double {
    unitSequences[unit].reduce(0) { $0 + loss(ofSequence: $1) } / Double(recordCounts[unit])
  }
}
