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
    microbatch: Int = 4, positions: Int = 24, rows: Int? = nil, recompute: Recomputation = .none, threads: Int = 1,
    choices: ReplicaPlan.Choices = .init(), norms: NormChoice = .always(.gram)
  ) throws -> ModelReplica {
    let replica = try ModelReplica(
      ReplicaPlan(
        model: model, mode: mode, clipping: clipping, maxGradNorm: maxGradNorm,
        capacity: Microbatch.Capacity(units: microbatch, rows: rows ?? microbatch * positions, positions: positions),
        recompute: recompute, optimizer: nil, threads: threads, choices: choices), norms: norms)
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

  static func naive(_ model: ModelConfiguration, _ parameters: UnsafeMutableBufferPointer<Float>) -> NaiveTransformer {
    let tensors = model.parameterLayout.map { ($0.name, parameters[$0.range].map(Double.init)) }
    return NaiveTransformer(
      layers: model.layers, width: model.width, heads: model.heads, innerWidth: model.innerWidth,
      vocabularySize: model.vocabularySize, epsilon: model.normEpsilon, isTied: model.tiedEmbeddings,
      tensors: Dictionary(uniqueKeysWithValues: tensors))
  }
}
