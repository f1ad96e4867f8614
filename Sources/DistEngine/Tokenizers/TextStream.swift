/// The text of ids that come one at a time, in whole scalars: bytes of a scalar are held back until it is complete.
///
/// All pieces together are what ``Tokenizer/decode(_:)`` gives of all ids, but for a scalar that the last ids only begin.
public struct TextStream<Source: Tokenizer> {
  private let tokenizer: Source
  /// Ids whose text was given last, and behind them those whose text wasn't given yet: what a token is may depend on the one in front.
  private var ids: [Int32] = []
  private var known = 0

  /// - Parameter prompt: ids in front, whose text isn't given.
  public init(_ tokenizer: Source, after prompt: some Collection<Int32> = []) {
    self.tokenizer = tokenizer
    ids = Array(prompt)
    known = ids.count
  }

  /// The text that is complete with one more id.
  public mutating func append(_ id: Int32) -> [UInt8] {
    ids.append(id)
    let text = tokenizer.decode(ids)
    let before = tokenizer.decode(ids[..<known]).count
    guard text.count > before, Self.endsWhole(text) else { return [] }
    ids.removeFirst(known)
    known = ids.count
    return Array(text[before...])
  }

  /// What is held back where no id follows: whatever of it is whole scalars.
  public mutating func finish() -> [UInt8] {
    defer { (ids, known) = ([], 0) }
    var rest = tokenizer.decode(ids).dropFirst(tokenizer.decode(ids[..<known]).count)
    rest.removeLast(Self.incompleteBytes(rest))
    return Array(rest)
  }

  /// Whether no scalar is only begun, neither as bytes nor as the U+FFFD that a tokenizer puts for bytes of one.
  private static func endsWhole(_ text: [UInt8]) -> Bool {
    incompleteBytes(text[...]) == 0 && !text.suffix(3).elementsEqual("\u{FFFD}".utf8)
  }

  /// Bytes at the end that begin a scalar and don't complete it.
  private static func incompleteBytes(_ text: ArraySlice<UInt8>) -> Int {
    for (count, byte) in text.reversed().prefix(3).enumerated() where byte & 0xC0 != 0x80 {
      let length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
      return length > count + 1 ? count + 1 : 0
    }
    return 0
  }
}

extension Tokenizer {
  /// The text of ids behind others, without a scalar that the last ones only begin.
  package func wholeText(of ids: some Sequence<Int32>, after prompt: some Collection<Int32>) -> [UInt8] {
    var stream = TextStream(self, after: prompt)
    return ids.flatMap { stream.append($0) } + stream.finish()
  }
}
