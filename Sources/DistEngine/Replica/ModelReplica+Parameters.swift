import Foundation

extension ModelReplica {
  /// The sum that ``accumulateGradients(of:in:inspect:)`` made, as much of it as this rank holds, in canonical order.
  package var gradientSum: Vector {
    guard windows != nil && !plan.shards.exchangesByLayer else { return arena.elements(plan.gradientSum) }
    return accumulator?.sum.parts.first?.values ?? Vector(start: nil, count: 0)
  }

  /// What sums and parameters go through from rank to rank (``ModelStateExchange``).
  package var exchangeBuffer: Vector { arena.elements(plan.exchange) }

  /// What this rank updates, parameters and gradients.
  package var updatedParts: [Optimizer.Part] { updatedParts(of: 0..<plan.layout.totalCount) }

  func updatedParts(of elements: Range<Int>) -> [Optimizer.Part] {
    guard let sum = accumulator?.sum else { return [] }
    return plan.shards.updated.map { $0.clamped(to: elements) }.filter { !$0.isEmpty }.flatMap { range in
      sum.parts.compactMap { $0.clamped(to: range) }.map { part in
        (parameters: Vector(rebasing: parameters[part.elements]), gradient: part.values)
      }
    }
  }

  /// - Precondition: the plan has an optimizer.
  package func makeOptimizer() -> Optimizer {
    guard let configuration = plan.optimizer, let buffers = plan.optimizerState else {
      preconditionFailure("a replica planned without an optimizer")
    }
    return Optimizer(configuration, buffers: buffers, in: arena)
  }

  /// Rank 0 reads the model directory, or draws a fresh model; the others get its parameters, bit for bit. Collective.
  ///
  /// - Parameters:
  ///   - adapter: the directory of the adapter; nil draws a new one where the plan has any.
  ///   - allowsNewHead: whether a classifier that the directory lacks is drawn, too.
  package func loadParameters(
    from directory: String?, adapter: String? = nil, key: RandomKey, allowsNewHead: Bool = false, communicator: Communicator,
    exchange: ModelStateExchange? = nil
  ) throws {
    try communicator.agree("model") {
      try checkMappedValues(part: communicator.rank, of: communicator.size)
      guard communicator.rank == 0 else { return }
      let source = GaussianSource(key.subKey(for: .initialisation))
      plan.table.initialise(trained: parameters, frozen: frozen, from: source) { entry in
        directory == nil || allowsNewHead && entry.role == .classifier || adapter == nil && entry.isOfAdapter
      }
      if let directory { try fillParameters(from: directory, adapter: adapter, allowsNewHead: allowsNewHead) }
    }
    if let exchange { try exchange.broadcast(parameters) } else { try communicator.broadcast(parameters) }
    if !frozen.isEmpty { try communicator.broadcast(frozen) }
  }

  /// A model directory's parameters, trained and frozen, and an adapter's.
  ///
  /// - Parameter allowsNewHead: whether a classifier that isn't there stays as it is in memory.
  package func readParameters(from directory: String, adapter: String? = nil, allowsNewHead: Bool = false) throws {
    try checkMappedValues()
    try fillParameters(from: directory, adapter: adapter, allowsNewHead: allowsNewHead)
  }

  private func fillParameters(from directory: String, adapter: String?, allowsNewHead: Bool) throws {
    try ModelFile.readParameters(
      directory: directory, layout: plan.configuration.base.parameterLayout, allowsNewHead: allowsNewHead || adapter != nil
    ) { entry in
      let entry = plan.table.entry(ofModel: entry.name)
      return plan.table.isMapped(entry) ? nil : values(of: entry)
    }
    if let adapter { try readAdapter(from: adapter) }
  }

  /// What is mapped is refused by what what is read is refused by.
  ///
  /// - Parameter part: which of every so many tensors, where ranks share the work.
  private func checkMappedValues(part: Int = 0, of parts: Int = 1) throws {
    if let (path, tensor) = mapped?.firstNotFinite(part: part, of: parts) { throw ModelFileError.notFinite(path: path, tensor: tensor) }
  }

  /// Refuses, on all ranks together, what was computed where a mapped file has changed meanwhile. Collective.
  package func checkFiles(_ communicator: Communicator) throws {
    guard let mapped else { return }
    try communicator.agree("model files") { try mapped.checkUnchanged() }
  }

  /// An adapter's tensors, trained and frozen.
  package func readAdapter(from directory: String) throws {
    try AdapterFile.readParameters(directory: directory, layout: plan.table.whole) { values(of: $0) }
  }

  /// A tensor of the whole model, whatever has it.
  package func storedValues(of entry: ParameterLayout.Entry) -> Safetensors.Values {
    guard let index = plan.table.mapped.entry(named: entry.name)?.index, let mapped else { return .floats(UnsafeBufferPointer(values(of: entry))) }
    return .narrow(mapped.matrices[index])
  }

  /// A tensor of the whole model that isn't mapped.
  package func values(of entry: ParameterLayout.Entry) -> Vector { plan.table.values(of: entry, trained: parameters, frozen: frozen) }

  /// A number that differs, all but surely, where one bit of the parameters differs (FNV-1a over 32-bit words, in pieces of 2^16, then
  /// over the pieces' numbers). Ranks may have different numbers of threads: it doesn't depend on them.
  package func parametersChecksum() -> Int { Self.checksum(parameters) }

  /// The same of what isn't trained: it is before a run what it is behind it.
  package func frozenChecksum() -> Int { Self.checksum(frozen) }

  /// 63 bits of a tensor or a whole part, which any of them changes.
  static func checksum(_ values: Vector) -> Int {
    let size = 1 << 16
    let pieces = (values.count + size - 1) / size
    return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: pieces) { hashes in
      ThreadTeam.current.forEach(pieces) { piece, _ in
        let words = values[piece * size..<min((piece + 1) * size, values.count)]
        hashes.initializeElement(at: piece, to: hash(of: words.lazy.map { UInt64($0.bitPattern) }))
      }
      return Int(truncatingIfNeeded: hash(of: hashes) >> 1)
    }
  }

  private static func hash(of words: some Sequence<UInt64>) -> UInt64 {
    words.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ $1) &* 0x100_0000_01b3 }
  }

  /// Mean loss over all targets of a data set, in nats; its records are split over the ranks. Collective.
  package func meanLoss(over dataset: TokenizedDataset, communicator: Communicator) throws -> Double {
    let units = stride(from: communicator.rank, to: dataset.count, by: communicator.size)
    let (sum, targets) = loss(of: units, in: dataset)
    var totals = [sum, Double(targets)]
    try communicator.allreduceSum(&totals)
    return totals[0] / totals[1]
  }
}

extension Communicator {
  /// One key for all ranks: from rank 0's operating system, or from a seed. It crosses the network in memory and is written nowhere.
  package func sharedKey(seed: UInt64?) throws -> RandomKey {
    if let seed { return RandomKey(seed: seed) }
    let bytes = AlignedBuffer<UInt8>(count: RandomKey.byteCount)
    defer { bytes.elements.update(repeating: 0) }
    if rank == 0 {
      RandomKey().withUnsafeBytes { UnsafeMutableRawBufferPointer(bytes.elements).copyMemory(from: $0) }
    }
    try broadcast(bytes)
    return RandomKey(bytes: UnsafeRawBufferPointer(bytes.elements), isReproducible: false)
  }
}
