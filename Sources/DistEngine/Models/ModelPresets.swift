import Foundation

/// Named model shapes. Of GPT-2's family, those that aren't said to be otherwise have room for its 50,257 ids and 1,024 positions.
///
/// A preset is trained on bytes from the beginning: its texts end with the id that the byte tokenizer ends records with.
public enum ModelPreset: String, CaseIterable, Sendable {
  /// Byte-level (257 ids): trains on the built-in corpus within a minute on two cores. 462,464 parameters.
  case tiny
  /// GPT-2: 124,439,808 parameters.
  case small
  /// GPT-2 medium: 354,823,168 parameters.
  case medium
  /// GPT-2 large: 774,030,080 parameters.
  case large
  /// GPT-2 XL: 1,557,611,200 parameters.
  case xl
  /// GPT-2 XL's width with 30 of its 48 layers: 1,004,276,800 parameters.
  case oneBillion = "1b"
  /// Untied, 8 layers of width 512: the shape of the peers' measurements. 77,207,552 parameters.
  case seedMedium = "seed-medium"
  /// Byte-level, of Llama's family: trains on the built-in corpus within a minute on two cores. 377,600 parameters.
  case llamaTiny = "llama-tiny"
  /// SmolLM2-135M's shape: 134,515,008 parameters.
  case smolLM2 = "smollm2-135m"
  /// Llama 3.2 1B's shape: 1,235,814,400 parameters.
  case llama1B = "llama-1b"
  /// Llama 2 7B's shape: 6,738,415,616 parameters.
  case llama7B = "llama-7b"

  /// Byte-level, an encoder of BERT's family: learns to tell ham from spam in the built-in corpus within a minute on two cores. 479,232 parameters
  /// without its classifier.
  case bertTiny = "bert-tiny"
  /// MiniLM-L6's shape (Wang et al. 2020), an encoder of BERT's family: 22,713,216 parameters without its classifier.
  case miniLM = "minilm"

  public var configuration: ModelConfiguration {
    switch self {
    case .bertTiny: Self.bert(layers: 2, width: 128, heads: 4, innerWidth: 512, vocabularySize: 257, positions: 256)
    case .miniLM: Self.bert(layers: 6, width: 384, heads: 12, innerWidth: 1536, vocabularySize: 30522, positions: 512)
    case .llamaTiny: Self.llama(layers: 2, width: 128, heads: 4, keyHeads: 2, innerWidth: 320, vocabularySize: 257, positions: 256)
    case .smolLM2:
      Self.llama(
        layers: 30, width: 576, heads: 9, keyHeads: 3, innerWidth: 1536, vocabularySize: 49152, positions: 8192,
        rotary: RotaryPositions(theta: 100_000))
    case .llama1B:
      Self.llama(
        layers: 16, width: 2048, heads: 32, keyHeads: 8, innerWidth: 8192, vocabularySize: 128_256, positions: 131_072,
        rotary: RotaryPositions(theta: 500_000, scaling: .llama3(factor: 32, low: 1, high: 4, originalPositions: 8192)))
    case .llama7B:
      Self.llama(layers: 32, width: 4096, heads: 32, keyHeads: 32, innerWidth: 11008, vocabularySize: 32000, positions: 4096, tied: false)
    case .tiny: Self.shape(layers: 2, width: 128, heads: 4, vocabularySize: 257, positions: 256)
    case .small: Self.shape(layers: 12, width: 768, heads: 12)
    case .medium: Self.shape(layers: 24, width: 1024, heads: 16)
    case .large: Self.shape(layers: 36, width: 1280, heads: 20)
    case .xl: Self.shape(layers: 48, width: 1600, heads: 25)
    case .oneBillion: Self.shape(layers: 30, width: 1600, heads: 25)
    case .seedMedium: Self.shape(layers: 8, width: 512, heads: 8, tied: false)
    }
  }

  private static func shape(
    layers: Int, width: Int, heads: Int, vocabularySize: Int = 50257, positions: Int = 1024, tied: Bool = true
  ) -> ModelConfiguration {
    ofBytes { () throws(ModelConfigurationError) in
      try ModelConfiguration(
        vocabularySize: vocabularySize, positions: positions, width: width, layers: layers, heads: heads, tiedEmbeddings: tied)
    }
  }

  private static func llama(
    layers: Int, width: Int, heads: Int, keyHeads: Int, innerWidth: Int, vocabularySize: Int, positions: Int,
    rotary: RotaryPositions = RotaryPositions(theta: 10_000), tied: Bool = true
  ) -> ModelConfiguration {
    ofBytes { () throws(ModelConfigurationError) in
      try ModelConfiguration(
        modelType: "llama", vocabularySize: vocabularySize, positions: positions, width: width, layers: layers, heads: heads,
        keyHeads: keyHeads, innerWidth: innerWidth, activation: .silu, biases: .none, rotary: rotary, tiedEmbeddings: tied)
    }
  }

  private static func bert(
    layers: Int, width: Int, heads: Int, innerWidth: Int, vocabularySize: Int, positions: Int
  ) -> ModelConfiguration {
    ofBytes { () throws(ModelConfigurationError) in
      try ModelConfiguration(
        modelType: "bert", vocabularySize: vocabularySize, positions: positions, width: width, layers: layers, heads: heads,
        innerWidth: innerWidth, normEpsilon: 1e-12, activation: .gelu, tokenTypes: 2, tiedEmbeddings: false)
    }
  }

  private static func ofBytes(_ configuration: () throws(ModelConfigurationError) -> ModelConfiguration) -> ModelConfiguration {
    do { return try configuration().delimitingTexts(by: Int(ByteTokenizer().endOfText)) } catch {
      preconditionFailure("a preset is refused: \(error)")
    }
  }
}

extension ModelPreset {
  /// Whether a directory with a model has the name of a preset.
  static func isAlsoDirectory(_ preset: String) -> Bool { FileManager.default.fileExists(atPath: "\(preset)/config.json") }
}
