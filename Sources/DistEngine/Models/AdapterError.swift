/// Why an adapter, or what is asked of one, is refused.
public enum AdapterError: UserError, Equatable {
  case noWeights(directory: String)
  case unsupported(path: String, key: String, value: String, supported: String)
  case unknownTarget(option: String, name: String, adaptable: [String])
  case contradicted(option: String, adapter: String, own: String)
  case missing(directory: String, tensor: String, shape: [Int])
  case misshapen(path: String, tensor: String, found: [Int], expected: [Int])
  case unknown(path: String, tensor: String)
  case notFinite(path: String, tensor: String)
  case otherModel(path: String, model: String)
  case headMissing(model: String, tensor: String, adapter: String)
  case otherBase(adapter: String, trainedOn: String, model: String, found: String)
  /// What was saved isn't what was trained.
  case damaged(directory: String, reason: String)
  case unsaidTraining(adapter: String, model: String)
  case unsaidBase(adapter: String, model: String)
  case outputExists(String)
  /// What PEFT's settings would say isn't what would be trained.
  case unwritable(key: String, names: [String])

  public var description: String {
    switch self {
    case .noWeights(let directory):
      "\(directory): holds no \(AdapterFile.weightsName): an adapter in PEFT's layout has one beside \(AdapterFile.configurationName)"
    case .unsupported(let path, let key, let value, let supported): "\(path): \(key) \(value) is not supported: must be \(supported)"
    case .unknownTarget(let option, let name, let adaptable):
      "\(option) \(name.quotable): the model has no such linear layer to adapt: must be of \(adaptable.joined(separator: ", ")), "
        + "or \(LowRankAdapters.Targets.allLinearName)"
    case .contradicted(let option, let adapter, let own):
      "\(option): the adapter in \(adapter) has \(own.quotable): leave the option out, or give the same"
    case .missing(let directory, let tensor, let shape): "\(directory): tensor \(tensor.quotable) \(shape) is missing"
    case .misshapen(let path, let tensor, let found, let expected):
      "\(path): tensor \(tensor.quotable) has shape \(found.quotable): model and \(AdapterFile.configurationName) make it \(expected)"
    case .unknown(let path, let tensor):
      "\(path): tensor \(tensor.quotable) is no part of the adapter that \(AdapterFile.configurationName) describes beside this model"
    case .notFinite(let path, let tensor): "\(path): tensor \(tensor.quotable) has values that are not finite"
    case .otherModel(let path, let model): "\(path): describes another model than \(model): an adapter needs the model that it was trained beside"
    case .headMissing(let model, let tensor, let adapter):
      "\(model): tensor \(tensor.quotable) is missing, and the adapter in \(adapter) has none in its place"
    case .otherBase(let adapter, let trainedOn, let model, let found):
      "\(adapter): was trained beside the model of SHA-256 \(trainedOn.prefix(16).description.quotable), and \(model) is that of "
        + "\(found.prefix(16)): name the model that it was trained beside"
    case .damaged(let directory, let reason): "\(directory): the adapter that was saved is damaged: \(reason)"
    case .unsaidTraining(let adapter, let model):
      "\(adapter): has no privacy.json and \(model) has one: what the merged model has seen can't be said"
    case .unsaidBase(let adapter, let model):
      "\(adapter)/privacy.json: names no model (start_model), and \(model) has a statement of its own: that it covers this model can't be said"
    case .outputExists(let path): "--output \(path) is there already: name another directory"
    case .unwritable(let key, let names):
      "--trainable lora: \(key) \(names.joined(separator: ", ").quotable) in \(AdapterFile.configurationName) would mean other layers than "
        + "those that are trained: choose other --lora-targets"
    }
  }
}
