import ArgumentParser
import DistEngine
import Foundation

/// `dp-mpirun plan`: what `train` with the same options would need and cost. Makes no MPI call, and allocates a buffer only where time is to be predicted.
struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "What a training run would need and cost: memory, privacy, work, and with --time or --link time. Starts nothing.",
    discussion: """
      Takes the options of train and reads the same data. Memory is that of a rank's buffers; the records' ids, which are held \
      once a node, the program itself and MPI come on top. Time is predicted from some blocks of the model, timed on this machine in place of a \
      node in some ten seconds (more where other work takes its cores), and a model of the wire.
      """)

  @Option(help: "Ranks of the job.")
  var ranks = 1

  @Option(help: "Ranks on a node (default: all on one).")
  var ranksPerNode: Int?

  @Flag(help: "Predict seconds a step and tokens a second, and where more ranks stop paying: times this machine for some seconds.")
  var time = false

  @Option(help: ArgumentHelp("Rate of a node's link in Gbit/s, for more nodes than one (implies --time).", valueName: "gbit"))
  var link: Double?

  @Option(help: ArgumentHelp("Microseconds that a message takes from one node to another, one way (default: 50).", valueName: "us"))
  var latency: Double?

  @OptionGroup var options: TrainOptions

  /// Whether time is asked for.
  private var predictsTime: Bool { time || link != nil }

  private func makeLink() throws -> Link? {
    guard let link else {
      guard latency == nil else { throw UsageError(description: "--latency is for --link: without it no wire is reckoned with") }
      guard !time || ranks <= ranksPerNode ?? ranks else {
        throw UsageError(description: "--time: \(ranks) ranks on nodes of \(ranksPerNode ?? ranks) need --link GBIT, the rate of a node's link")
      }
      return nil
    }
    return try Link(gigabits: link, latencyMicroseconds: latency ?? Link.standardLatency)
  }

  func validate() throws {
    guard ranks >= 1 else { throw UsageError(description: "--ranks \(ranks): must be 1 or more") }
    if let ranksPerNode {
      guard (1...ranks).contains(ranksPerNode) else {
        throw UsageError(description: "--ranks-per-node \(ranksPerNode): must be 1 to \(ranks), the number of --ranks")
      }
    }
    _ = try makeLink()
    _ = try options.makeConfiguration()
  }

  mutating func run() throws {
    let isFirst = (LauncherRank.beforeInit ?? 0) == 0
    // One process times: others would be in its way.
    let plan = try RunPlan(
      try options.makeConfiguration(), ranks: ranks, ranksPerNode: ranksPerNode ?? ranks, predictsTime: predictsTime && isFirst, link: try makeLink())
    guard isFirst else { return }
    if options.run.json {
      try StandardOutput.printJSON(plan)
    } else {
      StandardOutput.write(line: PlanText(plan).lines.joined(separator: "\n"))
    }
  }
}

/// A plan for people.
struct PlanText {
  private let plan: RunPlan

  init(_ plan: RunPlan) { self.plan = plan }

  var lines: [String] {
    let rows = [
      ("run", run), ("microbatch", microbatch), ("privacy", privacy), ("work", work), ("memory", memory),
      ("data", data), ("budget", budget), ("disk", disk), ("head", head), ("norms", norms),
    ]
    return rows.map { Self.column($0.0, 14) + $0.1 } + categories + largestBuffers + timings + (plan.time.map { TimeText($0).lines } ?? [])
  }

  private var run: String {
    "\(plan.mode.rawValue), \(plan.model) of \(plan.parameters) parameters\(plan.precision == .f32 ? "" : ", products of \(plan.precision.rawValue)"); \(plan.steps) steps of \(plan.batchSize) records expected out of "
      + "\(plan.trainingUnits == plan.trainingRecords ? "" : "\(plan.trainingUnits) units of ")\(plan.trainingRecords), longest \(plan.longestRecord) targets"
  }

  private var microbatch: String {
    let kind = plan.trainingUnits == plan.trainingRecords ? "record" : "unit"
    return "up to \(Self.counted(plan.microbatchExamples, kind)) in up to \(Self.counted(plan.microbatchRows, "target"))"
      + (plan.ownMicrobatchRows.map { "; one of \($0) targets or more alone" } ?? "")
      + (plan.takesUnitsInParts ? "; larger units in parts, whose gradient is summed before it is clipped" : "")
  }

  private var privacy: String {
    guard let delta = plan.delta, let accountant = plan.accountant else { return "none" }
    let epsilon = plan.epsilon.value.isFinite ? plan.epsilon.value.formatted(digits: 4) : "inf"
    return "epsilon \(epsilon) at delta \(delta) (\(accountant.rawValue)), noise multiplier "
      + "\(plan.noiseMultiplier.formatted(digits: 4)), sampling rate \(plan.batchSize)/\(plan.datasetSize)"
      + (plan.isPrivate ? "" : "; NOT private: the noise is 0, its --seed known, or the start model isn't private")
  }

