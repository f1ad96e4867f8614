import Foundation

/// Named model shapes. The larger four are GPT-2's own; all but `tiny` have room for its 50,257 ids and 1,024 positions.
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

  public var configuration: ModelConfiguration {
    switch self {
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
    do {
      return try ModelConfiguration(
        vocabularySize: vocabularySize, positions: positions, width: width, layers: layers, heads: heads,
        tiedEmbeddings: tied
      ).delimitingTexts(by: Int(ByteTokenizer().endOfText))
    } catch {
      preconditionFailure("a preset is refused: \(error)")
    }
  }
}

extension ModelPreset {
  /// Whether a directory with a model has the name of a preset.
  static func isAlsoDirectory(_ preset: String) -> Bool { FileManager.default.fileExists(atPath: "\(preset)/config.json") }
}
