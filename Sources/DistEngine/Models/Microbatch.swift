/// Some records of a batch, packed: row after row without padding, so nothing is computed for positions that aren't there.
///
/// R rows are the targets of all its records; a row's loss counts `1/T_i`, T_i being the targets of its own record, so that a
/// record's loss is the mean over its targets.
package struct Microbatch {
  /// The most that a microbatch may hold.
  package struct Capacity: Hashable, Sendable {
    package let examples: Int
    package let rows: Int
    /// T: targets of the longest record.
    package let positions: Int

    package init(examples: Int, rows: Int, positions: Int) {
      precondition(examples >= 1 && positions >= 1 && rows >= positions, "a microbatch holds at least one record")
      self.examples = examples
      self.rows = rows
      self.positions = positions
    }
  }

  package let capacity: Capacity
  private let tokenBuffer, targetBuffer, positionBuffer: UnsafeMutableBufferPointer<Int32>
  private let lossScaleBuffer: Vector
  private let lossBuffer: UnsafeMutableBufferPointer<Double>

  /// The rows of each record.
  package private(set) var records: [Range<Int>] = []
  /// The unit (index of the record in the data set) behind each of `records`.
  package private(set) var units: [Int] = []

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
    records.reserveCapacity(capacity.examples)
    units.reserveCapacity(capacity.examples)
  }

  package var rowCount: Int { records.last?.upperBound ?? 0 }
  package var tokens: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: tokenBuffer[..<rowCount]) }
  package var targets: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: targetBuffer[..<rowCount]) }
  package var positions: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(rebasing: positionBuffer[..<rowCount]) }
  package var lossScale: Vector { Vector(rebasing: lossScaleBuffer[..<rowCount]) }
  /// Loss of each row, in nats, after the forward pass.
  package var losses: UnsafeMutableBufferPointer<Double> { UnsafeMutableBufferPointer(rebasing: lossBuffer[..<rowCount]) }

  package mutating func removeAll() {
    records.removeAll(keepingCapacity: true)
    units.removeAll(keepingCapacity: true)
  }

  /// Whether a record of `positions` targets still fits.
  package func hasRoom(for positions: Int) -> Bool {
    records.count < capacity.examples && rowCount + positions <= capacity.rows
  }

  /// Appends a record of at least two ids: all but the last are inputs, all but the first are targets.
  package mutating func append(unit: Int, ids: some RandomAccessCollection<Int32>) {
    let count = ids.count - 1
    precondition(count >= 1 && count <= capacity.positions && hasRoom(for: count), "a record of \(count) targets")
    let first = rowCount
    for (t, (id, next)) in zip(ids.dropLast(), ids.dropFirst()).enumerated() {
      tokenBuffer[first + t] = id
      targetBuffer[first + t] = next
      positionBuffer[first + t] = Int32(t)
      lossScaleBuffer[first + t] = 1 / Float(count)
    }
    records.append(first..<first + count)
    units.append(unit)
  }

  /// Appends a record of a data set.
  package mutating func append(unit: Int, of dataset: TokenizedDataset) {
    let inputs = dataset.inputRange(of: unit)
    append(unit: unit, ids: dataset.ids[inputs.lowerBound...inputs.upperBound])
  }

  /// Mean loss of a record over its targets, in nats.
  package func loss(ofRecord record: Int) -> Double {
    let rows = records[record]
    return losses[rows].reduce(0, +) / Double(rows.count)
  }
}
