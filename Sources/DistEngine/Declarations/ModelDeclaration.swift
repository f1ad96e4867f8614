/// A buffer of a model's passes, by its place in the order of declaration.
package struct PassBufferID: Hashable, Sendable {
  let index: Int
}

/// Collects what a model is made of while its layers are made: parameters, buffers with their lifetimes, shapes.
///
/// Lifetimes are derived: a buffer begins at the stage at which it is declared, and every layer extends what it reads to its own last
/// read. Frozen tensors, recomputation and the three modes need no cases of their own.
package struct ModelDeclaration {
  package let capacity: Microbatch.Capacity
  package let timeline: Timeline
  package let policy: PassPolicy
  /// The first stage with a trained tensor: no backward pass goes below it. nil where nothing is trained.
  package let lowestTrainedStage: Int?
  /// nil: none.
  private let adapters: LowRankAdapters?
  /// What may stay in files.
  private let stored: StoredTensors

  package private(set) var parameters: [ParameterDeclaration] = []
  private var useCounts: [Int] = []
  private var groupCount = 0
  private var buffers: [Buffer] = []
  private var sharedBuffers: [String: PassBufferID] = [:]
  private var stage = 0
  private var bufferPrefix = ""
  private var parameterPrefix = ""

  /// Shapes of the linear layers, for the choice of norms; those of the head apart.
  package private(set) var blockShapes: [LinearShape] = []
  package private(set) var headShapes: [LinearShape] = []
  /// Buffers that hold the same in every pass, and what writes them.
  private(set) var constants: [(buffer: PassBufferID, fill: @Sendable (Vector) -> Void)] = []
  package private(set) var rowScratchBuffer: PassBufferID?
  /// nil: nothing is mapped.
  private(set) var wideningTiles: PassBufferID?
  /// nil: the linear layers' products are of float32.
  private(set) var roundedOperands: PassBufferID?
  /// Columns that column sums must have.
  package private(set) var columnSums = 0
  /// Rows of the largest table: a place for each.
  package private(set) var tableRows = 0
  /// Of the products with the linear layers' matrices, for one row: 2 an element forward, 2 for the gradient at the input as far as the backward pass
  /// comes, 2 for the gradient of what is trained.
  package private(set) var flopsPerRow = 0
  /// Every trained linear layer of the blocks, and elements of all linear layers' matrices, the head's among them.
  package private(set) var trainedBlockLayers: [LinearShape] = []
  package private(set) var matrixElements = 0

  struct Buffer {
    let name: String
    let category: MemoryPlan.Category
    var count: Int
    var lifetime: ClosedRange<Int>
    /// The same where the gradient of a microbatch's only unit is kept: a block's operands then wait no longer than their own backward pass.
    var onlyLifetime: ClosedRange<Int>
    /// In the book where it lives until the weighted sum.
    var isGradient = false
  }

  /// - Parameter lowestTrainedStage: as a declaration of the same model found it; nil keeps everything.
  init(
    blocks: Int, capacity: Microbatch.Capacity, policy: PassPolicy, adapters: LowRankAdapters? = nil, stored: StoredTensors = StoredTensors(),
    lowestTrainedStage: Int?
  ) {
    timeline = Timeline(blocks: blocks)
    self.capacity = capacity
    self.policy = policy
    self.lowestTrainedStage = lowestTrainedStage
    self.adapters = adapters
    self.stored = stored
  }

  // MARK: Stages

  /// Runs `body` within a stage: what it declares belongs there.
  mutating func at<Result>(_ stage: Int, _ body: (inout ModelDeclaration) -> Result) -> Result {
    let before = (self.stage, bufferPrefix, parameterPrefix)
    self.stage = stage
    if timeline.isBlock(stage) { bufferPrefix = "h.\(stage - 1) " }
    defer { (self.stage, bufferPrefix, parameterPrefix) = before }
    return body(&self)
  }

  /// What every block is made of, with names of parameters behind `prefix` and the block's number.
  mutating func blocks<Part>(_ prefix: String, _ layers: (inout ModelDeclaration) -> [Part]) -> [[Part]] {
    (1..<timeline.head).map { stage in
      at(stage) { d in
        d.parameterPrefix = "\(prefix).\(stage - 1)."
        return layers(&d)
      }
    }
  }

  mutating func head<Result>(_ body: (inout ModelDeclaration) -> Result) -> Result { at(timeline.head, body) }

  /// Whether the backward pass comes to this stage.
  var runsBackward: Bool { policy.isTraining && lowestTrainedStage.map { stage >= $0 } ?? false }
  /// Whether it goes further, so that the gradient before this stage is needed.
  var continuesBackward: Bool { policy.isTraining && lowestTrainedStage.map { stage > $0 } ?? false }

  /// Whether anything below the head's own weight is trained.
  package var gradientGoesBelowHead: Bool {
    parameters.contains { $0.isTrained && ($0.stage < timeline.head || $0.role != .head) }
  }

  private var backward: Int { timeline.backward(stage) }
  /// Where the blocks' backward passes end: the first, or the second.
  private var lastBlockPoint: Int {
    policy.repeatsBlocks ? timeline.weightedSum : timeline.backward(max(1, lowestTrainedStage ?? timeline.head))
  }

  // MARK: Parameters

  /// Tensors that get their gradient together share a group.
  mutating func newGroup() -> Int {
    groupCount += 1
    return groupCount - 1
  }

  mutating func parameter(
    _ name: String, _ shape: [Int], role: ParameterRole, group: Int, fresh: FreshValues
  ) -> ParameterID {
    let name = parameterPrefix + name
    let isFactor = role == .adapterDown || role == .adapterUp
    let isSaved = role == .classifier && adapters?.savedParameters.contains(name) ?? false
    let isKept = role == .adapterDown && adapters?.freezesDown ?? false
    parameters.append(
      ParameterDeclaration(
        name: isFactor || isSaved ? LowRankAdapters.prefix + name : name, shape: shape, role: role, group: group, stage: stage, fresh: fresh,
        isTrained: isSaved && policy.trainable == .lora || policy.trainable.trains(role) && !isKept))
    useCounts.append(1)
    return ParameterID(index: parameters.count - 1)
  }

  /// The adapters, where a linear layer of this stage has one.
  func adapters(ofModule name: String) -> LowRankAdapters? {
    adapters.flatMap { $0.targets.contains(parameterPrefix + name) ? $0 : nil }
  }

  /// The layer reads the matrix as its file has it: there it stays, unless it is trained, or is none of those that can.
  mutating func readsAsStored(_ id: ParameterID) {
    guard !isTrained(id), stored.contains(parameters[id.index].name) else { return }
    parameters[id.index].isMapped = true
    if wideningTiles == nil, policy.products == .float32 {
      wideningTiles = shared("widened tiles", .workspace, count: policy.threads * WideningTiles.count, lifetime: MemoryPlan.always)
    }
  }

  /// One more layer uses a tensor: it is tied.
  mutating func use(_ id: ParameterID) { useCounts[id.index] += 1 }

  func useCount(_ id: ParameterID) -> Int { useCounts[id.index] }
  func isTrained(_ id: ParameterID) -> Bool { policy.isTraining && parameters[id.index].isTrained }

  var table: ParameterTable { ParameterTable(parameters, uses: useCounts) }

  /// The last read of a gradient's operands: the layer's own backward pass, or the weighted sum where factors come last; nil of a frozen
  /// tensor.
  func lastRead(_ id: ParameterID) -> Int? {
    guard isTrained(id) else { return nil }
    if timeline.isBlock(stage) { return policy.booksBlocks ? timeline.weightedSum : backward }
    // A tied table's sum waits for both parts of its norm, whatever the clipping.
    let waits = policy.outerWaits || policy.takesGhostNorms && useCounts[id.index] > 1
    return waits ? timeline.weightedSum : backward
  }

  // MARK: Buffers

  /// `[R, columns]` that the forward pass of this stage writes. Where blocks are recomputed, all blocks' one of that name.
  mutating func activation(_ name: String, columns: Int) -> PassBufferID {
    let count = capacity.rows * columns
    if timeline.isBlock(stage), policy.recomputesBlocks {
      return shared("each block's \(name)", .activations, count: count, lifetime: 1...lastBlockPoint)
    }
    return add(bufferPrefix + name, .activations, count: count, at: timeline.forward(stage))
  }

  /// One buffer for all who name it: the largest of what they ask for.
  mutating func shared(
    _ name: String, _ category: MemoryPlan.Category, count: Int, lifetime: ClosedRange<Int>
  ) -> PassBufferID {
    if let id = sharedBuffers[name] {
      buffers[id.index].count = max(buffers[id.index].count, count)
      extend(id, to: lifetime)
      return id
    }
    buffers.append(Buffer(name: name, category: category, count: count, lifetime: lifetime, onlyLifetime: lifetime))
    let id = PassBufferID(index: buffers.count - 1)
    sharedBuffers[name] = id
    return id
  }

  /// Scratch of the blocks' passes.
  mutating func blockScratch(_ name: String, count: Int, backwardOnly: Bool = false) -> PassBufferID {
    let first = backwardOnly ? timeline.head + 1 : 1
    return shared(
      name, .workspace, count: backwardOnly && !policy.isTraining ? 0 : count, lifetime: first...max(first, lastBlockPoint))
  }

  /// `[R, columns]` for gradients between a layer's products, and for the stream while a block is recomputed.
  mutating func wideScratch(columns: Int) -> PassBufferID {
    blockScratch("inner gradient", count: capacity.rows * columns, backwardOnly: true)
  }

  /// `[R, columns]` for a layer's rows, scaled: nothing in it outlives a call. One for passes and gradients.
  @discardableResult mutating func rowScratch(columns: Int) -> PassBufferID {
    let id = shared("layer norm output", .workspace, count: capacity.rows * columns, lifetime: 0...timeline.weightedSum)
    rowScratchBuffer = id
    return id
  }

  /// The stream before this block, `[R, columns]`, where blocks are recomputed.
  mutating func blockInput(columns: Int) -> PassBufferID {
    let point = timeline.forward(stage)
    return shared(bufferPrefix + "input", .activations, count: capacity.rows * columns, lifetime: point...point)
  }

  mutating func buffer(_ name: String, _ category: MemoryPlan.Category, count: Int) -> PassBufferID {
    add(bufferPrefix + name, category, count: count, at: timeline.forward(stage))
  }

  /// One buffer for all who name it, written once, when the memory is there.
  mutating func constant(_ name: String, count: Int, fill: @escaping @Sendable (Vector) -> Void) -> PassBufferID {
    let isNew = sharedBuffers[name] == nil
    let id = shared(name, .workspace, count: count, lifetime: MemoryPlan.always)
    if isNew { constants.append((id, fill)) }
    return id
  }

  /// A buffer of this stage that outlives the pass.
  mutating func persistent(_ name: String, count: Int) -> PassBufferID {
    buffers.append(
      Buffer(name: bufferPrefix + name, category: .activations, count: count, lifetime: MemoryPlan.always, onlyLifetime: MemoryPlan.always))
    return PassBufferID(index: buffers.count - 1)
  }

  private mutating func add(_ name: String, _ category: MemoryPlan.Category, count: Int, at point: Int) -> PassBufferID {
    buffers.append(Buffer(name: name, category: category, count: count, lifetime: point...point, onlyLifetime: point...point))
    return PassBufferID(index: buffers.count - 1)
  }

  /// A gradient of the residual stream or of a norm's output, made in this stage's backward pass.
  mutating func gradient(_ name: String, columns: Int) -> PassBufferID {
    let id = add(bufferPrefix + name, .workspace, count: capacity.rows * columns, at: backward)
    buffers[id.index].isGradient = true
    return id
  }

  /// Extends a buffer to its read at `point`; nil extends nothing.
  mutating func keep(_ id: PassBufferID, until point: Int?) {
    guard let point else { return }
    extend(id, to: point...point)
  }

  /// Extends a buffer to this stage's backward pass.
  mutating func keepUntilBackward(_ id: PassBufferID) {
    if runsBackward { keep(id, until: backward) }
  }

  private mutating func extend(_ id: PassBufferID, to lifetime: ClosedRange<Int>) {
    func covering(_ one: ClosedRange<Int>, _ other: ClosedRange<Int>) -> ClosedRange<Int> {
      min(one.lowerBound, other.lowerBound)...max(one.upperBound, other.upperBound)
    }
    // What waits for a block's weighted sum alone waits for nothing where its gradient is taken at once.
    let waitsForBlock = lifetime == timeline.weightedSum...timeline.weightedSum && timeline.isBlock(stage)
    buffers[id.index].lifetime = covering(buffers[id.index].lifetime, lifetime)
    buffers[id.index].onlyLifetime = covering(buffers[id.index].onlyLifetime, waitsForBlock ? backward...backward : lifetime)
  }

  /// Where the gradient before a layer goes: in place of the one behind it, unless somebody reads that later.
  mutating func successor(of gradient: PassBufferID, _ name: String, columns: Int) -> PassBufferID {
    if policy.repeatsBlocks && timeline.isBlock(stage) {
      // Nobody reads it later but the second backward pass, which makes it again.
      keep(gradient, until: timeline.weightedSum)
      return gradient
    }
    if buffers[gradient.index].lifetime.upperBound > backward { return self.gradient(name, columns: columns) }
    keep(gradient, until: backward)
    return gradient
  }

  // MARK: Shapes

  /// - Parameter takesNorms: whether norms of its weight's gradient are ever taken.
  mutating func declareLinear(_ shape: LinearShape, takesNorms: Bool) {
    matrixElements += shape.inputs * shape.outputs
    if takesNorms && timeline.isBlock(stage) { trainedBlockLayers.append(shape) }
    flopsPerRow += (2 + (runsBackward ? 2 : 0) + (takesNorms ? 2 : 0)) * shape.inputs * shape.outputs
    if case .bfloat16 = policy.products, roundedOperands == nil {
      roundedOperands = shared(
        "bf16 operands", .workspace, count: BFloat16Products.floatCount(rows: mostProductRows, threads: policy.threads), lifetime: MemoryPlan.always)
    }
    guard takesNorms else { return }
    if stage == timeline.head {
      headShapes.append(shape)
    } else if !blockShapes.contains(shape) {
      blockShapes.append(shape)
    }
  }

  /// Rows that a linear layer's product may have: those of a microbatch, or a classifier's sequences.
  var mostProductRows: Int { max(capacity.rows, capacity.sequences) }

  mutating func needsColumnSums(_ columns: Int) { columnSums = max(columnSums, columns) }
  mutating func needsPlaces(forRows rows: Int) { tableRows = max(tableRows, rows) }

  /// Declares all buffers to a memory plan. What lives until the weighted sum is book-keeping.
  func add(to plan: inout MemoryPlan) -> [MemoryPlan.BufferID] {
    buffers.map { buffer in
      let isBooked = buffer.isGradient && buffer.lifetime.upperBound >= timeline.weightedSum
      return plan.add(
        buffer.name, isBooked ? .bookKeeping : buffer.category, count: buffer.count,
        courses: .init(several: buffer.lifetime, only: policy.keepsOnlyUnit ? buffer.onlyLifetime : buffer.lifetime))
    }
  }
}
