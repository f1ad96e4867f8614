import ArgumentParser
import DistEngine
import Foundation

struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize", abstract: "The ids that a tokenizer makes of records, one JSON object a line.")

  @Option(help: ArgumentHelp("A tokenizer.json, a directory that holds one, or bytes.", valueName: "file|directory|bytes"))
  var tokenizer: String

  @Option(help: "Records: .txt, .jsonl, .csv, .tsv, or builtin; repeated for several files.")
  var data: [String]

  @Option(
    help: ArgumentHelp("The field of a .jsonl, .csv or .tsv record that holds the text; two with a comma are a pair.", valueName: "name[,name]"))
  var textField = "text"

  @Flag(help: "Put the tokenizer's special tokens around each text, as classifiers see it.")
  var specialTokens = false

  mutating func run() throws {
    // One process reads: a launcher's other ranks have nothing to add.
    guard (LauncherRank.beforeInit ?? 0) == 0 else { return }
    try Tokenization.run(
      tokenizer: TokenizerKind(rawValue: tokenizer), data: data, textFields: FieldNames.list(textField), addsSpecialTokens: specialTokens
    ) { StandardOutput.write(Data($0)) }
  }
}
