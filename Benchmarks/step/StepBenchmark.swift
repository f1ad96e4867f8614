import ArgumentParser
import DistEngine

/// Optimizer steps on fixed batches of full length, through the library.
///
/// NOT private: the batch is fixed, as benchmarks of other trainers do it, and the noise is the same in every step.
@main
struct StepBenchmark: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "step-benchmarks",
    abstract: "Time, memory, page faults and allocations of a training step. NOT private: fixed batches.",
    subcommands: [Modes.self, Mixed.self, Alone.self, PerStep.self, LogicalBatches.self, PlannedPeaks.self, GenerationTime.self, ShapeOfPeers.self, WriteModel.self, SgemmAlone.self],
    defaultSubcommand: Modes.self)
}

/// Options that name things of the library.
enum Choice {
  static func preset(_ name: String) throws -> ModelPreset {
    guard let preset = ModelPreset(rawValue: name) else { throw ValidationError("no preset \(name)") }
    return preset
  }

  static func one<Value: RawRepresentable>(_ name: some StringProtocol, _ what: String) throws -> Value
  where Value.RawValue == String {
    guard let value = Value(rawValue: String(name)) else { throw ValidationError("no \(what) \(name)") }
    return value
  }

  /// Several, with commas between.
  static func list<Value: RawRepresentable>(_ names: String, _ what: String) throws -> [Value] where Value.RawValue == String {
    try names.split(separator: ",").map { try one($0, what) }
  }

  static func numbers(_ text: String, _ what: String) throws -> [Int] {
    try text.split(separator: ",").map {
      guard let number = Int($0), number >= 1 else { throw ValidationError("no \(what): \($0)") }
      return number
    }
  }
}

/// The options that the peers' programs take for a preset, so that a shape is written down in one place.
struct ShapeOfPeers: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "shape", abstract: "A preset as the options of Benchmarks/peers.")

  @Option(help: "A preset.") var model = "seed-medium"

  func run() throws {
    let shape = try Choice.preset(model).configuration
    let options = [
      "--layers \(shape.layers)", "--width \(shape.width)", "--heads \(shape.heads)", "--vocabulary \(shape.vocabularySize)",
      "--positions \(shape.positions)", "--parameters \(shape.parameterCount)",
    ]
    print((options + (shape.tiedEmbeddings ? ["--tied"] : [])).joined(separator: " "))
  }
}
