/// Byte-pair encoding (Sennrich et al. 2016) as `tokenizers`' model `BPE` does it, of words of bytes or of scalars.
final class BytePairEncoding: Sendable {
  let tokens: TokenTable
  let merges: BytePairMerges
  /// What a character is that the vocabulary hasn't; nil: nothing.
  let unknown: Int32?
  /// Whether neighbouring unknown ones are one.
  let fusesUnknown: Bool
  /// Whether a word that is a token is that token, whatever merging would make of it.
  let ignoresMerges: Bool
  /// By byte, of byte-level words: the symbols that stand for it. nil where words are of scalars.
  private let byteSymbols: [[Int32]?]?
  private let byteIDs: [Int32]
  /// Ids of single scalars below the count; −1: none.
  private let scalarIDs: [Int32]
  /// By byte, `<0x00>` to `<0xFF>`; nil where they aren't used.
  private let fallback: [Int32?]?
  /// Whether no merge reaches over the border in front of a ▁, so that a text may be cut there and its parts be merged apart.
  private let cutsAtMarks: Bool

  private static let mark = Array("▁".utf8)

  init(
    tokens: TokenTable, merges: BytePairMerges, unknown: Int32?, fusesUnknown: Bool, ignoresMerges: Bool, fallsBackToBytes: Bool,
    isByteLevel: Bool, mergesOverMarks: Bool
  ) {
    (self.tokens, self.merges, self.unknown) = (tokens, merges, unknown)
    (self.fusesUnknown, self.ignoresMerges) = (fusesUnknown, ignoresMerges)
    let fallback = fallsBackToBytes ? (0..<256).map { tokens.id(of: Self.fallbackToken(UInt8($0))) } : nil
    self.fallback = fallback
    var scalarIDs: [Int32] = []
    for place in 0..<tokens.count {
      let token = Array(tokens[place])
      token.withUnsafeBufferPointer { text in
        guard !text.isEmpty, case let (scalar, end) = text.scalar(at: 0), end == text.count else { return }
        if Int(scalar) >= scalarIDs.count { scalarIDs.append(contentsOf: repeatElement(-1, count: Int(scalar) + 1 - scalarIDs.count)) }
        scalarIDs[Int(scalar)] = tokens.ids[place]
      }
    }
    self.scalarIDs = scalarIDs
    if isByteLevel {
      let symbols = ByteAlphabet.characters.map { character -> [Int32]? in
        if let id = tokens.id(of: character) { return [id] }
        return fallback.flatMap { ids in
          let parts = character.compactMap { ids[Int($0)] }
          return parts.count == character.count ? parts : nil
        }
      }
      byteSymbols = symbols
      byteIDs = symbols.map { $0.map { $0.count == 1 ? $0[0] : -1 } ?? -1 }
    } else {
      (byteSymbols, byteIDs) = (nil, [])
    }
    cutsAtMarks = !isByteLevel && !ignoresMerges && !mergesOverMarks && tokens.id(of: Self.mark) != nil
  }

  static func fallbackToken(_ byte: UInt8) -> [UInt8] {
    let digits = String(byte, radix: 16, uppercase: true)
    return Array("<0x\(digits.count < 2 ? "0" : "")\(digits)>".utf8)
  }

  /// Whether a merge of these tokens reaches over the border in front of a ▁.
  static func reachesOverMark(_ first: some Collection<UInt8>, _ second: some Collection<UInt8>) -> Bool {
    second.starts(with: mark) && !first.suffix(mark.count).elementsEqual(mark)
  }

  /// Whether every byte, or every scalar by its bytes, is one token at least.
  var isComplete: Bool {
    byteSymbols.map { $0.allSatisfy { $0 != nil } } ?? fallback.map { $0.allSatisfy { $0 != nil } } ?? false
  }

  /// Appends the ids of a word.
  ///
  /// - Parameter word: valid UTF-8, not empty; byte-level words as the bytes themselves, not as the characters that stand for them.
  /// - Returns: false where `limit` ids or more are in `ids` and some may be left out.
  func encode(
    _ word: UnsafeBufferPointer<UInt8>, limit: Int, _ workspace: TokenizerWorkspace, into ids: inout [Int32]
  ) -> Bool {
    guard cutsAtMarks else {
      encodePart(word, workspace, into: &ids)
      return ids.count < limit
    }
    var start = 0
    while start < word.count {
      // Marks that follow on each other stay together.
      var end = start
      while end < word.count, word.holds(Self.mark, at: end) { end += Self.mark.count }
      while end < word.count, !(word[end] == Self.mark[0] && word.holds(Self.mark, at: end)) { end += 1 }
      encodePart(UnsafeBufferPointer(rebasing: word[start..<end]), workspace, into: &ids)
      guard ids.count < limit else { return false }
      start = end
    }
    return true
  }

