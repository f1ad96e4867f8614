import Foundation
import PrivacyAccounting

/// A configuration with everything that it left open decided: data read, model found, noise calibrated. The same on all ranks.
package struct TrainingSetup {
  package let configuration: TrainingConfiguration
  package let model: ModelConfiguration
  /// nil for a preset: a fresh model.
  package let modelDirectory: String?
  package let training: TokenizedDataset
  /// Held-out or separate records; nil where there are none.
  package let evaluation: TokenizedDataset?
  package let steps: Int
  /// B, N₀ and the rest; nil in `standard`.
  package let privacy: PrivacyParameters?
  /// N₀.
  package let datasetSize: Int
  /// Steps that the budget allows: all of them where σ is given.
  package let allowedSteps: Int

  /// What a microbatch may hold, held-out records included.
  package var capacity: Microbatch.Capacity {
    configuration.performance.capacity(
      mode: configuration.mode, positions: max(training.longestSequence, evaluation?.longestSequence ?? 1),
      typicalPositions: training.meanTargetCount,
      parameterCount: model.parameterCount)
  }

  /// ε that σ was calibrated for; nil where σ was given.
  package var targetEpsilon: Double? {
    guard privacy != nil else { return nil }
    return switch configuration.noise {
    case .multiplier?: nil
    case .targetEpsilon(let epsilon)?: epsilon
    case nil: TrainingConfiguration.builtinTargetEpsilon
    }
  }

  /// Reads and decides; collective. Every refusal is one that all ranks share.
  package init(_ configuration: TrainingConfiguration, communicator: Communicator) throws {
    try communicator.agree("configuration") { try configuration.validate() }
    self.configuration = configuration
    let (model, directory) = try communicator.agree("model") { try ModelSource.resolve(configuration.model) }
    self.model = model
    modelDirectory = directory
    (training, evaluation) = try communicator.agree("data") { try Self.load(configuration, model: model) }
    try communicator.requireEqual(configuration, model, training: training, evaluation: evaluation)
    let datasetSize = configuration.datasetSize ?? training.count
    self.datasetSize = datasetSize
    guard configuration.batchSize <= datasetSize else {
      throw try communicator.agreed(
        TrainingError.batchLargerThanData(batch: configuration.batchSize, datasetSize: datasetSize))
    }
    switch configuration.length {
    case .steps(let count): steps = count
    case .epochs(let epochs):
      let count = (epochs * Double(datasetSize) / Double(configuration.batchSize)).rounded(.up)
      guard count <= Double(TrainingConfiguration.mostSteps) else {
        throw try communicator.agreed(
          TrainingError.badOption(
            option: "--epochs", value: "\(epochs)", allowed: "no more than \(TrainingConfiguration.mostSteps) steps in all"))
      }
      steps = Int(count)
    }
    guard configuration.mode.isPrivate else {
      privacy = nil
      allowedSteps = steps
      return
    }
    let steps = steps
    // One rank computes: the others' cores are its own as often as not, and the last bits must agree.
    let decided = try communicator.agree("privacy accounting") {
      communicator.rank == 0 ? try Self.privacy(configuration, datasetSize: datasetSize, steps: steps) : nil
    }
    let noiseMultiplier = try communicator.broadcast(decided?.noiseMultiplier ?? 0)
    allowedSteps = try communicator.broadcast(decided?.allowedSteps ?? 0)
    privacy = Self.parameters(configuration, datasetSize: datasetSize, noiseMultiplier: noiseMultiplier)
  }

  /// Training records, and the held-out ones if there are any.
  static func load(
    _ configuration: TrainingConfiguration, model: ModelConfiguration
  ) throws -> (TokenizedDataset, TokenizedDataset?) {
    let tokenizer = ByteTokenizer()
    guard tokenizer.vocabularySize <= model.vocabularySize else {
      throw TrainingError.vocabularyTooSmall(tokenizer: tokenizer.vocabularySize, model: model.vocabularySize)
    }
    if let length = configuration.sequenceLength, length > model.positions {
      throw TrainingError.sequenceLongerThanModel(length: length, positions: model.positions)
    }
    let corpus = try Corpus(
      data: configuration.data, evaluation: configuration.evaluationData, textField: configuration.textField)
    let longest = configuration.sequenceLength ?? model.positions
    return (
      TokenizedDataset(corpus.training, tokenizer: tokenizer, longestSequence: longest),
      corpus.heldOut.map { TokenizedDataset($0, tokenizer: tokenizer, longestSequence: longest) }
    )
  }

  private static func parameters(
    _ configuration: TrainingConfiguration, datasetSize: Int, noiseMultiplier: Double
  ) -> PrivacyParameters {
    PrivacyParameters(
      clipping: configuration.clipping, maxGradNorm: configuration.maxGradNorm, noiseMultiplier: noiseMultiplier,
      datasetSize: datasetSize, expectedBatchSize: configuration.batchSize,
      delta: configuration.targetDelta ?? 1 / (10 * Double(datasetSize)), accountant: configuration.accountant)
  }

  private static func privacy(
    _ configuration: TrainingConfiguration, datasetSize: Int, steps: Int
  ) throws -> (noiseMultiplier: Double, allowedSteps: Int) {
    let target: Double
    switch configuration.noise {
    case .multiplier(let sigma)?: return (sigma, steps)
    case .targetEpsilon(let epsilon)?: target = epsilon
    case nil where configuration.data == Corpus.builtinName:
      target = TrainingConfiguration.builtinTargetEpsilon
    case nil: throw TrainingError.noNoise
    }
    let unnoised = parameters(configuration, datasetSize: datasetSize, noiseMultiplier: 0)
    let sigma = try Accounting.noiseMultiplier(
      targetEpsilon: target, delta: unnoised.delta, samplingRate: unnoised.samplingRate, steps: steps,
      accountant: configuration.accountant, spent: [])
    let allowed = try Accounting.maximumSteps(
      targetEpsilon: target, delta: unnoised.delta, samplingRate: unnoised.samplingRate, noiseMultiplier: sigma,
      accountant: configuration.accountant, spent: [], upTo: steps)
    return (sigma, allowed)
  }
}

/// Where a model comes from: a preset's name, or a directory in Hugging Face's layout.
package enum ModelSource {
  /// - Returns: the shape, and the directory that holds the weights if it is one.
  package static func resolve(_ name: String) throws -> (ModelConfiguration, directory: String?) {
    if let preset = ModelPreset(rawValue: name) { return (preset.configuration, nil) }
    guard FileManager.default.fileExists(atPath: name) else { throw ModelConfigurationError.unknownPreset(name: name) }
    return (try ModelFile.readConfiguration(directory: name).configuration, name)
  }
}

extension Communicator {
  /// The failure that every rank has found by itself, as one that all of them throw together.
  func agreed(_ error: some Error) throws -> any Error {
    do {
      try agree("refusal") { throw error }
    } catch {
      return error
    }
    preconditionFailure("agree() returned from a body that throws")
  }
}
