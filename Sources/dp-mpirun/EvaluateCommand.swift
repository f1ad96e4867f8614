import ArgumentParser
import DistEngine

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Loss and perplexity of a model on a data file.")

  @Option(help: "A model directory.")
  var model: String

  @Option(help: "Records: .txt, .jsonl, .csv, .tsv, or builtin (its held-out tenth); repeated for several files.")
  var data: [String]

  @Option(help: "The field of a .jsonl, .csv or .tsv record that holds the text.")
  var textField = "text"

  @Option(help: "The field of what the text completes: the loss is the text's alone.")
  var promptField: String?

  @Option(help: ArgumentHelp(TokenizerKind.help, valueName: "auto|bytes"))
  var tokenizer = AutomaticOr<TokenizerKind>.auto

  @Option(help: "T: longer records are cut to T targets (default: what the records need, at most the model's positions, and 1024).")
  var seqLen: Int?

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  mutating func run() throws {
    let (model, data, tokenizer, seqLen, json) = (model, data, tokenizer.value, seqLen, json)
    let fields = (texts: FieldNames.list(textField), prompt: promptField)
    try runUnderMPI { environment in
      let result = try Evaluation(
        model: model, data: data, fields: fields, sequenceLength: seqLen, tokenizer: tokenizer, environment: environment,
        note: Notes.say)
      guard environment.world.rank == 0 else { return }
      if json {
        try StandardOutput.printJSON(result)
      } else {
        StandardOutput.write(line: "loss        \(result.loss.formatted(digits: 4)) nats a target")
        StandardOutput.write(line: "perplexity  \(result.perplexity.formatted(digits: 3))")
        StandardOutput.write(line: "\(result.targets) targets in \(result.records) records; computed without noise")
      }
    }
  }
}
