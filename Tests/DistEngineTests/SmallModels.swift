import DistEngine
import Foundation
import TestSupport

/// Small models and records that the tests of the training step share.
enum SmallModels {
  static let vocabularySize = 40

  static func configuration(tied: Bool, layers: Int = 2, width: Int = 16, positions: Int = 24) throws -> ModelConfiguration {
    try ModelConfiguration(
      vocabularySize: vocabularySize, positions: positions, width: width, layers: layers, heads: 2,
      innerWidth: 3 * width, tiedEmbeddings: tied, initializerRange: 0.3)
  }

  /// Of Llama's family, with all that it can have: shared keys, a head width of its own, biases or none, scaled angles.
  static func llama(tied: Bool, layers: Int = 2, width: Int = 16, positions: Int = 24, biases: ModelConfiguration.Biases? = nil)
    throws -> ModelConfiguration
  {
    try ModelConfiguration(
      modelType: "llama", vocabularySize: vocabularySize, positions: positions, width: width, layers: layers, heads: 4, keyHeads: 2,
      headWidth: 6, innerWidth: 3 * width - 5, activation: .silu, biases: biases ?? (tied ? .none : .all),
      rotary: RotaryPositions(
        theta: 500, scaling: tied ? .llama3(factor: 4, low: 1, high: 4, originalPositions: 40) : .linear(factor: 2)),
      tiedEmbeddings: tied, initializerRange: 0.3)
  }

  /// Of each family, tied and not.
  static func all(layers: Int = 2) throws -> [ModelConfiguration] {
    try [configuration(tied: true, layers: layers), configuration(tied: false, layers: layers), llama(tied: true, layers: layers), llama(tied: false, layers: layers)]
  }

  /// Ids below the vocabulary's size stand for themselves.
  struct SmallTokenizer: Tokenizer {
    var name: String { "small" }
    var vocabularySize: Int { SmallModels.vocabularySize }
    var endOfText: Int32 { 39 }
    func encode(_ text: ArraySlice<UInt8>, limit: Int, into ids: inout [Int32]) {
      for byte in text.prefix(limit) { ids.append(Int32(byte) % 39) }
    }
    func decode(_ ids: some Sequence<Int32>) -> [UInt8] { ids.compactMap { UInt8(exactly: $0) } }
  }

  /// Records of 1 to 24 targets: among them one of a single target, one of repeated tokens, two that are equal.
  static let texts = [
    "", "aaaaaaaaaaaaaaaaaa", "x", "abababab", "the quick brown fox jumps", "hello", "hello", "zyxwvutsrqponm", "aab",
    "0123456789012345678901234567890123456789",
  ]

  static func dataset(longest: Int = 24) -> TokenizedDataset {
    TokenizedDataset(RecordStore(texts), tokenizer: SmallTokenizer(), longestSequence: longest)
  }

  /// Parameters with biases and gains off their defaults, so that an error in them shows.
  static func fill(_ parameters: UnsafeMutableBufferPointer<Float>, _ model: ModelConfiguration, seed: UInt64 = 3) {
    let key = RandomKey(seed: seed)
    model.parameterLayout.initialise(parameters, from: GaussianSource(key.subKey(for: .initialisation)))
    GaussianSource(key.subKey(for: .generation)).add(step: 0, elements: 0..<parameters.count, scale: 0.1, to: parameters)
  }

  static func replica(
    _ mode: TrainingMode, _ model: ModelConfiguration, clipping: Clipping = .flat, maxGradNorm: Double = 1,
    microbatch: Int = 4, positions: Int = 24, rows: Int? = nil, ownFrom: Int? = nil, recompute: Recomputation = .none, threads: Int = 1,
    choices: ReplicaPlan.Choices = .init(), norms: NormChoice = .always(.gram),
    products: LayerProducts = .float32
  ) throws -> ModelReplica {
    let replica = try ModelReplica(
      ReplicaPlan(
        model: model, mode: mode, clipping: clipping, maxGradNorm: maxGradNorm,
        capacity: Microbatch.Capacity(units: microbatch, rows: rows ?? microbatch * positions, positions: positions, ownMicrobatchRows: ownFrom),
        recompute: recompute, optimizer: nil, threads: threads, products: products, choices: choices), norms: norms)
    fill(replica.parameters, model)
    return replica
  }

  /// Gram matrices for short records, the gradient for long ones, parted at another length for each layer.
  static func mixedNorms(_ model: ModelConfiguration) -> NormChoice {
    let shapes = model.blockShapes + model.headShapes
    return .timed(
      shapes.enumerated().map { index, shape in
        NormTiming(shape: shape, longest: model.positions) { positions in
          NormTiming.Cost(gram: Double(positions), instantiate: Double(3 + 4 * index))
        }
      })
  }

  static func naive(_ model: ModelConfiguration, _ parameters: UnsafeMutableBufferPointer<Float>) -> any NaiveModel {
    let tensors = model.parameterLayout.map { ($0.name, parameters[$0.range].map(Double.init)) }
    if let rotary = model.rotary {
      return NaiveLlama(
        layers: model.layers, width: model.width, heads: model.heads, keyHeads: model.keyHeads, headWidth: model.headWidth,
        innerWidth: model.innerWidth, vocabularySize: model.vocabularySize, epsilon: model.normEpsilon,
        frequency: { frequency($0, rotary, headWidth: model.headWidth) }, tensors: Dictionary(uniqueKeysWithValues: tensors))
    }
    return NaiveTransformer(
      layers: model.layers, width: model.width, heads: model.heads, innerWidth: model.innerWidth,
      vocabularySize: model.vocabularySize, epsilon: model.normEpsilon, isTied: model.tiedEmbeddings,
      tensors: Dictionary(uniqueKeysWithValues: tensors))
  }

  /// As transformers' `_compute_llama3_parameters` and `_compute_linear_scaling_rope_parameters` say, in double.
  private static func frequency(_ pair: Int, _ rotary: RotaryPositions, headWidth: Int) -> Double {
    let frequency = pow(rotary.theta, -2 * Double(pair) / Double(headWidth))
    switch rotary.scaling {
    case .none: return frequency
    case .linear(let factor): return frequency / factor
    case .llama3(let factor, let low, let high, let original):
      let wavelength = 2 * Double.pi / frequency
      let turns = Double(original) / wavelength
      if turns < low { return frequency / factor }
      if turns > high { return frequency }
      let smooth = (turns - low) / (high - low)
      return (1 - smooth) * frequency / factor + smooth * frequency
    }
  }
}
