/// Per-example losses, norms and clip factors and the clipped gradient sum of some records, without noise: for auditors and
/// tests. Not private.
public struct Inspection {
  /// In record order: mean loss of a record over its targets, in nats.
  package var losses: [Float]
  /// Of n units: `[n]` with `flat`, `[n,k]` with `per-layer`, groups in canonical order of the tensors.
  package var norms: [Float]
  package var clipFactors: [Float]
  package let groups: Int
  /// Non-finite examples, which contribute 0.
  package var nonFinite: Int

  /// Computes the shares of all ranks and combines them; collective. The sum is left in `replica.gradientSum`, on every rank.
  package init(
    of units: Range<Int>, in dataset: TokenizedDataset, replica: ModelReplica, communicator: Communicator
  ) throws {
    let groups = replica.accumulator?.clipFactors?.groups ?? 1
    self.groups = groups
    let count = units.count
    // Records of units are anywhere: a part of the units is a part of the records only where each is one.
    let records = units.count == dataset.unitCount ? 0..<dataset.count : units
    var losses = [Double](repeating: 0, count: records.count)
    var norms = [Double](repeating: 0, count: count * groups)
    var factors = [Double](repeating: 0, count: count * groups)
    let share = stride(from: units.lowerBound + communicator.rank, to: units.upperBound, by: communicator.size)
    let totals = replica.accumulateGradients(of: share, in: dataset) { batch, clipping in
      for (sequence, record) in batch.records.enumerated() { losses[record - records.lowerBound] = batch.loss(ofSequence: sequence) }
      guard let clipping else { return }
      for (own, unit) in batch.units.enumerated() {
        let place = unit - units.lowerBound
        for group in 0..<groups {
          norms[place * groups + group] = clipping.norm(unit: own, group: group)
          factors[place * groups + group] = Double(clipping.factor(unit: own, group: group))
        }
      }
    }
    // Each record is one rank's, and 0 on the others.
    try communicator.allreduceSum(&losses)
    try communicator.allreduceSum(&norms)
    try communicator.allreduceSum(&factors)
    try communicator.allreduceSum(replica.gradientSum)
    self.losses = losses.map(Float.init)
    self.norms = norms.map(Float.init)
    clipFactors = factors.map(Float.init)
    nonFinite = try communicator.allreduceSum(totals.clipping.nonFinite)
  }

  /// Writes F32 tensors `losses`, `norms`, `clip_factors` and the sum under the model's own names and layout.
  package func write(to path: String, replica: ModelReplica) throws {
    let units = norms.count / groups
    let shape = groups == 1 ? [units] : [units, groups]
    let sum = UnsafeBufferPointer(replica.gradientSum)
    try losses.withUnsafeBufferPointer { losses in
      try norms.withUnsafeBufferPointer { norms in
        try clipFactors.withUnsafeBufferPointer { factors in
          let own = [
            Safetensors.Source(name: "losses", shape: [losses.count], values: losses),
            Safetensors.Source(name: "norms", shape: shape, values: norms),
            Safetensors.Source(name: "clip_factors", shape: shape, values: factors),
          ]
          let tensors = replica.plan.layout.map {
            Safetensors.Source(name: $0.name, shape: $0.shape, values: UnsafeBufferPointer(rebasing: sum[$0.range]))
          }
          try Safetensors.write(own + tensors, to: path)
        }
      }
    }
  }
}

extension Inspection {
  /// `dp-mpirun inspect`: reads model and records, computes, writes the file on rank 0; collective.
  ///
  /// - Parameters:
  ///   - records: nil takes all.
  ///   - note: told, on rank 0, what is to be known of model and records.
  public static func run(
    _ configuration: TrainingConfiguration, records: Range<Int>?, seed: UInt64?, writingTo path: String,
    environment: MPIEnvironment, note: (String) -> Void = { _ in }
  ) throws {
    let communicator = environment.world
    let source = try communicator.agree("model") {
      try ModelSource.resolve(
        configuration.model, tokenizer: configuration.tokenizer, task: configuration.task(allowsNewHead: true),
        adapter: try AdapterRequest(configuration))
    }
    try communicator.requireEqual(configuration, source.configuration)
    let table = source.configuration.parameterTable(trainable: configuration.trainable, stored: source.stored)
    let weights = try SharedWeights(source.stored, directory: source.directory, mapsAny: !table.mapped.isEmpty, environment: environment)
    try weights?.requireEqual()
    let dataset = try LoadedRecords(configuration, model: source.configuration, tokenizer: source.tokenizer, environment: environment, progress: note).training
    try communicator.requireEqual(training: dataset, evaluation: nil, node: environment.node)
    let notes = try communicator.agree("adapter") {
      communicator.rank == 0 ? try configuration.adapter.map { try AdapterBase.check(adapter: $0, model: configuration.model) } ?? [] : []
    }
    if communicator.rank == 0 { (source.trainingNotes + source.notes + notes + dataset.notes("inspected")).forEach(note) }
    let range = records ?? 0..<dataset.unitCount
    try communicator.agree("records") {
      guard records == nil || configuration.unitField == nil else {
        throw TrainingError.conflictingOptions("--records is for units of one record: with --unit all of them take part")
      }
      guard range.upperBound <= dataset.count else {
        throw TrainingError.badOption(
          option: "--records", value: "\(range)", allowed: "within 0..<\(dataset.count), the records of \(configuration.data.joined(separator: ", "))")
      }
    }
    let largestUnit = configuration.unitField == nil ? 0 : dataset.largestUnit(ofRecords: .max)
    let capacities = configuration.performance.capacities(
      mode: configuration.mode, clipping: configuration.clipping, positions: dataset.longestSequence, lengths: dataset.unitLengths(ofRecords: .max),
      largestUnit: largestUnit, model: source.configuration, trainable: configuration.trainable)
    let threads = try ThreadCounts(configuration.performance, in: environment)
    let plan = try communicator.agree("memory plan") {
      try ReplicaPlan(
        fastestFor: configuration, model: source.configuration, capacities: capacities, largestUnit: largestUnit, optimizer: nil, stored: source.stored,
        threads: threads.largest)
    }
    let replica = try communicator.agree("memory") {
      try plan.checkAddressSpace(threads: threads.own)
      return try ModelReplica(plan, threads: threads.own)
    }
    let key = try communicator.sharedKey(seed: seed)
    let inspection = try replica.team.use {
      try replica.loadParameters(
        from: source.directory, adapter: source.adapter, key: key, allowsNewHead: source.configuration.labels != nil, communicator: communicator)
      return try Inspection(of: range, in: dataset, replica: replica, communicator: communicator)
    }
    try replica.checkFiles(communicator)
    try communicator.agree("output") {
      if communicator.rank == 0 { try inspection.write(to: path, replica: replica) }
    }
  }
}
