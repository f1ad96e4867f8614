extension ModelConfiguration {
  /// The model without adapters, as its own files have it.
  package var base: ModelConfiguration { adapted(by: nil) }

  /// Whether blocks' matrices are stored `[in, out]`.
  package var storesInputByOutput: Bool { family.storesInputByOutput }

  /// The linear layers that an adapter may stand beside, by their whole names.
  package var adaptableModules: [String] { modules(adaptedBy: .allLinear) }

  /// Those that have one.
  package var adaptedModules: [String] { adapters.map { modules(adaptedBy: $0.targets) } ?? [] }

  private func modules(adaptedBy targets: LowRankAdapters.Targets) -> [String] {
    let ending = ".\(LowRankAdapters.FactorNames.peft.down).weight"
    return adapted(by: LowRankAdapters(rank: 1, alpha: 1, targets: targets, names: .peft)).parameterLayout.filter { $0.role == .adapterDown }
      .map { String($0.name.dropFirst(LowRankAdapters.prefix.count).dropLast(ending.count)) }
  }

  /// Tensors of the factors of each adapter, and of the weight that they stand beside.
  package var factors: [(weight: String, down: String, up: String)] {
    adaptedModules.map { module in
      let own = "\(LowRankAdapters.prefix)\(module)."
      return ("\(module).weight", "\(own)\(LowRankAdapters.FactorNames.peft.down).weight", "\(own)\(LowRankAdapters.FactorNames.peft.up).weight")
    }
  }

  /// What a run of this model trains that reads it and computes no gradient: of adapters what they say.
  package var trainedByDefault: TrainableParameters { adapters == nil ? .all : .lora }

  /// The classifier's tensors.
  private var classifierParameters: [String] { labels == nil ? [] : base.parameterLayout.filter { $0.role == .classifier }.map(\.name) }

  /// `target_modules` for what is adapted: the names' last parts, where they mean no other layer; else the names within a block; else, where some
  /// blocks alone are adapted, whole names.
  package var writtenTargets: [String] {
    let adapted = adaptedModules
    let spellings: [(String) -> String] = [{ Self.parts($0).last ?? $0 }, Self.nameWithinBlock]
    let candidates = spellings.map { Set(adapted.map($0)).sorted() }
    return candidates.first { matches(ofTargets: $0) == Set(adapted) } ?? adapted.sorted()
  }

  /// The modules that a reader of `target_modules` adapts: of all that have a matrix, tables and heads among them.
  private func matches(ofTargets names: [String]) -> Set<String> {
    let modules = base.parameterLayout.filter { $0.shape.count == 2 }.map { Self.module(of: $0.name) }
    return Set(modules.filter(LowRankAdapters.Targets.modules(names).contains))
  }

  /// Refuses adapters that could not be written as they are trained: whoever reads `adapter_config.json` would adapt other layers, or save others.
  package func checkAdapterCanBeWritten() throws(AdapterError) {
    guard let adapters else { return }
    guard matches(ofTargets: writtenTargets) == Set(adaptedModules) else {
      throw .unwritable(key: "target_modules", names: writtenTargets)
    }
    guard Set(classifierParameters.filter { Self.isSaved($0, by: savedModules) }) == Set(adapters.savedParameters) else {
      throw .unwritable(key: "modules_to_save", names: savedModules)
    }
  }

  private static func parts(_ name: String) -> [String] { name.split(separator: ".").map(String.init) }

  /// Whose tensor it is: the name without `weight` or `bias`.
  private static func module(of tensor: String) -> String { parts(tensor).dropLast().joined(separator: ".") }

  /// Whether a tensor is of a module that has one of these names, or lies within one.
  private static func isSaved(_ tensor: String, by names: [String]) -> Bool {
    names.contains { tensor.hasPrefix("\($0).") || tensor.contains(".\($0).") }
  }

  /// `modules_to_save` for what is trained whole: the outermost modules of the head of which all is saved, without the encoder's prefix; of others
  /// those that have the tensors.
  package var savedModules: [String] {
    guard let adapters else { return [] }
    let encoder = family.names.first.map { $0.prefix } ?? ""
    func own(_ tensor: String) -> String { Self.module(of: tensor.hasPrefix(encoder) ? String(tensor.dropFirst(encoder.count)) : tensor) }
    let left = classifierParameters.filter { !adapters.savedParameters.contains($0) }
    let names = adapters.savedParameters.map { tensor in
      let outer = Self.parts(own(tensor)).first ?? own(tensor)
      return left.contains { Self.isSaved($0, by: [outer]) } ? own(tensor) : outer
    }
    return Set(names).sorted()
  }

  /// Behind the block's number.
  private static func nameWithinBlock(_ module: String) -> String {
    let parts = parts(module)
    guard let number = parts.firstIndex(where: { Int($0) != nil }) else { return module }
    return parts[(number + 1)...].joined(separator: ".")
  }

  /// - Parameters:
  ///   - option: what names the targets.
  ///   - value: as it was given.
  /// - Throws: where a name is none of a layer that may be adapted.
  func check(_ targets: LowRankAdapters.Targets, _ option: String) throws(AdapterError) {
    guard case .modules(let names) = targets else { return }
    let adaptable = adaptableModules
    guard !names.isEmpty else { throw .unknownTarget(option: option, name: "", adaptable: adaptable) }
    for name in names where !adaptable.contains(where: { LowRankAdapters.Targets.names(name, $0) }) {
      throw .unknownTarget(option: option, name: name, adaptable: Set(adaptable.map { Self.parts($0).last ?? $0 }).sorted())
    }
  }

  /// The model with new adapters; of a classifier all layers of its head are trained with them: what is drawn for it is in no file but the adapter's.
  func adapted(by request: LoRAOptions) throws(AdapterError) -> ModelConfiguration {
    let targets = request.targets ?? .allLinear
    try check(targets, "--lora-targets")
    let rank = request.rank ?? LoRAOptions.standardRank
    let model = adapted(
      by: LowRankAdapters(
        rank: rank, alpha: request.alpha ?? Double(2 * rank), targets: targets, names: .peft, freezesDown: request.freezesDown,
        savedParameters: classifierParameters))
    try model.checkAdapterCanBeWritten()
    return model
  }

  /// The model with a directory's adapter.
  ///
  /// - Throws: where the adapter is none of this model, or the options contradict it.
  func adapted(by stored: AdapterFile.Description, _ request: LoRAOptions) throws -> ModelConfiguration {
    let model = try adapted(as: stored, request)
    try AdapterFile.checkShapes(directory: stored.directory, configuration: model)
    return model
  }

  /// The same, going by the settings and the names of the tensors alone.
  package func adapted(as stored: AdapterFile.Description, _ request: LoRAOptions) throws -> ModelConfiguration {
    try request.check(against: stored)
    try check(stored.targets, "\(stored.path): target_modules")
    for name in stored.savedNames {
      // Other modules of that name would be trained whole, too.
      let others = base.parameterLayout.filter { $0.role != .classifier }.map(\.name)
      if let other = others.first(where: { $0.hasPrefix("\(name).") || $0.contains(".\(name).") }) {
        throw AdapterError.unsupported(
          path: stored.path, key: "modules_to_save", value: "\"\(name.quotable)\"", supported: "a classifier's modules; \(other) is none of them")
      }
    }
    // A layer's weight and bias are taken together: of a half the other tensor is missing.
    let found = Set(classifierParameters.filter { stored.tensors.contains(LowRankAdapters.prefix + $0) }.map(Self.module))
    let saved = classifierParameters.filter { found.contains(Self.module(of: $0)) || Self.isSaved($0, by: stored.savedNames) }
    let model = adapted(
      by: LowRankAdapters(
        rank: stored.rank, alpha: stored.alpha, targets: stored.targets, names: .peft, isRankStabilized: stored.isRankStabilized,
        freezesDown: request.freezesDown, savedParameters: saved))
    try model.checkAdapterCanBeWritten()
    return model
  }
}

extension LowRankAdapters.FactorNames {
  package static let peft = Self(down: "lora_A", up: "lora_B")
}

/// What a user asks of adapters: nil where nothing is said.
public struct LoRAOptions: Sendable, Hashable {
  public static let standardRank = 8
  static let mostRank = 4096

  public var rank: Int?
  public var alpha: Double?
  public var targets: LowRankAdapters.Targets?
  public var freezesDown = false

  public init() {}

  /// The adapter says it all: what is said beside it has to be the same.
  fileprivate func check(against stored: AdapterFile.Description) throws(AdapterError) {
    func require<Value: Equatable>(_ option: String, _ value: Value?, _ own: Value) throws(AdapterError) {
      if let value, value != own {
        throw .contradicted(option: "\(option) \(value)", adapter: stored.directory, own: "\(own)")
      }
    }
    try require("--lora-rank", rank, stored.rank)
    try require("--lora-alpha", alpha, stored.alpha)
    guard let targets, targets.description != stored.targets.description else { return }
    throw .contradicted(option: "--lora-targets \(targets)", adapter: stored.directory, own: stored.targets.description)
  }
}