  private var work: String {
    "\(Self.engineering(plan.flopsPerStep))FLOP a step expected, \(Self.engineering(plan.flopsPerTarget))FLOP a target: the model's own products"
  }

  private var memory: String {
    "\(Self.megabytes(plan.rankBytes)) a rank, \(Self.megabytes(plan.nodeBytes)) a node of \(Self.counted(plan.ranksPerNode, "rank")) "
      + "(\(Self.counted(plan.ranks, "rank")) in all), --shard \(plan.sharding.rawValue)"
  }

  private var data: String {
    "\(Self.megabytes(plan.dataBytes)) a node: the records' ids, which its ranks share"
  }

  private var budget: String {
    guard let budget = plan.budgetBytes else { return "none" }
    return Self.megabytes(budget) + (plan.rankBytes - plan.sharedBytes > budget ? " a rank, which no way fits: the smallest is taken" : " a rank")
  }

  private var disk: String {
    "\(Self.megabytes(plan.diskBytes)) with --output: \(plan.checkpointCount) checkpoints of \(Self.megabytes(plan.checkpointBytes)), one of them being "
      + "written; the model; the records of the run"
  }

  private var head: String { plan.logitChunkRows.map { "logits in chunks of \($0) rows" } ?? "logits of the whole microbatch" }

  private var norms: String {
    switch plan.mode {
    case .standard: "none"
    case .hooks: "of gradients that are materialised for every record"
    case .ghost where plan.ownMicrobatchRows != nil:
      "of a \(plan.trainingUnits == plan.trainingRecords ? "record" : "unit") alone from its gradient, which is kept, measured and added; else by book-keeping"
    case .ghost where plan.keepsOnlyExample: "of the only record's gradient, which is kept, measured and added"
    case .ghost where plan.norms.isEmpty: "by book-keeping, each layer's by its shape: with --seed nothing hangs on timings"
    case .ghost: "by book-keeping, each layer's by the faster way"
    }
  }

  private var categories: [String] {
    let used = plan.categories.reduce(into: (rank: 0, node: 0)) {
      $0.rank += $1.byteCount
      $0.node += $1.nodeByteCount
    }
    let rows =
      plan.categories.map { ($0.category.rawValue, $0.byteCount, $0.nodeByteCount) }
      + [("between buffers", plan.rankBytes - used.rank, plan.nodeBytes - used.node)]
    return ["", "MB a rank at the fullest point of a step; a node"]
      + rows.filter { $0.1 > 0 }.map { name, ofRank, ofNode in
        "  \(Self.column(name, 28))\(Self.number(ofRank))  \(Self.number(ofNode))"
      }
  }

  private var largestBuffers: [String] {
    ["", "Largest buffers, MB"]
      + plan.largestBuffers.map { group in
        "  \(Self.column(group.name, 42))\(Self.number(group.byteCount))  \(group.category.rawValue)"
          + (group.count > 1 ? ", \(group.count) of them" : "")
      }
  }

  private var timings: [String] {
    guard !plan.norms.isEmpty else { return [] }
    let milliseconds = { (seconds: Double) in "\((1000 * seconds).formatted(digits: 3)) ms" }
    return ["", "Norms, timed on this machine for a record of \(plan.norms[0].longest) targets"]
      + plan.norms.map { timing in
        let choice =
          switch timing.gramLimit {
          case 0: "the gradient"
          case timing.longest...: "Gram matrices"
          case let limit: "Gram matrices up to \(limit) targets, then the gradient"
          }
        return "  \(Self.column("\(timing.shape.inputs) x \(timing.shape.outputs)", 16))Gram \(milliseconds(timing.cost.gram)), "
          + "gradient \(milliseconds(timing.cost.instantiate)): \(choice)"
      }
  }

  private static func column(_ text: String, _ width: Int) -> String {
    text.padding(toLength: max(width, text.count + 1), withPad: " ", startingAt: 0)
  }

  private static func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

  private static func megabytes(_ bytes: Int) -> String {
    "\((Double(bytes) / Double(MemoryMeter.megabyte)).formatted(digits: 0)) MB"
  }

  private static func number(_ bytes: Int) -> String {
    String(format: "%10.1f", Double(bytes) / Double(MemoryMeter.megabyte))
  }

  /// With a decimal prefix, as in `1.25 T`.
  private static func engineering(_ value: Double) -> String {
    let prefixes = [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")]
    let (scale, prefix) = prefixes.first { value >= $0.0 } ?? (1, "")
    return "\((value / scale).formatted(digits: 2)) \(prefix)"
  }
}
