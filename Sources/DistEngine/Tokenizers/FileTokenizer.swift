/// A tokenizer out of a `tokenizer.json`, which gives the ids that Hugging Face's `tokenizers` gives.
///
/// A text that isn't valid UTF-8 is read with U+FFFD in the place of what is none, as Python does with `errors="replace"`. Fixed padding or
/// truncation that a file asks for is left aside.
public struct FileTokenizer: Tokenizer {
  enum WordModel: Sendable {
    case bytePairs(BytePairEncoding)
    case wordPiece(WordPiece)

    var tokens: TokenTable {
      switch self {
      case .bytePairs(let model): model.tokens
      case .wordPiece(let model): model.tokens
      }
    }
  }

  /// What a file says.
  struct Parts: Sendable {
    var normalizers: [Normalizer] = []
    var preTokenizers: [PreTokenizer] = []
    let model: WordModel
    var postProcessor = PostProcessor.none
    /// nil: tokens are put together with spaces between them.
    var decoders: [TokenDecoder]?
    /// In the order of the file.
    var addedTokens: [AddedTokens.Token] = []
  }

  /// The file's path.
  public let name: String
  public let vocabularySize: Int
  public private(set) var beginOfText: Int32?
  public private(set) var endOfText: Int32
  /// The token by whose name it ends texts; nil: none has such a name, and whoever needs one has to know it.
  package let namedEnd: Int32?
  /// SHA-256 of the file, in hexadecimal.
  package let digest: String
  /// The file as it was read, and those beside it that belong to it: what a model directory holds of its tokenizer.
  package internal(set) var files: [(name: String, bytes: [UInt8])] = []
  private let parts: Parts
  /// Whether token types are the post-processor's, or all 0.
  private var givesTypes = true
  /// Found in the text itself, and in the normalised text.
  private let written, normalized: AddedTokens
  /// By id, where it differs from the vocabulary's.
  private let addedTexts: [Int32: [UInt8]]
  private let workspaces = TokenizerWorkspaces()

  init(_ parts: Parts, name: String, digest: String) {
    (self.parts, self.name, self.digest) = (parts, name, digest)
    let forms = parts.addedTokens.map { token in
      (form: token.isNormalized ? parts.normalizers.reduce(token.content) { $1.apply(to: $0) } : token.content, token: token)
    }
    written = AddedTokens(forms.filter { !$0.token.isNormalized })
    normalized = AddedTokens(forms.filter(\.token.isNormalized))
    addedTexts = Dictionary(forms.map { ($0.token.id, $0.form) }) { $1 }
    let largest = max(parts.postProcessor.largestID, parts.addedTokens.map(\.id).max() ?? -1)
    vocabularySize = max(parts.model.tokens.idEnd, Int(largest) + 1)
    beginOfText = Self.guess(["<|begin_of_text|>", "<s>", "[CLS]"], parts)
    namedEnd = Self.guess(["<|endoftext|>", "<|end_of_text|>", "</s>", "[SEP]"], parts)
    endOfText = namedEnd ?? Int32(vocabularySize - 1)
  }

  /// The first of these tokens that there is: what a file itself doesn't say.
  private static func guess(_ names: [String], _ parts: Parts) -> Int32? {
    names.lazy.map { Array($0.utf8) }.compactMap { name in
      parts.addedTokens.first { $0.content == name }?.id ?? parts.model.tokens.id(of: name)
    }.first
  }

  /// The same tokenizer with the ids around a record that a model says.
  package func framing(begin: Int32?, end: Int32) -> FileTokenizer {
    var other = self
    (other.beginOfText, other.endOfText) = (begin, end)
    return other
  }

  /// The same tokenizer with token types of 0, for a model that has none.
  package func withoutTypes() -> FileTokenizer {
    var other = self
    other.givesTypes = false
    return other
  }

