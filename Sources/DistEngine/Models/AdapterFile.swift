import Foundation

/// Directories of adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`, and where they were written here
/// `config.json` with the labels and the ids around texts, and the tokenizer.
package enum AdapterFile {
  package static let configurationName = "adapter_config.json"
  package static let weightsName = "adapter_model.safetensors"

  /// What a directory says of its adapter.
  package struct Description: Sendable, Equatable {
    package let directory: String
    package let rank: Int
    package let alpha: Double
    package let targets: LowRankAdapters.Targets
    package let isRankStabilized: Bool
    package let savedNames: [String]
    /// Names of its tensors.
    package let tensors: [String]
    package let notes: [String]

    var path: String { "\(directory)/\(configurationName)" }
  }

  /// Keys that change nothing of what an adapter computes, or are read otherwise.
  private static let ignoredKeys: Set = [
    "auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights", "lora_alpha", "lora_dropout",
    "megatron_core", "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r", "revision", "runtime_config", "target_modules",
    "task_type", "use_rslora",
  ]

  /// - Throws: also for what changes an adapter's function and isn't supported, by its name.
  package static func read(directory: String) throws -> Description {
    let weights = "\(directory)/\(weightsName)"
    return try description(FileBytes.read("\(directory)/\(configurationName)"), directory: directory) {
      guard FileManager.default.fileExists(atPath: weights) else { throw AdapterError.noWeights(directory: directory) }
      return try SafetensorsFile(path: weights).tensors.map(\.name)
    }
  }

  /// - Parameters:
  ///   - bytes: of `adapter_config.json`.
  ///   - tensors: names of the adapter's tensors, asked for when the settings are good.
  package static func description(_ bytes: [UInt8], directory: String, tensors: () throws -> [String]) throws -> Description {
    let path = "\(directory)/\(configurationName)"
    do {
      let settings = try ConfigurationSettings(json: Data(bytes))
      try settings.require("peft_type", oneOf: ["LORA"], default: nil)
      try settings.require("bias", oneOf: ["none"], default: "none")
      let fields = try JSONScanner.parse(file: bytes).object ?? [:]
      for (key, value) in fields.sorted(by: { $0.key < $1.key }) where !ignoredKeys.contains(key) && !value.isNeutral {
        throw AdapterError.unsupported(path: path, key: key.quotable, value: "\(value)", supported: "absent, null or false")
      }
      if case .string(let kind)? = fields["init_lora_weights"], !["gaussian", "eva", "orthogonal"].contains(kind) {
        // Others change the model's own weights, too.
        throw AdapterError.unsupported(path: path, key: "init_lora_weights", value: "\"\(kind.quotable)\"", supported: "true, false or \"gaussian\"")
      }
      let rank = try settings.neededInteger("r")
      guard (1...LoRAOptions.mostRank).contains(rank) else {
        throw ModelConfigurationError.outOfRange(key: "r", value: "\(rank)", allowed: "1 to \(LoRAOptions.mostRank)")
      }
      let alpha = try settings.number("lora_alpha") ?? 8
      let isRankStabilized = try settings.boolean("use_rslora") ?? false
      guard LowRankAdapters.isUsable(alpha: alpha, rank: rank, isRankStabilized: isRankStabilized) else {
        throw ModelConfigurationError.outOfRange(key: "lora_alpha", value: "\(alpha)", allowed: LowRankAdapters.usableAlpha)
      }
      let dropout = try settings.number("lora_dropout") ?? 0
      return Description(
        directory: directory, rank: rank, alpha: alpha, targets: try targets(settings, fields["target_modules"], path: path),
        isRankStabilized: isRankStabilized, savedNames: try settings.strings("modules_to_save") ?? [],
        tensors: try tensors(),
        notes: dropout == 0 ? [] : ["\(path) asks for dropout (lora_dropout \(dropout)), which is not applied"])
    } catch let error as ModelConfigurationError {
      throw ModelConfigurationError.inFile(path: path, error)
    }
  }

  private static func targets(_ settings: ConfigurationSettings, _ value: JSONValue?, path: String) throws -> LowRankAdapters.Targets {
    guard case .string(let text)? = value else {
      guard let names = try settings.strings("target_modules") else { throw ModelConfigurationError.missing(key: "target_modules") }
      return .modules(names)
    }
    guard text == LowRankAdapters.Targets.allLinearName else {
      throw AdapterError.unsupported(
        path: path, key: "target_modules", value: "\"\(text.quotable)\"", supported: "a list of names, or \"\(LowRankAdapters.Targets.allLinearName)\"")
    }
    return .allLinear
  }

  // MARK: Tensors

  /// Whether a directory has both files that are written here.
  static func isWhole(directory: String) -> Bool {
    [weightsName, configurationName].allSatisfy { FileManager.default.fileExists(atPath: "\(directory)/\($0)") }
  }

  /// Compares the header of a directory's tensors with the adapter of a configuration.
  static func checkShapes(directory: String, configuration: ModelConfiguration) throws {
    _ = try checkedFile(directory: directory, layout: configuration.parameterLayout)
  }

  private static func checkedFile(directory: String, layout: ParameterLayout) throws -> SafetensorsFile {
    let file = try SafetensorsFile(path: "\(directory)/\(weightsName)")
    for entry in layout where entry.isOfAdapter {
      guard let tensor = file.tensor(named: entry.name) else {
        throw AdapterError.missing(directory: directory, tensor: entry.name, shape: entry.shape)
      }
      guard tensor.shape == entry.shape else {
        throw AdapterError.misshapen(path: file.path, tensor: entry.name, found: tensor.shape, expected: entry.shape)
      }
    }
    if let other = file.tensors.map(\.name).sorted().first(where: { !(layout.entry(named: $0)?.isOfAdapter ?? false) }) {
      throw AdapterError.unknown(path: file.path, tensor: other)
    }
    return file
  }

  /// Overwrites the adapter's tensors of a layout, converted to `Float`, in memory that is given tensor by tensor.
  package static func readParameters(
    directory: String, layout: ParameterLayout, into values: (ParameterLayout.Entry) -> UnsafeMutableBufferPointer<Float>
  ) throws {
    let file = try checkedFile(directory: directory, layout: layout)
    for entry in layout where entry.isOfAdapter {
      guard let tensor = file.tensor(named: entry.name) else { continue }
      let values = values(entry)
      try file.read(tensor, into: values)
      guard values.allSatisfy(\.isFinite) else { throw AdapterError.notFinite(path: file.path, tensor: entry.name) }
    }
  }

  /// Makes a directory that `PeftModel.from_pretrained` loads. Each file appears whole or not at all.
  ///
  /// - Parameters:
  ///   - model: the directory of the model that it stands beside. Its name alone is written: where it lies is the operator's affair.
  ///   - values: of a tensor of the layout.
  package static func write(
    directory: String, configuration: ModelConfiguration, model: String, layout: ParameterLayout,
    values: (ParameterLayout.Entry) -> UnsafeBufferPointer<Float>
  ) throws {
    try AtomicFile.makeDirectory(directory)
    let tensors = layout.filter(\.isOfAdapter).map { Safetensors.Source(name: $0.name, shape: $0.shape, values: values($0)) }
    try Safetensors.write(tensors, to: "\(directory)/\(weightsName)")
    try AtomicFile.write(configuration.base.json(), to: "\(directory)/config.json")
    try AtomicFile.write(json(configuration, model: model), to: "\(directory)/\(configurationName)")
  }

  /// A directory's name without those above it.
  package static func nameOfModel(_ directory: String) -> String { URL(filePath: directory).standardizedFileURL.lastPathComponent }

  /// `adapter_config.json` as PEFT reads it.
  package static func json(_ configuration: ModelConfiguration, model: String) throws -> Data {
    guard let adapters = configuration.adapters else { preconditionFailure("a model without adapters") }
    let saved = configuration.savedModules
    let fields: [String: JSONValue] = [
      "peft_type": .string("LORA"), "task_type": .string(configuration.labels == nil ? "CAUSAL_LM" : "SEQ_CLS"),
      "base_model_name_or_path": .string(nameOfModel(model)), "r": .integer(adapters.rank), "lora_alpha": .number(adapters.alpha),
      "use_rslora": .boolean(adapters.isRankStabilized), "use_dora": .boolean(false), "lora_dropout": .number(0), "bias": .string("none"),
      "fan_in_fan_out": .boolean(configuration.storesInputByOutput), "inference_mode": .boolean(true), "init_lora_weights": .boolean(true),
      "target_modules": .array(configuration.writtenTargets.map(JSONValue.string)),
      "modules_to_save": saved.isEmpty ? .null : .array(saved.map(JSONValue.string)),
    ]
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(fields) + Data("\n".utf8)
  }
}

extension JSONValue {
  /// Says nothing: as if it weren't there.
  fileprivate var isNeutral: Bool {
    switch self {
    case .null, .boolean(false): true
    case .array(let values): values.isEmpty
    case .object(let fields): fields.isEmpty
    default: false
    }
  }
}
