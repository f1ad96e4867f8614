import ArgumentParser
import DistEngine

struct MergeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "merge", abstract: "Add an adapter into the model that it stands beside.",
    discussion: "Writes a model directory in Hugging Face's layout, in F32, with a statement of privacy that covers both.")

  @Option(help: "The model directory that the adapter was trained beside.")
  var model: String

  @Option(help: "The directory of the adapter.")
  var adapter: String

  @Option(help: "The model directory to write, which must not be there.")
  var output: String

  mutating func run() throws {
    // One process writes: a launcher's other ranks have nothing to add.
    guard (LauncherRank.beforeInit ?? 0) == 0 else { return }
    try AdapterMerge.run(model: model, adapter: adapter, output: output, note: Notes.say)
  }
}