  public func encode(_ text: ArraySlice<UInt8>, limit: Int, into ids: inout [Int32]) {
    let end = limit < Int.max - ids.count ? ids.count + limit : .max
    workspaces.withWorkspace { workspace in
      text.withValidUTF8 { text in
        _ = written.split(text) { piece in
          switch piece {
          case .token(let id):
            ids.append(id)
            return ids.count < end
          case .text(let range):
            return encode(UnsafeBufferPointer(rebasing: text[range]), isFirst: range.lowerBound == 0, end: end, workspace, into: &ids)
          }
        }
      }
    }
  }

  /// A piece without tokens that are found as they are written.
  private func encode(
    _ piece: UnsafeBufferPointer<UInt8>, isFirst: Bool, end: Int, _ workspace: TokenizerWorkspace, into ids: inout [Int32]
  ) -> Bool {
    guard !parts.normalizers.isEmpty else { return encodeNormalized(piece, isFirst: isFirst, end: end, workspace, into: &ids) }
    return parts.normalizers.reduce(Array(piece)) { $1.apply(to: $0) }.withUnsafeBufferPointer {
      encodeNormalized($0, isFirst: isFirst, end: end, workspace, into: &ids)
    }
  }

  private func encodeNormalized(
    _ text: UnsafeBufferPointer<UInt8>, isFirst: Bool, end: Int, _ workspace: TokenizerWorkspace, into ids: inout [Int32]
  ) -> Bool {
    normalized.split(text) { piece in
      switch piece {
      case .token(let id):
        ids.append(id)
        return ids.count < end
      case .text(let range):
        let isFirst = isFirst && range.lowerBound == 0
        return parts.preTokenizers.forEachWord(of: UnsafeBufferPointer(rebasing: text[range]), isFirst: isFirst) { word in
          switch parts.model {
          case .bytePairs(let model): guard model.encode(word, limit: end, workspace, into: &ids) else { return false }
          case .wordPiece(let model): model.encode(word, workspace, into: &ids)
          }
          return ids.count < end
        }
      }
    }
  }

  public func decode(_ ids: some Sequence<Int32>) -> [UInt8] {
    let tokens = ids.compactMap { id in addedTexts[id] ?? parts.model.tokens.token(id).map { Array($0) } }
    guard let decoders = parts.decoders else { return Array(tokens.joined(separator: [0x20])) }
    return Array(decoders.reduce(tokens) { $1.decode($0) }.joined())
  }

  /// The special token that the post-processor puts in front of a text; nil: none.
  package var addedBegin: Int32? {
    guard case .special(let ids, _)? = parts.postProcessor.single.first else { return nil }
    return ids.first
  }

  public func specialTokenCount(ofPair isPair: Bool) -> Int { parts.postProcessor.specialTokenCount(ofPair: isPair) }

  public func encodeWithSpecialTokens(
    _ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>?, limit: Int, ids: inout [Int32], types: inout [Int32]
  ) -> Int {
    let start = (ids: ids.count, types: types.count)
    var texts: (first: [Int32], second: [Int32]) = ([], [])
    encode(first, limit: .max, into: &texts.first)
    if let second { encode(second, limit: .max, into: &texts.second) }
    let room = max(0, limit - specialTokenCount(ofPair: second != nil))
    let kept = longestFirst(texts.first.count, texts.second.count, room: room)
    parts.postProcessor.append(
      texts.first.prefix(kept.first), second == nil ? nil : texts.second.prefix(kept.second), to: &ids, types: &types)
    let over = max(0, ids.count - start.ids - limit)
    ids.removeLast(over)
    types.removeLast(over)
    if !givesTypes { for place in start.types..<types.count { types[place] = 0 } }
    return texts.first.count + texts.second.count - kept.first - kept.second
  }
}

extension ArraySlice<UInt8> {
  /// Calls `body` with the bytes, or with their repaired copy where they aren't UTF-8.
  fileprivate func withValidUTF8<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
    withUnsafeBufferPointer { bytes in
      if bytes.isASCII || String(validating: bytes, as: UTF8.self) != nil { return body(bytes) }
      return Array(String(decoding: bytes, as: UTF8.self).utf8).withUnsafeBufferPointer(body)
    }
  }
}
