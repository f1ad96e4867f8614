import DistEngine
import Foundation
import TestSupport

/// Small classifiers of every family, and labelled records for them.
enum SmallClassifiers {
  static let labels = ["one", "two", "three"]
  static let encoders = ["bert", "roberta", "distilbert"]
  static let all = encoders + ["gpt2", "llama"]
  static let positions = 24

  static func configuration(_ modelType: String, layers: Int = 2) throws -> ModelConfiguration {
    switch modelType {
    case "gpt2": try SmallModels.configuration(tied: true, layers: layers).classifying(labels)
    case "llama": try SmallModels.llama(tied: false, layers: layers).classifying(labels)
    default:
      try ModelConfiguration(
        modelType: modelType, vocabularySize: SmallModels.vocabularySize, positions: positions, width: 16, layers: layers, heads: 2,
        innerWidth: 40, normEpsilon: 1e-5, activation: .gelu, tokenTypes: ["bert": 2, "roberta": 1][modelType] ?? 0, tiedEmbeddings: false,
        initializerRange: 0.3, padTokenID: 1, labels: labels)
    }
  }

  /// Ids as ``SmallModels/SmallTokenizer``'s; of a pair the second text is of type 1.
  struct PairTokenizer: Tokenizer {
    private let base = SmallModels.SmallTokenizer()
    var name: String { "pairs" }
    var vocabularySize: Int { base.vocabularySize }
    var endOfText: Int32 { base.endOfText }
    func encode(_ text: ArraySlice<UInt8>, limit: Int, into ids: inout [Int32]) { base.encode(text, limit: limit, into: &ids) }
    func decode(_ ids: some Sequence<Int32>) -> [UInt8] { base.decode(ids) }

    func encodeWithSpecialTokens(
      _ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>?, limit: Int, ids: inout [Int32], types: inout [Int32]
    ) -> Int {
      let start = ids.count
      ids.append(38)
      base.encode(first.prefix(limit / 2), limit: limit, into: &ids)
      ids.append(39)
      let pair = ids.count - start
      if let second { base.encode(second, limit: limit - pair, into: &ids) }
      types += (0..<ids.count - start).map { $0 < pair ? 0 : 1 }
      return 0
    }
  }

  /// Of several lengths, repeated texts, an empty one; pairs whose sequences meet the same positions, tokens and types.
  static let records: [(unit: String, texts: [String], label: Int32)] = [
    ("ann", ["abab", "ba"], 0), ("bo", ["", "x"], 1), ("ann", ["abab", "ba"], 2), ("cy", ["the quick brown fox", "jumps"], 0),
    ("ann", ["", ""], 1), ("di", ["x", "hello there, you"], 1), ("bo", ["hello", "aaaa"], 0), ("ed", ["zyxwvutsrqponm", "lkjihgfedcba"], 2),
    ("ed", ["zyxwvutsrqponm", "lkjihgfedcba"], 2), ("ed", ["aaaaaaaa", "aaaaaaaa"], 1), ("di", ["x", "y"], 2), ("ed", ["0123456789", "0"], 0),
  ]

  /// - Parameters:
  ///   - hasTypes: of the sequences' rows.
  ///   - byUnit: whether records belong to units by name; else each is one.
  static func dataset(for model: ModelConfiguration, byUnit: Bool = false) -> TokenizedDataset {
    let labelled = records.map { (texts: $0.texts, label: $0.label) }
    let single = labelled.map { (texts: [$0.texts.joined(separator: " ")], label: $0.label) }
    return TokenizedDataset(
      RecordStore(labelled: model.tokenTypes == 2 ? labelled : single, units: byUnit ? records.map(\.unit) : nil), tokenizer: PairTokenizer(),
      format: .classification, longestSequence: positions)
  }

  static func naive(_ model: ModelConfiguration, _ parameters: UnsafeMutableBufferPointer<Float>) -> NaiveEncoder {
    let tensors = model.parameterLayout.map { ($0.name, parameters[$0.range].map(Double.init)) }
    let families: [String: NaiveEncoder.Family] = ["bert": .bert, "roberta": .roberta, "distilbert": .distilbert]
    return NaiveEncoder(
      family: families[model.modelType]!, layers: model.layers, width: model.width, heads: model.heads, innerWidth: model.innerWidth,
      labels: labels.count, epsilon: model.normEpsilon, tensors: Dictionary(uniqueKeysWithValues: tensors))
  }

  /// A tensor's distance from what it should be, against its own size, or a thousandth of the whole where it is smaller: a hundredth for a bias of
  /// keys, whose gradient is 0 since all positions see it alike, so that rounding is all that can be seen.
  private static func isOfKeys(_ name: String) -> Bool { name.hasSuffix("key.bias") || name.hasSuffix("k_lin.bias") || name.hasSuffix("k_proj.bias") }

  static func distances(_ sum: [Double], _ expected: [Double], _ layout: ParameterLayout) -> [(name: String, distance: Double)] {
    let norm = { (values: ArraySlice<Double>) in values.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    let whole = norm(expected[...])
    return layout.map { tensor in
      let difference = zip(sum[tensor.range], expected[tensor.range]).map { $0 - $1 }
      return (tensor.name, norm(difference[...]) / max(norm(expected[tensor.range]), (isOfKeys(tensor.name) ? 1e-2 : 1e-3) * whole))
    }
  }
}
