import ArgumentParser
import DistEngine

struct ClassifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "classify", abstract: "Give each record of a data file a label and its probabilities.",
    discussion: "A line a record, in their order: {\"label\":\"spam\",\"probabilities\":{\"ham\":0.02,\"spam\":0.98}}. Started by mpirun, all ranks compute.")

  @OptionGroup var records: RecordOptions

  @Option(help: "The .jsonl file to write: it appears whole, when all records are done.")
  var output: String

  mutating func run() throws {
    var configuration = records.makeConfiguration()
    configuration.mode = .standard
    configuration.isUnlabelled = true
    let (request, output) = (configuration, output)
    try runUnderMPI { environment in
      try Classification.run(request, writingTo: output, environment: environment, note: Notes.say)
    }
  }
}
