/// Memory that the ranks of a node share: parameters, and the window in which gradients are exchanged.
package struct NodeWindows {
  private let parameterWindow: SharedWindow
  package let exchange: SharedWindow

  /// Collective over the node.
  init(_ plan: ShardPlan, parameterCount: Int, node: Communicator) throws {
    // The first rank's part is the model; the others read and write it there.
    let bytes = parameterCount * MemoryLayout<Float>.stride
    parameterWindow = try SharedWindow(byteCount: node.rank == 0 ? bytes : 0, communicator: node)
    exchange = try SharedWindow(byteCount: plan.windowByteCount, communicator: node)
  }

  /// `[P]`
  var parameters: Vector { parameterWindow.elements(ofRank: 0) }

  /// Collective: nothing may use the memory afterwards.
  func free() throws {
    try exchange.free()
    try parameterWindow.free()
  }

  /// Collective: when it returns, what any rank of the node has written or read of the parameters before is done, and seen by all.
  func meet() throws { try parameterWindow.fence() }
}

/// How the ranks of a job bring the parts of the model's state together: gradients into sums, updated parameters to everyone.
package struct ModelStateExchange {
  package let plan: ShardPlan
  package let world: Communicator
  private let node: Communicator
  /// The ranks that own this rank's slice on the other nodes, this one included; nil on a rank that owns none. Among them the owners of
  /// the first slice, who speak for their nodes.
  private let peers: Communicator?
  /// `optimizer`
  private let slices: SliceExchange?
  /// nil where a sum over hosts is made at once, when all of it is there; and on a rank that owns none of it.
  private var travelling: TravellingSum?
  /// Whether sums over the ranks may be there before the batch's end: the same on all ranks, whatever they own.
  package private(set) var sumTravels: Bool
  package let windows: NodeWindows?

  /// Collective over the job.
  package init(_ plan: ShardPlan, parameterCount: Int, environment: MPIEnvironment) throws {
    try self.init(plan, parameterCount: parameterCount, world: environment.world, node: environment.node)
  }

  /// - Parameter node: the ranks of this one's node, in the order of ranks.
  package init(_ plan: ShardPlan, parameterCount: Int, world: Communicator, node: Communicator) throws {
    // By a plan for rank 0, or for one rank alone, every rank would draw all of the noise.
    precondition(plan.rank == world.rank, "rank \(world.rank) by the plan of rank \(plan.rank)")
    self.plan = plan
    self.world = world
    self.node = node
    slices = plan.sharding != .optimizer ? nil : try SliceExchange(slices: plan.slices, topology: plan.topology, world: world, node: node)
    let isNode = plan.sharding == .node
    peers = isNode ? try world.split(color: plan.owner, key: world.rank) : nil
    windows = isNode ? try NodeWindows(plan, parameterCount: parameterCount, node: node) : nil
    let summed = isNode ? peers : world
    sumTravels = plan.sumTravels ? try world.allreduceMin(world.allowsThreads ? 1 : 0) == 1 : false
    travelling =
      if let summed, sumTravels {
        try TravellingSum(over: summed, pieceCapacity: plan.travellingPiece)
      } else { nil }
    guard sumTravels, try world.allreduceMin(travelling?.start() == false ? 0 : 1) == 0 else { return }
    // One rank has no thread to spare: all of them then make the sum at once.
    travelling?.stop()
    (travelling, sumTravels) = (nil, false)
  }

  /// Where sums could leave while they are made and don't: nobody would see why steps take longer.
  package var warning: String? {
    guard plan.sumTravels && !sumTravels else { return nil }
    return "sums over hosts are made when all of them is there: a rank's MPI has no MPI_THREAD_MULTIPLE, or the rank can't start one more thread"
  }

  /// Microbatches that this rank has to run: where ranks meet layer by layer, as many as the rank of its node that has the most.
  package func agreedMicrobatchCount(_ count: Int) throws -> Int {
    plan.exchangesByLayer ? try node.allreduceMax(count) : count
  }

  /// Units that don't fit a microbatch, as this rank takes them: its own, or where ranks meet layer by layer all of the node's, every rank some of
  /// the parts of each.
  package func sharingLargeUnits(
    _ own: [(unit: Int, parts: [DrawnUnit?])], parts: (_ unit: Int, _ rank: Int, _ ranks: Int) -> [DrawnUnit?]
  ) throws -> [(unit: Int, parts: [DrawnUnit?])] {
    guard plan.exchangesByLayer else { return own }
    let bytes = own.flatMap { unit in withUnsafeBytes(of: Int64(unit.unit)) { Array($0) } }
    let all = try node.allgather(bytes: bytes).flatMap { bytes in
      bytes.withUnsafeBytes { raw in (0..<raw.count / 8).map { Int(raw.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self)) } }
    }
    return all.map { ($0, parts($0, node.rank, node.size)) }
  }

  /// The same, whose sums over hosts are made when all of it is there: for comparison.
  package var atOnce: ModelStateExchange {
    var exchange = self
    (exchange.travelling, exchange.sumTravels) = (nil, false)
    return exchange
  }

  /// Begins a batch: whoever makes its sum may give away parts of it that are final.
  ///
  /// - Parameters:
  ///   - sum: what this rank holds of it.
  ///   - parts: elements that may be given away together, in the order in which they leave: the same on all ranks, and all elements.
  ///   - buffer: of ``ShardPlan/exchangeCount`` floats.
  package func begin(_ sum: Vector, parts: [Range<Int>], through buffer: Vector) {
    travelling?.begin(sum, parts: parts.map(plan.place), through: buffer)
  }

  /// One of the batch's parts is final on this rank, noise included: from now on it is only read.
  package func send(part: Int) { travelling?.send(part: part) }

  /// Sums over the ranks what each has summed over its records, all parts of which were sent. Then every rank has the sum of the elements that it updates.
  ///
  /// - Parameters:
  ///   - sum: of which the batch was begun.
  ///   - body: called for each part of which the sum is there, while that of later ones may not be.
  package func reduce(_ sum: Vector, parts: [Range<Int>], through buffer: Vector, _ body: (_ elements: Range<Int>) -> Void) throws {
    switch plan.sharding {
    case .none: if travelling == nil { try world.allreduceSum(sum) }
    case .optimizer: try slices?.reduceSum(sum, through: buffer)
    case .node:
      // The owners are about to write the parameters: all ranks of the node are done with reading them.
      try windows?.meet()
      if travelling == nil, let peers, peers.size > 1 { try peers.allreduceSum(sum) }
    }
    for (part, elements) in parts.enumerated() {
      try travelling?.wait(forPart: part)
      body(elements)
    }
  }

  /// Gives every rank the parameters that each has updated.
  ///
  /// - Parameter buffer: of ``ShardPlan/exchangeCount`` floats.
  package func publish(_ parameters: Vector, through buffer: Vector) throws {
    switch plan.sharding {
    case .none: break
    case .optimizer: try slices?.allgather(parameters, through: buffer)
    case .node: try windows?.meet()
    }
  }

  /// Frees what the ranks of a node share, when nothing uses it any longer; collective.
  package func free() throws {
    travelling?.stop()
    try windows?.free()
  }

  /// Gives every rank rank 0's parameters, bit for bit.
  func broadcast(_ parameters: Vector) throws {
    guard plan.sharding == .node else { return try world.broadcast(parameters) }
    if node.rank == 0, let peers { try peers.broadcast(parameters) }
    try windows?.meet()
  }
}
