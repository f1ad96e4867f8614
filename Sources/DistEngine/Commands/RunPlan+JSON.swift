extension RunPlan: Encodable {
  enum CodingKeys: String, CodingKey {
    case mode, clipping, model, parameters, precision, ranks, sharding, steps, norms, epsilon, delta, accountant, time
    case ranksPerNode = "ranks_per_node"
    case trainingRecords = "training_records"
    case trainingUnits = "training_units"
    case takesUnitsInParts = "takes_units_in_parts"
    case datasetSize = "dataset_size"
    case batchSize = "batch_size"
    case longestRecord = "sequence_length"
    case microbatchExamples = "microbatch_examples"
    case microbatchRows = "microbatch_rows"
    case ownMicrobatchRows = "own_microbatch_from"
    case plannedMb = "planned_mb"
    case nodePlannedMb = "node_planned_mb"
    case dataMb = "data_mb"
    case budgetMb = "budget_mb"
    case categoriesMb = "categories_mb"
    case largestBuffers = "largest_buffers"
    case logitChunkRows = "logit_chunk_rows"
    case keepsOnlyExample = "keeps_only_example"
    case noiseMultiplier = "noise_multiplier"
    case isPrivate = "private"
    case checkpointMb = "checkpoint_mb"
    case checkpointCount = "checkpoints_at_a_time"
    case diskMb = "disk_mb"
    case notCovered = "not_covered_by_guarantee"
    case flopsPerStep = "flops_per_step"
    case flopsPerTarget = "flops_per_token"
  }

  /// All keys, null where there is no value. MB = 2^20 bytes.
  public func encode(to encoder: any Encoder) throws {
    let megabytes = { (bytes: Int) in Double(bytes) / Double(MemoryMeter.megabyte) }
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(mode, forKey: .mode)
    try values.encode(mode.isPrivate ? clipping : nil, forKey: .clipping)
    try values.encode(model, forKey: .model)
    try values.encode(parameters, forKey: .parameters)
    try values.encode(precision, forKey: .precision)
    try values.encode(ranks, forKey: .ranks)
    try values.encode(ranksPerNode, forKey: .ranksPerNode)
    try values.encode(sharding, forKey: .sharding)
    try values.encode(trainingRecords, forKey: .trainingRecords)
    try values.encode(trainingUnits, forKey: .trainingUnits)
    try values.encode(takesUnitsInParts, forKey: .takesUnitsInParts)
    try values.encode(datasetSize, forKey: .datasetSize)
    try values.encode(batchSize, forKey: .batchSize)
    try values.encode(longestRecord, forKey: .longestRecord)
    try values.encode(steps, forKey: .steps)
    try values.encode(microbatchExamples, forKey: .microbatchExamples)
    try values.encode(microbatchRows, forKey: .microbatchRows)
    try values.encode(ownMicrobatchRows, forKey: .ownMicrobatchRows)
    try values.encode(megabytes(rankBytes), forKey: .plannedMb)
    try values.encode(megabytes(nodeBytes), forKey: .nodePlannedMb)
    try values.encode(megabytes(dataBytes), forKey: .dataMb)
    try values.encode(budgetBytes.map(megabytes), forKey: .budgetMb)
    let categories = categories.map { ($0.category.rawValue, megabytes($0.byteCount)) }
    try values.encode(Dictionary(uniqueKeysWithValues: categories), forKey: .categoriesMb)
    try values.encode(largestBuffers, forKey: .largestBuffers)
    try values.encode(megabytes(checkpointBytes), forKey: .checkpointMb)
    try values.encode(checkpointCount, forKey: .checkpointCount)
    try values.encode(megabytes(diskBytes), forKey: .diskMb)
    try values.encode(logitChunkRows, forKey: .logitChunkRows)
    try values.encode(keepsOnlyExample, forKey: .keepsOnlyExample)
    try values.encode(norms, forKey: .norms)
    try values.encode(noiseMultiplier, forKey: .noiseMultiplier)
    try values.encode(epsilon, forKey: .epsilon)
    try values.encode(delta, forKey: .delta)
    try values.encode(accountant?.rawValue, forKey: .accountant)
    try values.encode(isPrivate, forKey: .isPrivate)
    let notCovered: [CodingKeys] = [
      .trainingRecords, .trainingUnits, .takesUnitsInParts, .longestRecord, .microbatchExamples, .microbatchRows, .ownMicrobatchRows, .plannedMb, .nodePlannedMb, .dataMb,
      .categoriesMb, .largestBuffers, .logitChunkRows, .keepsOnlyExample, .norms, .flopsPerStep,
      .time,
    ]
    try values.encode(notCovered.map(\.rawValue), forKey: .notCovered)
    try values.encode(flopsPerStep, forKey: .flopsPerStep)
    try values.encode(flopsPerTarget, forKey: .flopsPerTarget)
    try values.encode(time, forKey: .time)
  }
}

extension NormTiming: Encodable {
  enum CodingKeys: String, CodingKey {
    case inputs, outputs
    case gramSeconds = "gram_seconds"
    case instantiateSeconds = "instantiate_seconds"
    case gramLimit = "gram_up_to_targets"
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(shape.inputs, forKey: .inputs)
    try values.encode(shape.outputs, forKey: .outputs)
    try values.encode(cost.gram, forKey: .gramSeconds)
    try values.encode(cost.instantiate, forKey: .instantiateSeconds)
    try values.encode(gramLimit, forKey: .gramLimit)
  }
}

extension MemoryPlan.BufferGroup: Encodable {
  enum CodingKeys: String, CodingKey {
    case name, category, count, mb
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(name, forKey: .name)
    try values.encode(category, forKey: .category)
    try values.encode(count, forKey: .count)
    try values.encode(Double(byteCount) / Double(MemoryMeter.megabyte), forKey: .mb)
  }
}