  @inline(__always)
  private func encodePart(_ word: UnsafeBufferPointer<UInt8>, _ workspace: TokenizerWorkspace, into ids: inout [Int32]) {
    workspace.cache.append(word, to: &ids) { ids in
      if ignoresMerges, let id = byteSymbols == nil ? tokens.id(of: word) : tokens.id(of: ByteAlphabet.text(of: word)) {
        ids.append(id)
      } else {
        workspace.merge(by: merges, into: &ids) { queue in
          if byteSymbols == nil { queueScalars(word, &queue) } else { queueBytes(word, &queue) }
        }
      }
    }
  }

  /// Adds what unknown ones in a row are.
  private struct Unknowns {
    var waiting: Int32?

    mutating func flush(_ queue: inout MergeQueue) {
      if let waiting { queue.append(waiting) }
      waiting = nil
    }

    /// One more: the one before it is added, unless they are one.
    mutating func meet(_ unknown: Int32?, fuses: Bool, _ queue: inout MergeQueue) {
      guard let unknown else { return }
      if !fuses { flush(&queue) }
      waiting = unknown
    }
  }

  private func queueBytes(_ word: UnsafeBufferPointer<UInt8>, _ queue: inout MergeQueue) {
    var unknowns = Unknowns()
    for byte in word {
      let id = byteIDs[Int(byte)]
      if id >= 0 {
        unknowns.flush(&queue)
        queue.append(id)
      } else if let symbols = byteSymbols?[Int(byte)] {
        // As there: what is unknown in front of them comes behind them.
        symbols.forEach { queue.append($0) }
      } else {
        unknowns.meet(unknown, fuses: fusesUnknown, &queue)
      }
    }
    unknowns.flush(&queue)
  }

  private func queueScalars(_ word: UnsafeBufferPointer<UInt8>, _ queue: inout MergeQueue) {
    var unknowns = Unknowns()
    var position = 0
    while position < word.count {
      let (scalar, end) = word.scalar(at: position)
      if Int(scalar) < scalarIDs.count, case let id = scalarIDs[Int(scalar)], id >= 0 {
        unknowns.flush(&queue)
        queue.append(id)
      } else if let fallback, word[position..<end].allSatisfy({ fallback[Int($0)] != nil }) {
        for byte in word[position..<end] { if let id = fallback[Int(byte)] { queue.append(id) } }
      } else {
        unknowns.meet(unknown, fuses: fusesUnknown, &queue)
      }
      position = end
    }
    unknowns.flush(&queue)
  }
}

/// The characters that stand for bytes in byte-level vocabularies (GPT-2): printable ones for themselves, the others from U+0100 on.
enum ByteAlphabet {
  /// By byte, in UTF-8.
  static let characters: [[UInt8]] = {
    var next: UInt32 = 0x100
    return (UInt32(0)..<256).map { byte in
      var text: [UInt8] = []
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: text.append(scalar: byte)
      default:
        text.append(scalar: next)
        next += 1
      }
      return text
    }
  }()

  private static let bytes: [UInt32: UInt8] = {
    var bytes: [UInt32: UInt8] = [:]
    for (byte, character) in characters.enumerated() {
      bytes[character.withUnsafeBufferPointer { $0.scalar(at: 0).value }] = UInt8(byte)
    }
    return bytes
  }()

  static func text(of bytes: some Collection<UInt8>) -> [UInt8] { bytes.flatMap { characters[Int($0)] } }

  /// What a text of these characters stands for; nil where others are in it.
  static func bytes(of text: [UInt8]) -> [UInt8]? {
    text.withUnsafeBufferPointer { text in
      var result: [UInt8] = []
      var position = 0
      while position < text.count {
        let (scalar, end) = text.scalar(at: position)
        guard let byte = bytes[scalar] else { return nil }
        result.append(byte)
        position = end
      }
      return result
    }
  }
}
