extension TimePlan: Encodable {
  enum CodingKeys: String, CodingKey {
    case calibration, table, threads
    case secondsPerStep = "seconds_per_step"
    case busySecondsPerStep = "busy_seconds_per_step"
    case tokensPerSecond = "tokens_per_second"
    case parts = "parts_seconds"
    case ranksPerNode = "ranks_per_node"
    case nodes
    case link = "link_gbit"
    case latency = "latency_us"
    case calibrationSeconds = "calibration_seconds"
    case processorPart = "calibration_processor_part"
    case stopsScaling = "stops_scaling_at_ranks"
    case limitedBy = "limited_by"
  }

  /// All keys, null where there is no value.
  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(step.seconds, forKey: .secondsPerStep)
    try values.encode(busyStep.seconds, forKey: .busySecondsPerStep)
    try values.encode(step.tokensPerSecond, forKey: .tokensPerSecond)
    try values.encode(step.secondsByPart, forKey: .parts)
    try values.encode(step.nodes, forKey: .nodes)
    try values.encode(ranksPerNode, forKey: .ranksPerNode)
    try values.encode(threads, forKey: .threads)
    try values.encode(link?.gigabits, forKey: .link)
    try values.encode(link?.latencyMicroseconds, forKey: .latency)
    try values.encode(calibration, forKey: .calibration)
    try values.encode(calibrationSeconds, forKey: .calibrationSeconds)
    try values.encode(processorPart, forKey: .processorPart)
    try values.encode(limit?.ranks, forKey: .stopsScaling)
    try values.encode(limit?.limit(beside: table[0]).rawValue, forKey: .limitedBy)
    try values.encode(table.map { Row(prediction: $0, one: table[0]) }, forKey: .table)
  }

  private struct Row: Encodable {
    let prediction, one: StepPrediction

    enum CodingKeys: String, CodingKey {
      case ranks, nodes, efficiency
      case secondsPerStep = "seconds_per_step"
      case tokensPerSecond = "tokens_per_second"
      case parts = "parts_seconds"
    }

    func encode(to encoder: any Encoder) throws {
      var values = encoder.container(keyedBy: CodingKeys.self)
      try values.encode(prediction.ranks, forKey: .ranks)
      try values.encode(prediction.nodes, forKey: .nodes)
      try values.encode(prediction.seconds, forKey: .secondsPerStep)
      try values.encode(prediction.tokensPerSecond, forKey: .tokensPerSecond)
      try values.encode(prediction.efficiency(beside: one), forKey: .efficiency)
      try values.encode(prediction.secondsByPart, forKey: .parts)
    }
  }
}

extension StepPrediction {
  /// By the parts' names.
  fileprivate var secondsByPart: [String: Double] {
    Dictionary(uniqueKeysWithValues: Part.allCases.map { ($0.rawValue, self[$0]) })
  }
}
