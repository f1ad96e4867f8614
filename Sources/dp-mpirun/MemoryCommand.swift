import ArgumentParser
import DistEngine
import Foundation

struct MemoryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "memory", abstract: "Measure memory and time by model, mode, microbatch, length and ranks.",
    discussion: """
      Runs every combination of the lists for some steps in fresh state, on all ranks that it is started on, and prints what each \
      was planned to take and took. What can't fit is skipped, with what it would need. Records are synthetic, of full \
      length: nothing here is private. With --output, the directory gets memory.json, memory.csv and memory.html.

      Columns. \(MemoryColumn.explanation)
      """)

  @Option(help: "Presets or model directories, with commas between.")
  var models = "tiny"

  @Option(help: "standard, hooks, ghost, with commas between.")
  var modes = TrainingMode.allCases.map(\.rawValue).joined(separator: ",")

  @Option(help: "Records of a microbatch, and of a rank's share of the batch, with commas between.")
  var microbatches = "1,2,4,8"

  @Option(help: "Targets of a record, with commas between.")
  var seqLens = "128"

  @Option(help: "How the state is spread over ranks: auto, none, optimizer, node, with commas between.")
  var shards = "auto"

  @Option(help: "Steps of each combination; the first is not timed where there are more.")
  var steps = 3

  @Option(help: "sgd (without momentum) or adamw.")
  var optimizer = OptimizerName.adamw

  @OptionGroup var precision: PrecisionOptions

  @Option(help: "MB that the ranks of a node may take together (default: what is available).")
  var memoryBudget: Int?

  @Option(help: "A directory for memory.json, memory.csv and memory.html. Nothing is written without it.")
  var output: String?

  @Option(
    help: "The memory.json of an earlier run, such as one on fewer ranks, to go into this one's report; repeated for several.")
  var merge: [String] = []

  @Option(help: "Seconds that a rank waits in one collective before it ends the job.")
  var collectiveTimeout = 600

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  func validate() throws {
    _ = try makeConfiguration()
    guard collectiveTimeout >= 1 else {
      throw UsageError(description: "--collective-timeout \(collectiveTimeout): must be 1 or more")
    }
  }

  mutating func run() throws {
    let configuration = try makeConfiguration()
    let (output, merge, json) = (output, merge, json)
    try runUnderMPI(collectiveTimeout: .seconds(collectiveTimeout)) { environment in
      var table = MemoryTable()
      let report = try MemoryScaling.run(configuration, output: output, merging: merge, environment: environment) { record in
        if !json { table.print(record) }
      }
      guard environment.world.rank == 0 else { return }
      if json {
        FileHandle.standardOutput.write(Data(try report.json()))
      } else {
        for note in report.notes { StandardOutput.write(line: note) }
      }
    }
  }

  private func makeConfiguration() throws -> MemoryScalingConfiguration {
    var configuration = MemoryScalingConfiguration()
    configuration.models = elements(of: models)
    configuration.modes = try elements(of: modes).map { name in
      guard let mode = TrainingMode(rawValue: name) else {
        let allowed = TrainingMode.allCases.map(\.rawValue).joined(separator: ", ")
        throw UsageError(description: "--modes \(name): must be one of \(allowed), or several with commas between")
      }
      return mode
    }
    configuration.microbatches = try numbers("--microbatches", microbatches)
    configuration.sequenceLengths = try numbers("--seq-lens", seqLens)
    configuration.shardings = try elements(of: shards).map { name in
      guard let sharding = AutomaticOr<Sharding>(argument: name) else {
        let allowed = AutomaticOr<Sharding>.allValueStrings.joined(separator: ", ")
        throw UsageError(description: "--shards \(name): must be one of \(allowed), or several with commas between")
      }
      return sharding.value
    }
    configuration.steps = steps
    if optimizer == .sgd { configuration.optimizer = .sgd(momentum: 0, weightDecay: 0) }
    configuration.precision = precision.precision.value
    configuration.memoryBudgetMb = memoryBudget
    try configuration.validate()
    return configuration
  }

  private func elements(of list: String) -> [String] {
    list.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
  }

  private func numbers(_ option: String, _ list: String) throws -> [Int] {
    try elements(of: list).map { text in
      guard let number = Int(text) else {
        throw UsageError(description: "\(option) \(list): must be numbers with commas between")
      }
      return number
    }
  }
}

/// The report on a terminal: a line a combination, as soon as it's done.
private struct MemoryTable {
  private var hasHeader = false

  mutating func print(_ record: MemoryRecord) {
    if !hasHeader { StandardOutput.write(line: line(MemoryColumn.all.map(\.title))) }
    hasHeader = true
    let reason = record.reason.map { "  \(record.outcome.rawValue): \($0)" } ?? ""
    StandardOutput.write(line: line(MemoryColumn.all.map { $0.text(record) }) + reason)
    fflush(nil)
  }

  private func line(_ texts: [String]) -> String {
    zip(MemoryColumn.all, texts).map { column, text in
      let padding = String(repeating: " ", count: max(0, column.width - text.count))
      return column.isText ? text + padding : padding + text
    }.joined(separator: " ")
  }
}
