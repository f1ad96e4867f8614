/// Some units of a batch, packed: row after row without padding, so nothing is computed for positions that aren't there.
///
/// Three things: a *record* is a text of the data; a *sequence* is what attention sees, the rows of one record; a *unit* is what privacy
/// protects, one record or several of the same name, whose sequences lie one behind the other.
///
/// R rows are the targets of all sequences; a row's loss counts `1/(T_i k)`, T_i being the targets of its own sequence and k the
/// sequences of its unit, so that a unit's loss is the mean over its records of the mean over each one's targets.
package struct Microbatch {
  /// The most that a microbatch may hold.
  package struct Capacity: Hashable, Sendable {
    package let units: Int
    package let rows: Int
    /// T: targets of the longest sequence.
    package let positions: Int
    /// Rows of the largest unit: T where a unit is one record.
    package let unitRows: Int

    /// Of one sequence that comes a piece at a time, in passes that keep keys and values.
    ///
    /// - Parameter rows: of a pass.
    package init(cachedPositions positions: Int, rows: Int) {
      precondition(rows >= 1 && positions >= rows, "passes of \(rows) rows for \(positions) positions")
      (units, self.rows, self.positions, unitRows) = (1, rows, positions, rows)
    }

    package init(units: Int, rows: Int, positions: Int, unitRows: Int? = nil) {
      let unitRows = unitRows ?? positions
      precondition(units >= 1 && positions >= 1 && unitRows >= positions && rows >= unitRows, "a microbatch holds at least one unit")
      self.units = units
      self.rows = rows
      self.positions = positions
      self.unitRows = unitRows
    }
  }

  package let capacity: Capacity
  private let tokenBuffer, targetBuffer, positionBuffer: UnsafeMutableBufferPointer<Int32>
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

  /// Buffers that a plan declared.
  package struct Buffers: Sendable {
    let tokens, targets, positions, lossScale, losses: MemoryPlan.BufferID

    package init(_ capacity: Capacity, in plan: inout MemoryPlan) {
      tokens = plan.add("microbatch tokens", .data, count: capacity.rows, of: Int32.self)
      targets = plan.add("microbatch targets", .data, count: capacity.rows, of: Int32.self)
      positions = plan.add("microbatch positions", .data, count: capacity.rows, of: Int32.self)
      lossScale = plan.add("microbatch loss scale", .data, count: capacity.rows)
      losses = plan.add("microbatch losses", .data, count: capacity.rows, of: Double.self)
    }
  }

  package init(_ capacity: Capacity, _ buffers: Buffers, in arena: MemoryArena) {
    self.capacity = capacity
    tokenBuffer = arena.elements(buffers.tokens, of: Int32.self)
    targetBuffer = arena.elements(buffers.targets, of: Int32.self)
    positionBuffer = arena.elements(buffers.positions, of: Int32.self)
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
  package var targets: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: targetBuffer[..<rowCount]) }
  package var positions: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: positionBuffer[..<rowCount]) }
  package var lossScale: Vector { Vector(rebasing: lossScaleBuffer[..<rowCount]) }
  /// Loss of each row, in nats, after the forward pass.
  package var losses: UnsafeMutableBufferPointer<Double> { UnsafeMutableBufferPointer(rebasing: lossBuffer[..<rowCount]) }

  package mutating func removeAll() {
    sequences.removeAll(keepingCapacity: true)
    records.removeAll(keepingCapacity: true)
    recordCounts.removeAll(keepingCapacity: true)
    isFirstPart.removeAll(keepingCapacity: true)
    unitRows.removeAll(keepingCapacity: true)
    unitSequences.removeAll(keepingCapacity: true)
    units.removeAll(keepingCapacity: true)
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
    appendSequence(ids, record: unit, of: 1)
    for row in rowCount - (ids.count - 1)..<rowCount { positionBuffer[row] += Int32(first) }
    endUnit(unit, sequences: 1, of: 1, isFirst: true)
  }

  /// Appends a sequence of a unit of `count`.
  private mutating func appendSequence(_ ids: some RandomAccessCollection<Int32>, record: Int, of count: Int) {
    let targets = ids.count - 1
    precondition(targets >= 1 && targets <= capacity.positions, "a record of \(targets) targets")
    let first = rowCount
    for (t, (id, next)) in zip(ids.dropLast(), ids.dropFirst()).enumerated() {
      tokenBuffer[first + t] = id
      targetBuffer[first + t] = next
      positionBuffer[first + t] = Int32(t)
      lossScaleBuffer[first + t] = 1 / Float(targets * count)
    }
    sequences.append(first..<first + targets)
    records.append(record)
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
      let inputs = dataset.inputRange(of: record)
      appendSequence(dataset.ids[inputs.lowerBound...inputs.upperBound], record: record, of: drawn.recordCount)
    }
    endUnit(drawn.unit, sequences: drawn.records.count, of: drawn.recordCount, isFirst: drawn.isFirst)
  }

  /// Mean loss of a sequence over its targets, in nats.
  package func loss(ofSequence sequence: Int) -> Double {
    let rows = sequences[sequence]
    return losses[rows].reduce(0, +) / Double(rows.count)
  }

  /// Mean over a unit's records of the loss of each; of a part of a unit, what it contributes to that.
  package func loss(ofUnit unit: Int) -> Double {
    unitSequences[unit].reduce(0) { $0 + loss(ofSequence: $1) } / Double(recordCounts[unit])
  }
}
