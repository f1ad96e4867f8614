/// What a model's passes run on: its parameters, and the memory that its declaration asked for.
package final class PassMemory {
  package let declaration: ParameterTable
  package let policy: PassPolicy
  /// Whether anything below the head's own weight is trained.
  let gradientGoesBelowHead: Bool
  /// The trained tensors, by canonical index.
  package let parameters: TensorSlab
  private let frozen: TensorSlab
  private let arena: MemoryArena
  private let buffers: [MemoryPlan.BufferID]

  /// Writes the buffers that hold the same in every pass.
  ///
  /// - Parameters:
  ///   - parameters: `[P]` trained floats in canonical order.
  ///   - frozen: the frozen ones in theirs.
  ///   - buffers: of the plan, in order of declaration.
  package init(
    _ table: ParameterTable, _ model: ModelDeclaration, parameters: Vector, frozen: Vector, buffers: [MemoryPlan.BufferID],
    in arena: MemoryArena
  ) {
    policy = model.policy
    gradientGoesBelowHead = model.gradientGoesBelowHead
    precondition(parameters.count == table.trained.totalCount, "a slab of \(parameters.count) parameters")
    precondition(frozen.count == table.frozen.totalCount, "a slab of \(frozen.count) frozen parameters")
    declaration = table
    self.parameters = TensorSlab(parameters.baseAddress ?? Self.nothing, extents: table.trained.extents)
    self.frozen = TensorSlab(frozen.baseAddress ?? Self.nothing, extents: table.frozen.extents)
    self.buffers = buffers
    self.arena = arena
    for constant in model.constants { constant.fill(elements(constant.buffer)) }
  }

  /// An address for slabs without tensors.
  private static var nothing: UnsafeMutablePointer<Float> { UnsafeMutablePointer(bitPattern: MemoryLayout<Float>.alignment)! }

  func elements(_ id: PassBufferID) -> Vector { arena.elements(buffers[id.index]) }
  func view(_ id: ParameterID) -> Matrix { declaration.view(id, trained: parameters, frozen: frozen) }
}

/// A pass of one microbatch through a model: turns what layers declared into memory.
package struct Pass {
  package let memory: PassMemory
  package let batch: Microbatch

  package init(_ memory: PassMemory, _ batch: Microbatch) {
    self.memory = memory
    self.batch = batch
  }

  package var rows: Int { batch.rowCount }

  /// `[R, columns]` at the start of a buffer.
  func matrix(_ id: PassBufferID, columns: Int) -> Matrix { matrix(id, rows: rows, columns: columns) }

  func matrix(_ id: PassBufferID, rows: Int, columns: Int) -> Matrix {
    let elements = memory.elements(id)
    precondition(rows * columns <= elements.count, "\(rows) x \(columns) in a buffer of \(elements.count)")
    return Matrix(elements.baseAddress!, rows: rows, columns: columns)
  }

  func vector(_ id: PassBufferID) -> Vector { Vector(rebasing: memory.elements(id)[..<rows]) }

  func matrix(_ id: ParameterID) -> Matrix { memory.view(id) }
  func vector(_ id: ParameterID) -> Vector { memory.view(id).elements }
  /// nil: frozen.
  func tensor(_ id: ParameterID) -> Int? { memory.declaration.tensor(id) }
}

extension [MemoryPlan.BufferID] {
  /// A declared buffer's place in the plan.
  package subscript(id: PassBufferID) -> MemoryPlan.BufferID { self[id.index] }
}
