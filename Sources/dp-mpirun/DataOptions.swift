import ArgumentParser
import DistEngine

extension TrainingMode: ExpressibleByArgument {}
extension TrainableParameters: ExpressibleByArgument {}

extension TokenizerKind {
  static let help: String =
    "A tokenizer.json or a directory that holds one; bytes: ids 0-255 are bytes, 256 is <|endoftext|>; auto: a model directory's own, bytes for "
    + "a preset."
}

/// Names with commas between them, as they stand.
enum FieldNames {
  static func list(_ argument: String) -> [String] { argument.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
}

struct DataOptions: ParsableArguments {
  @Option(help: "standard, hooks (materialised per-example gradients) or ghost (ghost clipping).")
  var mode = TrainingMode.ghost

  @Option(help: "A preset (\(ModelPreset.allCases.map(\.rawValue).joined(separator: ", "))) or a model directory in Hugging Face's layout.")
  var model = "tiny"

  @Flag(help: "Take for granted that the model directory was trained without these records, whatever its privacy.json says.")
  var baseIsPublic = false

  @Option(
    help: ArgumentHelp(
      "Training records: .txt (a line a record), .jsonl, .csv, .tsv, or builtin (5,574 SMS messages, a tenth held out; default). Repeated for several "
        + "files."))
  var data: [String] = []

  @Option(help: "Records to evaluate on. Repeated for several files.")
  var evalData: [String] = []

  @Option(help: ArgumentHelp("The field of a .jsonl, .csv or .tsv record that holds the text; two with a comma are a pair.", valueName: "name[,name]"))
  var textField = "text"

  @Option(help: "The field of what the text completes. It carries no loss: what is trained is the text behind it.")
  var promptField: String?

  @Option(help: "The field of a record's label: the model classifies.")
  var labelField: String?

  @Option(help: ArgumentHelp("The labels that there are, which is public (default: the model's own).", valueName: "a,b,c"))
  var labels: String?

  @Option(help: "The field that names whose record it is: all records of one name are one unit of privacy, which the guarantee is for.")
  var unit: String?

  @Option(help: "The most records of a unit that take part in a step (default: \(TrainingConfiguration.standardRecordsPerUnit)).")
  var maxRecordsPerUnit: Int?

  @Option(
    help: ArgumentHelp(
      "all; bias: every bias; head: the language head, with the table that it shares; lora: adapters of low rank. What isn't trained has no gradient and "
        + "no noise (default: all; lora with --adapter).",
      valueName: TrainableParameters.allCases.map(\.rawValue).joined(separator: "|")))
  var trainable: TrainableParameters?

  @Option(help: "r: rank of the adapters (default: \(LoRAOptions.standardRank)).")
  var loraRank: Int?

  @Option(help: "alpha: what an adapter computes is scaled by alpha/r (default: 2r).")
  var loraAlpha: Double?

  @Option(
    help: ArgumentHelp(
      "The linear layers that have an adapter, as q_proj,v_proj, or \(LowRankAdapters.Targets.allLinearName): attention's and the feed-forward layers' "
        + "(default).", valueName: "name,…|\(LowRankAdapters.Targets.allLinearName)"))
  var loraTargets: String?

  @Flag(help: "Train the adapters' B alone; A stays as it is.")
  var loraFreezeA = false

  @Option(help: "The directory of an adapter, in PEFT's layout, that stands beside the model: it is what is trained.")
  var adapter: String?

  @Option(help: ArgumentHelp(TokenizerKind.help, valueName: "auto|bytes|file"))
  var tokenizer = AutomaticOr<TokenizerKind>.auto

  @Option(help: "T: longer records are cut to T targets (default: what the records need, at most the model's positions, and 1024).")
  var seqLen: Int?

  @Option(help: "N0: public number of units (of records without --unit), for the sampling rate and delta (default: the number in the training data).")
  var datasetSize: Int?

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.mode = mode
    configuration.model = model
    configuration.baseIsPublic = baseIsPublic
    if !data.isEmpty { configuration.data = data }
    configuration.evaluationData = evalData
    configuration.textFields = FieldNames.list(textField)
    configuration.promptField = promptField
    configuration.labelField = labelField
    configuration.labels = labels.map(FieldNames.list)
    configuration.unitField = unit
    if let maxRecordsPerUnit { configuration.maxRecordsPerUnit = maxRecordsPerUnit }
    configuration.trainable = trainable ?? (adapter == nil ? .all : .lora)
    configuration.adapter = adapter
    configuration.lora.rank = loraRank
    configuration.lora.alpha = loraAlpha
    configuration.lora.targets = loraTargets.map { $0 == LowRankAdapters.Targets.allLinearName ? .allLinear : .modules(FieldNames.list($0)) }
    configuration.lora.freezesDown = loraFreezeA
    configuration.sequenceLength = seqLen
    configuration.tokenizer = tokenizer.value
    configuration.datasetSize = datasetSize
  }
}
