import ArgumentParser
import DistEngine

/// A range of records, `a..<b`.
struct RecordRange: ExpressibleByArgument {
  let range: Range<Int>

  init?(argument: String) {
    let parts = argument.components(separatedBy: "..<")
    guard parts.count == 2, let first = Int(parts[0]), let end = Int(parts[1]), 0 <= first, first <= end else { return nil }
    range = first..<end
  }
}

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Per-example losses, norms, clip factors and the clipped sum, without noise: for auditors and tests.",
    discussion: "What it writes is computed from the records without noise. It is NOT private.")

  @OptionGroup var data: DataOptions
  @OptionGroup var clipping: ClippingOptions

  @Option(help: "Records, as 0..<n (default: all).")
  var records: RecordRange?

  @Option(help: "The safetensors file to write.")
  var out: String

  @Option(help: "A seed for a preset's fresh parameters.")
  var seed: UInt64?

  func validate() throws { try makeConfiguration().validate() }

  mutating func run() throws {
    let configuration = makeConfiguration()
    let (records, out, seed) = (records?.range, out, seed)
    try runUnderMPI { environment in
      try Inspection.run(configuration, records: records, seed: seed, writingTo: out, environment: environment, note: Notes.say)
    }
  }

  private func makeConfiguration() -> TrainingConfiguration {
    var configuration = TrainingConfiguration()
    data.apply(to: &configuration)
    clipping.apply(to: &configuration)
    return configuration
  }
}
