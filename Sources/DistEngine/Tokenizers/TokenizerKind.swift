/// A tokenizer as the command line names it: `bytes`, a `tokenizer.json`, or a directory that holds one.
public enum TokenizerKind: RawRepresentable, CaseIterable, Hashable, Sendable {
  case bytes
  case file(String)

  public init(rawValue: String) { self = rawValue == "bytes" ? .bytes : .file(rawValue) }

  public var rawValue: String {
    switch self {
    case .bytes: "bytes"
    case .file(let path): path
    }
  }

  /// Those that have a name of their own.
  public static var allCases: [TokenizerKind] { [.bytes] }

  /// - Throws: ``TokenizerError``, ``FileError``.
  public func make() throws -> any Tokenizer {
    switch self {
    case .bytes: ByteTokenizer()
    case .file(let path): try TokenizerFile.read(path)
    }
  }
}
