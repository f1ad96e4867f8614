import ArgumentParser
import DistEngine
import Foundation

struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Sample text from a model directory.")

  @Option(help: "A model directory.")
  var model: String

  @Option(help: "The directory of an adapter that stands beside the model.")
  var adapter: String?

  @Option(help: "The text to continue.")
  var prompt = ""

  @Option(help: ArgumentHelp(TokenizerKind.help, valueName: "auto|bytes|file"))
  var tokenizer = AutomaticOr<TokenizerKind>.auto

  @Option(help: "The most tokens to sample.")
  var tokens = 200

  @Option(help: "0 takes the likeliest token; 1 samples from the model's own distribution.")
  var temperature = 0.8

  @Option(help: "Sample from the k likeliest tokens.")
  var topK: Int?

  @Option(help: "A seed, to sample the same text again.")
  var seed: UInt64?

  func validate() throws {
    guard tokens >= 0 else { throw UsageError(description: "--tokens \(tokens): must be 0 or more") }
    guard temperature >= 0, temperature.isFinite else {
      throw UsageError(description: "--temperature \(temperature): must be 0 or a number above it")
    }
    if let topK, topK < 1 { throw UsageError(description: "--top-k \(topK): must be 1 or more") }
  }

  mutating func run() throws {
    // One process samples: a launcher's other ranks have nothing to add.
    guard (LauncherRank.beforeInit ?? 0) == 0 else { return }
    let text = try Generation.text(
      model: model, adapter: adapter, prompt: prompt, count: tokens, temperature: temperature, topK: topK, seed: seed,
      tokenizer: tokenizer.value, note: Notes.say)
    // Bytes as the model made them: they need not be UTF-8.
    StandardOutput.write(Data(prompt.utf8) + Data(text) + Data("\n".utf8))
  }
}
