/// Every buffer of one rank, for a model, a mode and a microbatch: computed without allocating anything.
package struct ReplicaPlan {
  package let configuration: ModelConfiguration
  package let declaration: ModelDeclaration
  package let model: Model
  package let table: ParameterTable
  /// The trained tensors.
  package var layout: ParameterLayout { table.trained }
  package let mode: TrainingMode
  package let clipping: Clipping
  package let maxGradNorm: Double
  package let capacity: Microbatch.Capacity
  package let recompute: Recomputation
  package let optimizer: OptimizerConfiguration?
  package let trainable: TrainableParameters
  /// What may stay in the model's files: of this what isn't trained does (``ParameterTable/mapped``).
  package let stored: StoredTensors
  /// Threads of the largest team that uses the replica: each has scratch of its own.
  package let threads: Int
  /// Of the passes.
  package let products: LayerProducts
  package let choices: Choices
  package let shards: ShardPlan
  /// Elements that become final together and are summed over hosts and updated as one, in the order in which they do: all elements.
  package private(set) var parts: [Range<Int>]
  package private(set) var memory = MemoryPlan()
  /// What it was to stay within; nil where nothing said so.
  package internal(set) var budgetBytes: Int?

  /// Which one of several ways that give the same result: `init(fastestFor:…)` chooses.
  package struct Choices: Sendable, Equatable {
    /// nil: the one that needs less memory.
    package var logits: PassPolicy.LogitStorage?
    /// In flat `ghost`: whether the gradient of a microbatch's only unit is kept, or book-keeping done as otherwise.
    package var keepsOnlyExample: Bool

    package init(logits: PassPolicy.LogitStorage? = nil, keepsOnlyExample: Bool = false) {
      self.logits = logits
      self.keepsOnlyExample = keepsOnlyExample
    }
  }

  package let computesGradients: Bool
  let parameters, frozen, gradientSum, exchange: MemoryPlan.BufferID
  /// `[b, P]`, in `hooks`.
  let examples: MemoryPlan.BufferID
  let exampleCount: Int
  let microbatch: Microbatch.Buffers
  /// Buffers of the passes, in order of declaration.
  let passBuffers: [MemoryPlan.BufferID]
  let factors: ClipFactors.Buffers
  /// `[P]`, or this rank's slice where the sum is in slices, and factors of a unit whose rows don't fit a microbatch; empty where all fit.
  let largeUnit: (gradient: MemoryPlan.BufferID, factors: ClipFactors.Buffers)?
  /// Whether some unit's rows don't fit a microbatch: it is then taken in parts.
  package let hasLargeUnits: Bool
  let ghost: GhostGradients.Buffers
  let optimizerState: Optimizer.Buffers?
  let workspace: WorkspaceBuffers

  struct WorkspaceBuffers {
    let gramOfInputs, gramOfGradients, exampleGradient, columnSums, lastPosition, previousPosition: MemoryPlan.BufferID
    let gramRows: Int
    /// Threads that may take norms of different records at the same time: each has its part of every buffer.
    let parts: Int
  }

  /// - Parameters:
  ///   - maxGradNorm: C, for the private modes.
  ///   - optimizer: nil where no update is made (`inspect`).
  ///   - stored: matrices that may stay in the model's files.
  ///   - computesGradients: false for a forward pass alone (`evaluate`, `generate`).
  ///   - cachesKeys: in forward passes alone, whether a sequence may come a piece at a time (`generate`).
  ///   - shards: what of the model's state this rank holds; nil: all of it.
  package init(
    model: ModelConfiguration, mode: TrainingMode, clipping: Clipping = .flat, maxGradNorm: Double = 1,
    capacity: Microbatch.Capacity, recompute: Recomputation = .none, optimizer: OptimizerConfiguration?,
    trainable: TrainableParameters = .all, stored: StoredTensors = StoredTensors(), hasLargeUnits: Bool = false, computesGradients: Bool = true,
    cachesKeys: Bool = false, threads: Int = 1, products: LayerProducts = .float32, choices: Choices = Choices(),
    shards: ShardPlan? = nil
  ) {
    self.hasLargeUnits = hasLargeUnits
    self.threads = threads
    self.products = products
    self.choices = choices
    self.configuration = model
    self.trainable = trainable
    self.stored = stored
    self.mode = mode
    self.clipping = clipping
    self.maxGradNorm = maxGradNorm
    self.capacity = capacity
    self.recompute = recompute
    self.optimizer = optimizer
    self.computesGradients = computesGradients
    let table = model.parameterTable(trainable: trainable, stored: stored, trains: computesGradients)
    self.table = table
    let layout = table.trained
    let count = layout.totalCount
    let shards = shards ?? ShardPlan(layout)
    self.shards = shards
    let isShared = shards.sharding == .node
    var plan = MemoryPlan()
    parameters = plan.add("parameters", .parameters, count: count, placement: isShared ? .node : .rank)
    frozen = plan.add("frozen parameters", .parameters, count: table.frozen.totalCount)
    if !table.mapped.isEmpty {
      _ = plan.add(
        "mapped parameters", .mappedParameters, count: table.mapped.totalCount * NarrowFloat.byteCount, of: UInt8.self, placement: .file)
    }
    // In the window of exchange, where the whole gradient is.
    let summed = !isShared ? count : shards.exchangesByLayer ? shards.updatedCount : 0
    gradientSum = plan.add("gradient sum", .gradients, count: computesGradients ? summed : 0)
    _ = plan.add(
      "gradient exchange", .communication, count: shards.windowByteCount, of: UInt8.self, placement: .window)
    exchange = plan.add("exchange between ranks", .communication, count: computesGradients ? shards.exchangeCount : 0)
    let materialised = mode == .hooks && computesGradients ? capacity.units : 0
    exampleCount = materialised
    examples = plan.add("gradients of the examples", .perExampleGradients, count: materialised * count)
    microbatch = Microbatch.Buffers(capacity, in: &plan)
    let isGhost = mode == .ghost && computesGradients
    let isFlatGhost = isGhost && clipping == .flat
    let keeps = choices.keepsOnlyExample
    let keepsAlways = keeps && capacity.units == 1
    precondition(
      !keeps || isFlatGhost && (keepsAlways || recompute == .none), "one unit's gradient kept where it can't be, or where blocks are computed twice for others")
    // Where ranks share a sum, a layer's gradient is added once a microbatch: chunks of the head would each be exchanged as a whole.
    let logits =
      shards.exchangesByLayer ? .whole : choices.logits ?? Self.logitStorage(model, capacity: capacity, bookKeeps: isGhost && !keepsAlways)
    var policy = PassPolicy(
      retention: !computesGradients ? .inference : isFlatGhost && !keepsAlways ? .weightedSum : .backward,
      logits: logits, takesGhostNorms: isGhost, outerLayersWait: isFlatGhost, recompute: recompute, trainable: trainable, threads: threads,
      cachesKeys: cachesKeys, products: products)
    policy.keepsOnlyUnit = keeps && !keepsAlways
    let (declaration, passes) = model.declare(capacity: capacity, policy: policy, stored: stored)
    self.declaration = declaration
    self.model = passes
    passBuffers = declaration.add(to: &plan)
    let tellsExamplesApart = mode.isPrivate && computesGradients
    factors = ClipFactors.Buffers(
      units: tellsExamplesApart ? capacity.units : 0, tensors: layout.count, clipping: clipping, in: &plan)
    if hasLargeUnits && tellsExamplesApart {
      largeUnit = (
        plan.add("one large unit's gradient", .perExampleGradients, count: shards.exchangesByLayer ? summed : count),
        ClipFactors.Buffers(units: 1, tensors: layout.count, clipping: clipping, in: &plan)
      )
    } else {
      largeUnit = nil
    }
    ghost = GhostGradients.Buffers(
      layout: layout, timeline: declaration.timeline, rows: isGhost ? capacity.rows : 0,
      headGradientCount: isGhost && logits != .whole ? declaration.headShapes.first.map { $0.inputs * $0.outputs } ?? 0 : 0, keeps: keeps,
      booksSeveral: !keepsAlways, repeats: isFlatGhost && !keeps && recompute == .blocks, in: &plan)
    optimizerState = optimizer.map { Optimizer.Buffers($0, count: shards.updatedCount, in: &plan) }
    workspace = Self.workspace(
      declaration, isGhost: isGhost, parts: isGhost ? min(threads, capacity.units) : 1, in: &plan)
    memory = plan
    parts = [0..<count]
    if shards.sumTravels { parts = partsAsTheyBecomeFinal(layout.parts(inOrder: isFlatGhost ? .embeddingsFirst : .backward, capacity: shards.partCapacity)) }
  }

  /// Behind all others those that aren't known to be final before the batch's end: what stands behind them could not leave.
  private func partsAsTheyBecomeFinal(_ parts: [Range<Int>]) -> [Range<Int>] {
    let late = layout.groups.filter { additionCount(ofLayer: $0) == nil }.map(layout.floats)
    let isLate = { (part: Range<Int>) in late.contains { $0.overlaps(part) } }
    return parts.filter { !isLate($0) } + parts.filter(isLate)
  }

  /// How often a microbatch adds to a layer's sum; nil where that hangs on its records. A table that the head shares gets both uses' gradients
  /// unless they were added up before, and a head whose logits come in chunks some of its own with each.
  func additionCount(ofLayer layer: Range<Int>) -> Int? {
    guard mode != .hooks, let head = model.headTensor(table), layer.contains(head) else { return 1 }
    guard declaration.policy.logits == .whole else { return nil }
    return model.tiedTensor(table) == nil ? 1 : 2
  }

  /// Output columns of a layer's gradient computed at a time, where one example's norm is taken from the gradient itself.
  static let instantiationStrip = 256

  /// Floats of a strip: wide enough for matrix products to be efficient; any layer may need it, where its Gram matrices cancel.
  private static func stripCount(_ declaration: ModelDeclaration) -> Int {
    let shapes = declaration.blockShapes
    let head = declaration.headShapes.map(\.inputs).max() ?? 0
    return max(head, (shapes.map(\.inputs).max() ?? 0) * min(instantiationStrip, shapes.map(\.outputs).max() ?? 0))
  }

  /// Rows of logits held at a time; nil where all are.
  var logitChunkRows: Int? {
    switch declaration.policy.logits {
    case .whole: nil
    case .chunks(let rows): rows
    }
  }

  /// Layers of which the plan takes norms one way or the other.
  private var shapesWithNorms: [LinearShape] {
    guard mode == .ghost else { return [] }
    return (choices.keepsOnlyExample && capacity.units == 1 ? [] : declaration.blockShapes) + (logitChunkRows == nil ? declaration.headShapes : [])
  }

  /// Times the ways to the norms that this plan takes, on some memory that is freed.
  package func timeNorms() -> [NormTiming] {
    let shapes = shapesWithNorms
    let stopwatch = NormStopwatch(shapes: shapes, longest: capacity.unitRows, stripCount: Self.stripCount(declaration))
    return shapes.map(stopwatch.timing)
  }

  /// Whether this process' limits leave room for what is planned; asked before anything is computed.
  ///
  /// - Parameter threads: of this rank.
  package func checkAddressSpace(threads: Int) throws {
    try AddressSpace.check(bytes: memory.byteCountOfRank, threads: threads)
  }

  /// Timed on rank 0 for all: ranks that went by timings of their own would add up in different orders. Collective.
  func timeNorms(communicator: Communicator) throws -> [NormTiming] {
    let timings = AlignedBuffer<NormTiming>(count: shapesWithNorms.count)
    if communicator.rank == 0 { _ = timings.elements.update(fromContentsOf: timeNorms()) }
    try communicator.broadcast(timings)
    return Array(timings.elements)
  }

  /// Rows of logits held at a time where not all are.
  static let logitChunk = 128

  /// Logits are held as a whole where that costs no more than the alternative: a chunk, and with book-keeping one example's
  /// head gradient, whose factor is not known before the end of the backward pass.
  private static func logitStorage(
    _ model: ModelConfiguration, capacity: Microbatch.Capacity, bookKeeps: Bool
  ) -> PassPolicy.LogitStorage {
    // A classifier's are a few a sequence.
    if model.labels != nil || model.isEncoder { return .whole }
    let chunk = min(logitChunk, capacity.rows)
    let rowsAtNoCost = bookKeeps ? chunk + model.width : chunk
    return capacity.rows <= rowsAtNoCost ? .whole : .chunks(rows: chunk)
  }

  private static func workspace(
    _ declaration: ModelDeclaration, isGhost: Bool, parts: Int, in plan: inout MemoryPlan
  ) -> WorkspaceBuffers {
    let T = declaration.capacity.unitRows
    let gram = isGhost ? T * T : 0
    return WorkspaceBuffers(
      gramOfInputs: plan.add("Gram matrix of inputs", .workspace, count: parts * gram),
      gramOfGradients: plan.add("Gram matrix of output gradients", .workspace, count: parts * gram),
      exampleGradient: plan.add(
        "strip of one example's gradient", .perExampleGradients, count: isGhost ? parts * stripCount(declaration) : 0),
      columnSums: plan.add("column sums", .workspace, count: parts * declaration.columnSums),
      lastPosition: plan.add(
        "last position by token", .workspace, count: isGhost ? parts * declaration.tableRows : 0, of: Int32.self),
      previousPosition: plan.add("previous position", .workspace, count: isGhost ? parts * T : 0, of: Int32.self),
      gramRows: isGhost ? T : 0, parts: parts)
  }
}
