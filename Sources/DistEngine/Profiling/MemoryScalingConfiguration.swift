/// What a memory scaling run measures: every combination of the lists.
public struct MemoryScalingConfiguration: Sendable {
  /// Presets, or model directories, of which only the shape is used.
  public var models = ["tiny"]
  public var modes = TrainingMode.allCases
  /// b: records of a microbatch, and of a rank's share of the batch.
  public var microbatches = [1, 2, 4, 8]
  /// T: targets of every record.
  public var sequenceLengths = [128]
  /// How the state is spread over ranks; nil chooses as a training run does.
  public var shardings: [Sharding?] = [nil]
  /// Steps of each combination. The first is not timed where there are more.
  public var steps = 3
  public var optimizer = OptimizerConfiguration.adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.01)
  /// Of the linear layers' products; nil: by processor and model (`auto`).
  public var precision: Precision? = .f32
  /// What the ranks of a node may take together, in MB; nil: what is available.
  public var memoryBudgetMb: Int?

  /// More than any node has, and less than what overflows as bytes.
  package static let mostMegabytes = 1 << 40

  public init() {}

  /// Refuses values that can't be, whatever the models.
  public func validate() throws(TrainingError) {
    func check(_ condition: Bool, _ option: String, _ value: String, _ allowed: String) throws(TrainingError) {
      guard condition else { throw .badOption(option: option, value: value, allowed: allowed) }
    }
    func checkList<Value: Hashable>(
      _ option: String, _ values: [Value], _ allowed: String, _ isAllowed: (Value) -> Bool = { _ in true }
    ) throws(TrainingError) {
      try check(!values.isEmpty && values.allSatisfy(isAllowed), option, list(values), allowed)
      try check(Set(values).count == values.count, option, list(values), "a list that names nothing twice")
    }
    try checkList("--models", models, "presets or model directories, with commas between", { !$0.isEmpty })
    try checkList("--modes", modes, "modes, with commas between")
    let counts = "numbers from 1 to \(TrainingConfiguration.mostExamples), with commas between"
    try checkList("--microbatches", microbatches, counts, (1...TrainingConfiguration.mostExamples).contains)
    try checkList("--seq-lens", sequenceLengths, counts, (1...TrainingConfiguration.mostExamples).contains)
    try checkList("--shards", shardings.map { $0?.rawValue ?? "auto" }, "shardings, with commas between")
    try check(
      (1...TrainingConfiguration.mostSteps).contains(steps), "--steps", "\(steps)", "1 to \(TrainingConfiguration.mostSteps)")
    if let memoryBudgetMb {
      try check(
        (1...Self.mostMegabytes).contains(memoryBudgetMb), "--memory-budget", "\(memoryBudgetMb)", "1 to \(Self.mostMegabytes) MB"
      )
    }
  }

  private func list<Value>(_ values: [Value]) -> String { values.map { "\($0)" }.joined(separator: ",") }

  /// All combinations: models outermost, then sequence lengths, shardings, modes; microbatches innermost.
  package func combinations(_ topology: NodeTopology) -> [MemoryCombination] {
    var shardings: [Sharding] = []
    for sharding in self.shardings.map({ $0 ?? .automatic(topology) }) where !shardings.contains(sharding) {
      shardings.append(sharding)
    }
    var result: [MemoryCombination] = []
    for model in models {
      for length in sequenceLengths {
        for sharding in shardings {
          for mode in modes {
            for microbatch in microbatches {
              result.append(
                MemoryCombination(
                  model: model, mode: mode, microbatch: microbatch, seqLen: length, sharding: sharding, optimizer: optimizer.name)
              )
            }
          }
        }
      }
    }
    return result
  }
}

/// One point of a memory scaling run.
public struct MemoryCombination: Codable, Hashable, Sendable {
  public var model: String
  public var mode: TrainingMode
  /// b
  public var microbatch: Int
  /// T
  public var seqLen: Int
  public var sharding: Sharding
  public var optimizer: String
}
