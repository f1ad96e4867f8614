/// One rank's copy of the model: parameters, gradient sum, buffers, and the machinery that turns records into a gradient.
package final class ModelReplica {
  package let plan: ReplicaPlan
  /// The threads that the plan has scratch for: whoever uses the replica does so within `team.use`.
  package let team: ThreadTeam
  package let arena: MemoryArena
  /// What the ranks of a node share; nil where they share nothing.
  let windows: NodeWindows?
  /// `[P]`: the trained ones, in canonical order.
  package let parameters: Vector
  /// The frozen ones, in theirs.
  package let frozen: Vector
  /// Those that stay in their files; nil where none does.
  package let mapped: MappedTensors?
  let memory: PassMemory
  var model: Model { plan.model }
  /// nil where every unit fits a microbatch.
  private let largeUnit: LargeUnitGradient?
  /// nil where the plan has no gradients.
  package let accumulator: (any GradientAccumulator)?
  var microbatch: Microbatch

  /// Allocates what the plan says, and maps the files of what stays in them. The other parameters are 0.
  ///
  /// - Parameters:
  ///   - norms: the faster way to each norm, where bits may hang on what was faster: ways differ in rounding.
  ///   - windows: as the plan's sharding needs them.
  ///   - threads: of this rank's team; nil takes as many as the plan has scratch for.
  package init(_ plan: ReplicaPlan, norms: NormChoice = .always(.gram), windows: NodeWindows? = nil, threads: Int? = nil) throws {
    precondition((plan.shards.sharding == .node) == (windows != nil), "windows for \(plan.shards.sharding)")
    precondition((threads ?? 1) <= plan.threads, "more threads than planned")
    self.plan = plan
    self.windows = windows
    team = ThreadTeam(count: threads ?? plan.threads)
    let arena = try MemoryArena(plan.memory)
    self.arena = arena
    parameters = windows?.parameters ?? arena.elements(plan.parameters)
    frozen = arena.elements(plan.frozen)
    mapped = plan.table.mapped.isEmpty ? nil : try plan.stored.map(plan.table.mapped.map(\.name))
    memory = PassMemory(
      plan.table, plan.declaration, parameters: parameters, frozen: frozen, mapped: mapped?.matrices ?? [], buffers: plan.passBuffers, in: arena)
    microbatch = Microbatch(plan.capacity, plan.microbatch, in: arena)
    accumulator = Self.accumulator(plan, norms: norms, windows: windows, in: arena)
    largeUnit = Self.largeUnit(plan, norms: norms, accumulator: accumulator, windows: windows, in: arena)
  }

  private static func accumulator(
    _ plan: ReplicaPlan, norms: NormChoice, windows: NodeWindows?, in arena: MemoryArena
  ) -> (any GradientAccumulator)? {
    guard plan.computesGradients else { return nil }
    let extents = plan.layout.extents
    var sum = gradientSum(plan, windows: windows, in: arena)
    if plan.shards.sumTravels { sum = AnnouncedSum(sum, layout: plan.layout, parts: plan.parts, additionCount: plan.additionCount) }
    let workspaces = (0..<plan.workspace.parts).map { workspace(plan, part: $0, norms: norms, in: arena) }
    let factors = {
      ClipFactors(
        clipping: plan.clipping, maxGradNorm: plan.maxGradNorm, tensors: plan.layout.count, buffers: plan.factors,
        in: arena)
    }
    switch plan.mode {
    case .standard: return StandardGradients(sum: sum, workspace: workspaces[0])
    case .hooks:
      let gradients = arena.elements(plan.examples).baseAddress!
      let units = (0..<plan.exampleCount).map {
        TensorSlab(gradients + $0 * plan.layout.totalCount, extents: extents)
      }
      return MaterialisedGradients(
        sum: sum, gradients: units, layers: plan.layout.groupsInBackwardOrder, factors: factors(), workspace: workspaces[0])
    case .ghost:
      return GhostGradients(
        sum: sum, extents: extents, factors: factors(), tiedTensor: plan.model.tiedTensor(plan.table), headTensor: plan.model.headTensor(plan.table),
        buffers: plan.ghost, workspaces: workspaces, in: arena)
    }
  }

  private static func largeUnit(
    _ plan: ReplicaPlan, norms: NormChoice, accumulator: (any GradientAccumulator)?, windows: NodeWindows?, in arena: MemoryArena
  ) -> LargeUnitGradient? {
    plan.largeUnit.map { buffers in
      let floats = arena.elements(buffers.gradient)
      let extents = plan.layout.extents
      let sum: any GradientSum
      if let windows, let pieces = plan.shards.pieces {
        let batchSum = (accumulator?.sum as? AnnouncedSum)?.base ?? accumulator?.sum
        sum = NodeGradientSum(
          pieces: pieces, extents: extents, window: windows.exchange, slice: floats, owner: plan.shards.owner,
          sharingWindowOf: batchSum as? NodeGradientSum)
      } else {
        sum = WholeGradientSum(TensorSlab(floats.baseAddress!, extents: extents))
      }
      let factors = ClipFactors(
        clipping: plan.clipping, maxGradNorm: plan.maxGradNorm, tensors: plan.layout.count, buffers: buffers.factors, in: arena)
      return LargeUnitGradient(
        sum, layout: plan.layout, factors: factors, workspace: workspace(plan, part: 0, norms: norms, in: arena))
    }
  }

  private static func gradientSum(
    _ plan: ReplicaPlan, windows: NodeWindows?, in arena: MemoryArena
  ) -> any GradientSum {
    let floats = arena.elements(plan.gradientSum)
    let extents = plan.layout.extents
    guard let windows else { return WholeGradientSum(TensorSlab(floats.baseAddress!, extents: extents)) }
    guard let pieces = plan.shards.pieces else {
      return WindowGradientSum(extents: extents, window: windows.exchange, slice: plan.shards.updated.first ?? 0..<0)
    }
    return NodeGradientSum(
      pieces: pieces, extents: extents, window: windows.exchange, slice: floats, owner: plan.shards.owner)
  }

  private static func workspace(_ plan: ReplicaPlan, part: Int, norms: NormChoice, in arena: MemoryArena) -> GradientWorkspace {
    let buffers = plan.workspace
    func own<Element: BitwiseCopyable>(
      _ id: MemoryPlan.BufferID, of type: Element.Type = Float.self
    ) -> UnsafeMutableBufferPointer<Element> {
      let all = arena.elements(id, of: type)
      let count = all.count / buffers.parts
      return UnsafeMutableBufferPointer(rebasing: all[part * count..<(part + 1) * count])
    }
    return GradientWorkspace(
      // Forward passes alone use this buffer otherwise, and then no gradient is taken.
      rows: plan.declaration.rowScratchBuffer.map { arena.elements(plan.passBuffers[$0]) } ?? Vector(start: nil, count: 0), gramOfInputs: own(buffers.gramOfInputs),
      gramOfGradients: own(buffers.gramOfGradients), gramRows: buffers.gramRows,
      exampleGradient: own(buffers.exampleGradient), columnSums: own(buffers.columnSums),
      lastPosition: initialised(own(buffers.lastPosition, of: Int32.self)),
      previousPosition: own(buffers.previousPosition, of: Int32.self), norms: norms)
  }

  private static func initialised(_ positions: UnsafeMutableBufferPointer<Int32>) -> UnsafeMutableBufferPointer<Int32> {
    positions.update(repeating: -1)
    return positions
  }

  /// Sums over some records of a batch, in this rank.
  package struct Totals: Sendable, Equatable {
    package var units = 0
    package var targets = 0
    /// Sum over units of the mean loss of each, where it is finite, in nats.
    package var lossSum = 0.0
    package var finiteLosses = 0
    package var clipping = ClippingStatistics()
    package var microbatches = 0

    package init() {}

    /// Counts a microbatch's units, targets and losses.
    fileprivate mutating func count(_ batch: Microbatch) {
      targets += batch.rowCount
      for unit in batch.units.indices {
        let isFirst = batch.isFirstPart[unit]
        if isFirst { units += 1 }
        let loss = batch.loss(ofUnit: unit)
        guard loss.isFinite else { continue }
        lossSum += loss
        if isFirst { finiteLosses += 1 }
      }
    }
  }

  /// What the units of a share are computed in.
  package struct Batches: Sendable {
    /// Units whose rows don't fit a microbatch, each in parts that do; none where nothing is clipped, since parts are then microbatches
    /// like others. A part is one drawn unit, or none where ranks that share a sum take a unit's parts together and have none left.
    package var large: [(unit: Int, parts: [DrawnUnit?])] = []
    package var microbatches: [[DrawnUnit]] = []

    package init() {}

    /// Adds empty ones: ranks that share a sum run through as many.
    package mutating func pad(microbatches: Int) {
      self.microbatches += [[DrawnUnit]](repeating: [], count: microbatches - self.microbatches.count)
    }
  }

  /// Sets the gradient sum to that of `units`, microbatch by microbatch.
  ///
  /// - Parameter inspect: sees each microbatch when its losses, norms and factors are known. Of a unit that is taken in parts it sees each
  ///   part without factors, then the last once more with those of the unit.
  package func accumulateGradients(
    of units: some Sequence<Int>, in dataset: TokenizedDataset,
    inspect: (Microbatch, ClipFactors?) -> Void = { _, _ in }
  ) -> Totals {
    accumulateGradients(of: batches(of: units, in: dataset), in: dataset, inspect: inspect)
  }

  /// The same of units as they were divided. An empty batch computes nothing, and meets the ranks that share the sum.
  ///
  /// - Parameter isFinal: told of each of the plan's ``ReplicaPlan/parts`` once, when nothing more is added to it, which for some may be before the
  ///   batch's end.
  package func accumulateGradients(
    of batches: Batches, in dataset: TokenizedDataset, inspect: (Microbatch, ClipFactors?) -> Void = { _, _ in },
    isFinal: (_ part: Int) -> Void = { _ in }
  ) -> Totals {
    withoutActuallyEscaping(isFinal) { sum(batches, of: dataset, inspect, isFinal: $0) }
  }

  private func sum(
    _ batches: Batches, of dataset: TokenizedDataset, _ inspect: (Microbatch, ClipFactors?) -> Void, isFinal: @escaping (_ part: Int) -> Void
  ) -> Totals {
    guard let accumulator else { preconditionFailure("a replica planned without gradients") }
    let announced = accumulator.sum as? AnnouncedSum
    accumulator.beginBatch()
    var totals = Totals()
    for unit in batches.large { takeInParts(unit.parts, of: dataset, into: &totals, accumulator, inspect) }
    for (place, units) in batches.microbatches.enumerated() {
      if place + 1 == batches.microbatches.count { announced?.beginLastMicrobatch(isFinal) }
      let batch = fill(units, of: dataset)
      step(batch, accumulator)
      totals.microbatches += 1
      totals.count(batch)
      if let factors = accumulator.clipFactors { totals.clipping = totals.clipping + factors.statistics() }
      inspect(batch, accumulator.clipFactors)
    }
    accumulator.sum.complete()
    if let announced { announced.announceRest(isFinal) } else { plan.parts.indices.forEach(isFinal) }
    return totals
  }

  /// A unit whose rows don't fit a microbatch: its gradient is summed part by part, then clipped as one.
  private func takeInParts(
    _ parts: [DrawnUnit?], of dataset: TokenizedDataset, into totals: inout Totals, _ accumulator: some GradientAccumulator,
    _ inspect: (Microbatch, ClipFactors?) -> Void
  ) {
    guard let largeUnit else { preconditionFailure("a unit that doesn't fit, and no plan for one") }
    largeUnit.begin()
    var loss = 0.0
    for part in parts {
      let batch = fill(part.map { [$0] } ?? [], of: dataset)
      model.lossesAndGradients(Pass(memory, batch), into: largeUnit.sink)
      totals.microbatches += 1
      guard part != nil else { continue }
      loss += batch.loss(ofUnit: 0)
      totals.targets += batch.rowCount
      inspect(batch, nil)
    }
    largeUnit.addClipped(to: accumulator.sum)
    if loss.isFinite { totals.lossSum += loss }
    // Counted where its first part is.
    guard let first = parts.first, first?.isFirst == true else { return }
    inspect(microbatch, largeUnit.factors)
    totals.units += 1
    totals.finiteLosses += loss.isFinite ? 1 : 0
    totals.clipping = totals.clipping + largeUnit.factors.statistics()
  }

  /// Parameter tensors of which a backward pass hands over no gradient, by name: none, or training them would be a pretence.
  package func tensorsWithoutGradient() -> [String] {
    microbatch.removeAll()
    if plan.configuration.labels == nil { microbatch.append(unit: 0, ids: [0, 0]) } else { microbatch.append(unit: 0, ids: [0], label: 0) }
    let coverage = GradientCoverage(tensors: plan.layout.count)
    model.lossesAndGradients(Pass(memory, microbatch), into: coverage)
    return coverage.missing(plan.layout, tiedTensor: model.tiedTensor(plan.table))
  }

  /// Adds some units' gradient to the sum as a step does, for measurements: ids that the model doesn't know are taken for others.
  func takeMicrobatch(_ units: [DrawnUnit], of dataset: TokenizedDataset) {
    guard let accumulator else { preconditionFailure("a replica planned without gradients") }
    let batch = fill(units, of: dataset)
    batch.fold(into: plan.configuration.vocabularySize)
    step(batch, accumulator)
  }

  private func step(_ batch: Microbatch, _ accumulator: some GradientAccumulator) {
    let pass = Pass(memory, batch)
    accumulator.beginMicrobatch(units: batch.units.count)
    model.lossesAndGradients(pass, into: accumulator)
    accumulator.endMicrobatch(RepeatedPass(model, pass))
  }

  /// Loss over some records, weighted by target: sum in nats, and the number of targets that count.
  package func loss(of records: some Sequence<Int>, in dataset: TokenizedDataset) -> (sum: Double, targets: Int) {
    var result = (sum: 0.0, targets: 0)
    forEachPass(over: records, in: dataset) { pass in
      model.losses(pass)
      result.sum += pass.batch.losses.reduce(0, +)
      result.targets += pass.batch.countedTargetCount
    }
    return result
  }

  /// Calls `body` with the logits of a classifier's labels for each record, `[C]`, in no order.
  package func classify(_ records: some Sequence<Int>, in dataset: TokenizedDataset, _ body: (_ record: Int, _ logits: Vector) -> Void) {
    forEachPass(over: records, in: dataset) { pass in
      let logits = model.labelLogits(pass)
      for (sequence, record) in pass.batch.records.enumerated() { body(record, logits.rows(sequence..<sequence + 1).elements) }
    }
  }

  private func forEachPass(over records: some Sequence<Int>, in dataset: TokenizedDataset, _ body: (Pass) -> Void) {
    for units in plan.packed(records.map { DrawnUnit(unit: $0, records: [$0]) }, in: dataset) { body(Pass(memory, fill(units, of: dataset))) }
  }

  /// The logits behind the last of `ids`, `[V]`, valid until the next pass.
  ///
  /// - Parameter first: position of the first of them. Where the plan keeps keys and values those before it were in the passes before, and
  ///   are seen.
  package func logits(after ids: some RandomAccessCollection<Int32>, first: Int = 0) -> Vector {
    precondition(first == 0 || plan.declaration.policy.cachesKeys, "positions before \(first) are nowhere")
    microbatch.removeAll()
    // A record's last id is a target only; which one it is doesn't matter here.
    microbatch.append(unit: 0, ids: Array(ids) + [0], first: first)
    return model.lastLogits(Pass(memory, microbatch))
  }

  /// Divides units into microbatches (``ReplicaPlan/batches(of:in:choice:step:)``).
  package func batches(
    of units: some Sequence<Int>, in dataset: TokenizedDataset, choice: RecordChoice = .all, step: Int = 0
  ) -> Batches { plan.batches(of: units, in: dataset, choice: choice, step: step) }

  /// What one of several ranks takes of a large unit that they take together (``ReplicaPlan/sharedParts(ofUnit:in:choice:step:rank:ranks:)``).
  package func sharedParts(
    ofUnit unit: Int, in dataset: TokenizedDataset, choice: RecordChoice = .all, step: Int = 0, rank: Int, ranks: Int
  ) -> [DrawnUnit?] { plan.sharedParts(ofUnit: unit, in: dataset, choice: choice, step: step, rank: rank, ranks: ranks) }

  private func fill(_ units: [DrawnUnit], of dataset: TokenizedDataset) -> Microbatch {
    microbatch.removeAll()
    for drawn in units { microbatch.append(drawn, of: dataset) }
    return microbatch
  }
}
