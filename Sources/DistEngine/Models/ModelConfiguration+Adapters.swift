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

  /// The classifier's tensors.
  private var classifierParameters: [String] { labels == nil ? [] : base.parameterLayout.filter { $0.role == .classifier }.map(\.name) }

  /// `target_modules` for what is adapted: the names' last parts, where they mean no other layer, else the names within a block.
  package var writtenTargets: [String] {
    let adapted = adaptedModules
    let others = base.parameterLayout.filter { $0.shape.count == 2 && $0.name.hasSuffix(".weight") }
      .map { String($0.name.dropLast(".weight".count)) }.filter { !adapted.contains($0) }
    let short = Set(adapted.map { String($0.split(separator: ".").last ?? "") }).sorted()
    let isUnambiguous = !others.contains { LowRankAdapters.Targets.modules(short).contains($0) }
    return isUnambiguous ? short : Set(adapted.map(Self.nameWithinBlock)).sorted()
  }

  /// Behind the block's number.
  private static func nameWithinBlock(_ module: String) -> String {
    let parts = module.split(separator: ".")
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
      throw .unknownTarget(option: option, name: name, adaptable: Set(adaptable.map { String($0.split(separator: ".").last ?? "") }).sorted())
    }
  }

  /// The model with new adapters; of a classifier all layers of its head are trained with them: what is drawn for it is in no file but the adapter's.
  func adapted(by request: LoRAOptions) throws(AdapterError) -> ModelConfiguration {
    let targets = request.targets ?? .allLinear
    try check(targets, "--lora-targets")
    let rank = request.rank ?? LoRAOptions.standardRank
    let saved = classifierParameters
    let encoder = family.names.first.map { $0.prefix } ?? ""
    let names = Set(saved.map { String(($0.hasPrefix(encoder) ? $0.dropFirst(encoder.count) : $0[...]).split(separator: ".").first ?? "") })
    return adapted(
      by: LowRankAdapters(
        rank: rank, alpha: request.alpha ?? Double(2 * rank), targets: targets, names: .peft, freezesDown: request.freezesDown,
        savedParameters: Set(saved), savedNames: names.sorted()))
  }

  /// The model with a directory's adapter.
  ///
  /// - Throws: where the adapter is none of this model, or the options contradict it.
  func adapted(by stored: AdapterFile.Description, _ request: LoRAOptions) throws -> ModelConfiguration {
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
    let saved = classifierParameters.filter { name in
      stored.tensors.contains(LowRankAdapters.prefix + name)
        || stored.savedNames.contains { name.hasPrefix("\($0).") || name.contains(".\($0).") }
    }
    let model = adapted(
      by: LowRankAdapters(
        rank: stored.rank, alpha: stored.alpha, targets: stored.targets, names: .peft, isRankStabilized: stored.isRankStabilized,
        freezesDown: request.freezesDown, savedParameters: Set(saved), savedNames: stored.savedNames))
    try AdapterFile.checkShapes(directory: stored.directory, configuration: model)
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
