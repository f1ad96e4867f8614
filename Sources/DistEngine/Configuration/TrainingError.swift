/// Why a run is refused.
public enum TrainingError: UserError, Equatable {
  /// An option whose value can't be, whatever the data.
  case badOption(option: String, value: String, allowed: String)
  case conflictingOptions(String)
  /// A private mode on other than the built-in data needs its noise stated.
  case noNoise
  case batchLargerThanData(batch: Int, datasetSize: Int)
  case sequenceLongerThanModel(length: Int, positions: Int)
  case sequenceLongerThanWindow(length: Int, window: Int)
  /// No record has a target that carries loss.
  case nothingCounts(data: String)
  /// A classification of which nobody says what labels there are.
  case noLabels
  /// An encoder predicts no next token.
  case encoderWithoutLabels(model: String)
  /// A classifier's head predicts no next token.
  case classifierWithoutLabels(model: String)
  /// Neither an encoder nor a classifier's head can write texts.
  case continuesNoText(model: String, isClassifier: Bool)
  /// A model without a classifier where a trained one is needed.
  case noClassifier(model: String)
  /// Stated labels that aren't a trained classifier's.
  case otherLabels(model: String, own: [String], stated: [String])
  case vocabularyTooSmall(tokenizer: Int, model: Int)
  case tokenTypesTooMany(file: String, types: Int32, model: Int)
  case outputHoldsRun(String)
  /// `--precision bf16` where it can't be; why.
  case noBFloat16(String)
  /// A preset where trained weights are needed.
  case noWeights(preset: String)
  /// An adapter beside a preset, whose parameters are other ones each time.
  case adapterOfPreset(preset: String)
  /// A model directory has a tokenizer of its own, which can't be used here.
  case foreignTokenizer(file: String)
  /// Neither tokenizer nor model say what ends texts.
  case noEndOfText(tokenizer: String)
  /// A model directory has none, and wasn't trained on bytes.
  case noTokenizer(directory: String)
  /// Bytes that the smallest plan needs.
  case overBudget(needed: Int, budget: MemoryBudget)
  /// A node has not what the ranks on it need: which, and what would fit.
  case notEnoughMemory(String)
  /// What a rank has read or was told differs from rank 0's.
  case ranksDisagree(what: String, rank: Int, host: String)
  case diverged(step: Int)
  case lossNotFinite(step: Int)
  /// 1-based.
  case logitsNotFinite(record: Int)
  /// A second run of one trainer would draw the first one's noise again.
  case alreadyRun
  case parametersDiffer(step: Int)
  /// Parameters that aren't trained are other ones than before the run.
  case frozenChanged
  /// No gradient covers them: they would be in no norm, and stay as they are.
  case tensorsWithoutGradient([String])

  public var exitStatus: Int32 {
    switch self {
    case .badOption, .conflictingOptions: ExitStatus.usage
    case .parametersDiffer, .frozenChanged, .alreadyRun, .tensorsWithoutGradient: ExitStatus.internalError
    default: ExitStatus.refused
    }
  }

  public var description: String {
    switch self {
    case .badOption(let option, let value, let allowed): "\(option) \(value): must be \(allowed)"
    case .conflictingOptions(let what): what
    case .noNoise:
      "a private mode on your own data needs --noise-multiplier or --target-epsilon: how much privacy is enough is yours to say"
    case .batchLargerThanData(let batch, let size):
      "--batch-size \(batch) is larger than the data set of \(size) records: must be at most that many"
    case .sequenceLongerThanWindow(let length, let window):
      "--seq-len \(length): attention of this model looks back \(window) positions (sliding_window), and is computed here whole: must be at most \(window)"
    case .sequenceLongerThanModel(let length, let positions):
      "--seq-len \(length) is beyond the model's \(positions) positions: must be at most that many"
    case .nothingCounts(let data):
      "\(data): every prompt fills --seq-len, so that no completion is left: allow longer sequences"
    case .noLabels:
      "--label-field: which labels there are is public, and neither --labels nor the model says it: --labels a,b,c does"
    case .encoderWithoutLabels(let model):
      "--model \(model) is an encoder, which has no next token to predict: it classifies, so --label-field must name the field of the labels"
    case .classifierWithoutLabels(let model):
      "--model \(model) is a classifier, which has no next token to predict: --label-field must name the field of the labels"
    case .continuesNoText(let model, let isClassifier):
      "--model \(model) is \(isClassifier ? "a classifier" : "an encoder"), which continues no text: generate needs a language model"
        + (isClassifier ? "; classify says its labels" : "")
    case .noClassifier(let model): "--model \(model) has no classifier: one that was trained with --label-field has"
    case .otherLabels(let model, let own, let stated):
      "--labels: the classifier of \(model) knows \(ModelTask.listed(own)), not \(ModelTask.listed(stated)): it can't be evaluated on those"
    case .vocabularyTooSmall(let tokenizer, let model):
      "the tokenizer makes \(tokenizer) ids and the model's vocabulary has \(model): the model must have at least as many"
    case .tokenTypesTooMany(let file, let largest, let model):
      "\(file): the post-processor gives token type \(largest) and the model has \(model): the model must have more (type_vocab_size)"
    case .noWeights(let preset):
      "--model \(preset) is a preset, which has no weights: name a model directory"
        + (ModelPreset.isAlsoDirectory(preset) ? " (./\(preset) is the one that lies here)" : "")
    case .adapterOfPreset(let preset):
      "--model \(preset) is a preset, whose parameters are new in every run: an adapter needs the model that it stands beside, so name a model directory"
    case .foreignTokenizer(let file):
      "\(file): the model's ids are those of this tokenizer, which is not read here: --tokenizer names a tokenizer.json "
        + "with the same ids; --tokenizer bytes makes ids of bytes all the same"
    case .noEndOfText(let tokenizer):
      "\(tokenizer): has no token named <|endoftext|>, <|end_of_text|>, </s> or [SEP], and no eos_token_id of the model says what ends texts"
    case .noTokenizer(let directory):
      "\(directory): holds no tokenizer.json, and its config.json doesn't end texts with 256, as models of bytes do: --tokenizer names one, or is bytes"
    case .overBudget(let needed, let budget):
      "--memory-budget \(budget): a rank's buffers need \((needed - 1) / MemoryMeter.megabyte + 1)MB at least: allow that many, or lower --microbatch or --seq-len"
    case .notEnoughMemory(let what): "the run \(what)"
    case .outputHoldsRun(let path): "--output \(path) holds a run already: name another directory"
    case .noBFloat16(let why): "--precision bf16: \(why); use f32, or auto, which takes bf16 where it can"
    case .ranksDisagree(let what, let rank, let host):
      "\(what) of rank \(rank) on \(host) differ from those of rank 0: every host must have the same files and options"
    case .lossNotFinite(let step): "no loss is finite at step \(step): the run diverged; a smaller --learning-rate may help"
    case .logitsNotFinite(let record): "record \(record): what the model computes is not finite: its parameters are too large"
    case .alreadyRun: "a trainer runs once: a second run would draw the same noise again"
    case .diverged(let step): "the parameters are not finite after step \(step): a smaller --learning-rate or less noise may help"
    case .tensorsWithoutGradient(let names): "no gradient covers \(names.joined(separator: ", ")): they would be in no norm and never be trained"
    case .frozenChanged: "parameters that aren't trained are other ones than before the run: nothing is written, for what was trained needs them as they were"
    case .parametersDiffer(let step): "the ranks' parameters differ after step \(step): their processors or libraries disagree"
    }
  }
}
