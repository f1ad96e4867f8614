/// A step of how tokens become a text, as `tokenizers` does it.
enum TokenDecoder: Sendable, Equatable {
  case byteLevel
  case wordPiece(prefix: [UInt8], cleansUp: Bool)
  case metaspace(mark: [UInt8], hasPrefix: Bool)
  /// What ends words becomes a space.
  case bytePairs(suffix: [UInt8])
  case byteFallback
  case fuse
  case strip([UInt8], start: Int, stop: Int)
  case replace([UInt8], with: [UInt8])

  /// How many times as long a replacement can make a text.
  var growth: Double {
    guard case .replace(let pattern, let content) = self else { return 1 }
    return max(1, Double(content.count) / Double(pattern.count))
  }

  func decode(_ tokens: [[UInt8]]) -> [[UInt8]] {
    switch self {
    case .byteLevel:
      // `tokenizers` puts U+FFFD for what isn't UTF-8; here bytes stay what they are.
      return [tokens.flatMap { ByteAlphabet.bytes(of: $0) ?? $0 }]
    case .wordPiece(let prefix, let cleansUp):
      return tokens.enumerated().map { place, token in
        var token = token
        if place > 0 {
          if token.starts(with: prefix) { token.removeFirst(prefix.count) } else { token.insert(0x20, at: 0) }
        }
        return cleansUp ? Self.cleanedUp(token) : token
      }
    case .metaspace(let mark, let hasPrefix):
      return tokens.enumerated().map { place, token in token.substituting(mark, with: place == 0 && hasPrefix ? [] : [0x20]) }
    case .bytePairs(let suffix):
      return tokens.enumerated().map { place, token in token.substituting(suffix, with: place == tokens.count - 1 ? [] : [0x20]) }
    case .byteFallback: return Self.bytesJoined(tokens)
    case .fuse: return [Array(tokens.joined())]
    case .strip(let content, let start, let stop): return tokens.map { Self.stripped($0, content, start: start, stop: stop) }
    case .replace(let pattern, let content): return tokens.map { $0.substituting(pattern, with: content) }
    }
  }

  /// What English tokenizers for BERT have set apart, in this order.
  private static let apart: [([UInt8], [UInt8])] = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"),
    (" 've", "'ve"), (" 're", "'re"),
  ].map { (Array($0.utf8), Array($1.utf8)) }

  private static func cleanedUp(_ token: [UInt8]) -> [UInt8] {
    apart.reduce(token) { $0.substituting($1.0, with: $1.1) }
  }

  /// `<0x61>` and the like in a row become the text of these bytes, or U+FFFD each where they are none.
  private static func bytesJoined(_ tokens: [[UInt8]]) -> [[UInt8]] {
    var joined: [[UInt8]] = []
    var bytes: [UInt8] = []
    func flush() {
      guard !bytes.isEmpty else { return }
      if String(validating: bytes, as: UTF8.self) != nil {
        joined.append(bytes)
      } else {
        joined.append(contentsOf: repeatElement(Array("\u{FFFD}".utf8), count: bytes.count))
      }
      bytes.removeAll()
    }
    for token in tokens {
      if let byte = byte(of: token) {
        bytes.append(byte)
      } else {
        flush()
        joined.append(token)
      }
    }
    flush()
    return joined
  }

  private static func byte(of token: [UInt8]) -> UInt8? {
    guard token.count == 6, token.starts(with: Array("<0x".utf8)), token[5] == UInt8(ascii: ">") else { return nil }
    return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
  }

  private static func stripped(_ token: [UInt8], _ content: [UInt8], start: Int, stop: Int) -> [UInt8] {
    var rest = token[...]
    for _ in 0..<start {
      guard rest.starts(with: content) else { break }
      rest.removeFirst(content.count)
    }
    for _ in 0..<stop {
      guard rest.count >= content.count, rest.suffix(content.count).elementsEqual(content) else { break }
      rest.removeLast(content.count)
    }
    return Array(rest)
  }
}
