import ArgumentParser
import DistEngine

/// What a command that computes without training reads.
struct RecordOptions: ParsableArguments {
  @Option(help: "A model directory.")
  var model: String

  @Option(help: "The directory of an adapter that stands beside the model.")
  var adapter: String?

  @Option(help: "Records: .txt, .jsonl, .csv, .tsv, or builtin (its held-out tenth); repeated for several files.")
  var data: [String]

  @Option(help: ArgumentHelp("The field of a .jsonl, .csv or .tsv record that holds the text; two with a comma are a pair.", valueName: "name[,name]"))
  var textField = "text"

  @Option(help: ArgumentHelp(TokenizerKind.help, valueName: "auto|bytes|file"))
  var tokenizer = AutomaticOr<TokenizerKind>.auto

  @Option(help: "T: longer records are cut to T targets (default: what the records need, at most the model's positions, and 1024).")
  var seqLen: Int?

  func makeConfiguration() -> TrainingConfiguration {
    var configuration = TrainingConfiguration()
    configuration.model = model
    if let adapter { (configuration.adapter, configuration.trainable) = (adapter, .lora) }
    configuration.data = data
    configuration.textFields = FieldNames.list(textField)
    configuration.tokenizer = tokenizer.value
    configuration.sequenceLength = seqLen
    return configuration
  }
}

struct EvaluateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate", abstract: "Loss and perplexity of a model on a data file; of a classifier accuracy, F1 and a table by label.")

  @OptionGroup var records: RecordOptions

  @Option(help: "The field of what the text completes: the loss is the text's alone.")
  var promptField: String?

  @Option(help: "The field of a record's label: the model is a classifier.")
  var labelField: String?

  @Option(help: ArgumentHelp("The labels that there are (default: the model's own; others are refused).", valueName: "a,b,c"))
  var labels: String?

  @Flag(help: "Print one JSON object on standard output.")
  var json = false

  mutating func run() throws {
    var configuration = records.makeConfiguration()
    configuration.promptField = promptField
    configuration.labelField = labelField
    configuration.labels = labels.map(FieldNames.list)
    let (request, json) = (configuration, json)
    try runUnderMPI { environment in
      let result = try Evaluation(request, environment: environment, note: Notes.say)
      guard environment.world.rank == 0 else { return }
      if json {
        try StandardOutput.printJSON(result)
      } else {
        Self.print(result)
      }
    }
  }

  private static func print(_ result: Evaluation) {
    guard let classification = result.classification else {
      StandardOutput.write(line: "loss        \(result.loss.formatted(digits: 4)) nats a target")
      StandardOutput.write(line: "perplexity  \(result.perplexity.formatted(digits: 3))")
      StandardOutput.write(line: "\(result.targets) targets in \(result.records) records; computed without noise")
      return
    }
    let number = { (value: Double?) in value.map { $0.formatted(digits: 4) } ?? "-" }
    StandardOutput.write(line: "loss      \(number(result.loss)) nats a record")
    StandardOutput.write(line: "accuracy  \(number(classification.counts.accuracy))")
    StandardOutput.write(line: "macro F1  \(number(classification.counts.macroF1))")
    let rows = classification.rows.map { row in
      [row.label.quotable, "\(row.records)", "\(row.predicted)", "\(row.correct)", number(row.precision), number(row.recall), number(row.f1)]
    }
    let table = [["label", "records", "predicted", "correct", "precision", "recall", "F1"]] + rows
    let widths = table[0].indices.map { column in table.map { $0[column].count }.max() ?? 0 }
    for row in table {
      let cells = row.enumerated().map { column, cell in
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        return column == 0 ? cell + padding : padding + cell
      }
      StandardOutput.write(line: cells.joined(separator: "  "))
    }
    StandardOutput.write(line: "\(result.records) records; computed without noise")
  }
}
