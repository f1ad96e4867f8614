/// What a model's passes run on: its parameters, and the memory that its declaration asked for.
package final class PassMemory {
  package let declaration: ParameterTable
  package let policy: PassPolicy
  /// Whether anything below the head's own weight is trained.
  let gradientGoesBelowHead: Bool
  /// The trained tensors, by canonical index.
  package let parameters: TensorSlab
  private let frozen: TensorSlab
  /// The mapped ones, by their index.
  private let mapped: [NarrowMatrix]
  /// nil: nothing is mapped.
  private let tiles: WideningTiles?
  /// nil: the linear layers' products are of float32.
  private let rounded: BFloat16Products?
  private let arena: MemoryArena
  private let buffers: [MemoryPlan.BufferID]

  /// Writes the buffers that hold the same in every pass.
  ///
  /// - Parameters:
  ///   - parameters: `[P]` trained floats in canonical order.
  ///   - frozen: the frozen ones in theirs.
  ///   - mapped: those that stay in their files, in theirs.
  ///   - buffers: of the plan, in order of declaration.
  package init(
    _ table: ParameterTable, _ model: ModelDeclaration, parameters: Vector, frozen: Vector, mapped: [NarrowMatrix] = [],
    buffers: [MemoryPlan.BufferID], in arena: MemoryArena
  ) {
    policy = model.policy
    gradientGoesBelowHead = model.gradientGoesBelowHead
    precondition(parameters.count == table.trained.totalCount, "a slab of \(parameters.count) parameters")
    precondition(frozen.count == table.frozen.totalCount, "a slab of \(frozen.count) frozen parameters")
    precondition(mapped.count == table.mapped.count, "\(mapped.count) mapped tensors of \(table.mapped.count)")
    declaration = table
    self.mapped = mapped
    tiles = model.wideningTiles.map { WideningTiles(arena.elements(buffers[$0.index])) }
    if case .bfloat16(let library) = model.policy.products, let operands = model.roundedOperands {
      rounded = BFloat16Products(
        library, rows: model.mostProductRows, threads: model.policy.threads, memory: arena.elements(buffers[operands.index]))
    } else {
      rounded = nil
    }
    self.parameters = TensorSlab(parameters.baseAddress ?? Self.nothing, extents: table.trained.extents)
    self.frozen = TensorSlab(frozen.baseAddress ?? Self.nothing, extents: table.frozen.extents)
    self.buffers = buffers
    self.arena = arena
    for constant in model.constants { constant.fill(elements(constant.buffer)) }
  }

  /// An address for slabs without tensors.
  private static var nothing: UnsafeMutablePointer<Float> { UnsafeMutablePointer(bitPattern: MemoryLayout<Float>.alignment)! }

  func elements(_ id: PassBufferID) -> Vector { arena.elements(buffers[id.index]) }
  func view(_ id: ParameterID) -> StoredMatrix { declaration.view(id, trained: parameters, frozen: frozen, mapped: mapped) }

  /// The product of a linear layer's pass, `y = (alpha · x) · w`, or added to y: what such products are made of is chosen here alone.
  ///
  /// Every product that makes activations of activations, or gradients of gradients, row by row, is one of these but attention's, which are within a
  /// sequence.
  func multiply(_ x: Matrix, _ w: MatrixProducts.StoredOperand, into y: Matrix, alpha: Float = 1, adding: Bool) {
    if let rounded { return rounded.multiply(x, w, into: y, alpha: alpha, adding: adding) }
    MatrixProducts.multiply(.plain(x), w, into: y, alpha: alpha, beta: adding ? 1 : 0, tiles: tiles)
  }
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
  func multiply(_ x: Matrix, _ w: MatrixProducts.StoredOperand, into y: Matrix, alpha: Float = 1, adding: Bool = false) {
    memory.multiply(x, w, into: y, alpha: alpha, adding: adding)
  }

  /// `[R, columns]` at the start of a buffer.
  func matrix(_ id: PassBufferID, columns: Int) -> Matrix { matrix(id, rows: rows, columns: columns) }

  func matrix(_ id: PassBufferID, rows: Int, columns: Int) -> Matrix {
    let elements = memory.elements(id)
    precondition(rows * columns <= elements.count, "\(rows) x \(columns) in a buffer of \(elements.count)")
    return Matrix(elements.baseAddress!, rows: rows, columns: columns)
  }

  func vector(_ id: PassBufferID) -> Vector { Vector(rebasing: memory.elements(id)[..<rows]) }

  /// For layers that read it as it is stored.
  func stored(_ id: ParameterID) -> StoredMatrix { memory.view(id) }
  func matrix(_ id: ParameterID) -> Matrix {
    guard case .floats(let matrix) = memory.view(id) else { preconditionFailure("a tensor that stays in its file, read as floats") }
    return matrix
  }
  func vector(_ id: ParameterID) -> Vector { matrix(id).elements }
  /// nil: frozen.
  func tensor(_ id: ParameterID) -> Int? { memory.declaration.tensor(id) }
}

extension [MemoryPlan.BufferID] {
  /// A declared buffer's place in the plan.
  package subscript(id: PassBufferID) -> MemoryPlan.BufferID { self[id.index] }
}
