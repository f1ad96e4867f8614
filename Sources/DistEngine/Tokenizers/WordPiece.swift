/// WordPiece as `tokenizers` does it: of what is left of a word the longest token, with a prefix where it doesn't begin the word; a word
/// that can't be made of tokens, or is too long, is unknown as a whole.
final class WordPiece: Sendable {
  let tokens: TokenTable
  let unknown: Int32
  let prefix: [UInt8]
  /// Scalars.
  let longestWord: Int
  /// Bytes of the longest token that begins a word, and of the longest that doesn't, without its prefix.
  private let (longestFirst, longestOther): (Int, Int)

  /// The most that a file may ask for: a word takes the square of it.
  static let mostScalars = 1000

  init(tokens: TokenTable, unknown: Int32, prefix: [UInt8], longestWord: Int) {
    (self.tokens, self.unknown, self.prefix, self.longestWord) = (tokens, unknown, prefix, longestWord)
    longestFirst = tokens.longest
    longestOther = (0..<tokens.count).lazy.map { tokens[$0] }.filter { $0.starts(with: prefix) }.map { $0.count - prefix.count }.max() ?? 0
  }

  /// Appends the ids of a word.
  ///
  /// - Parameter word: valid UTF-8, not empty.
  func encode(_ word: UnsafeBufferPointer<UInt8>, _ workspace: TokenizerWorkspace, into ids: inout [Int32]) {
    workspace.cache.append(word, to: &ids) { ids in
      let start = ids.count
      guard word.count(where: { $0 & 0xC0 != 0x80 }) <= longestWord, appendTokens(word, &ids) else {
        ids.removeLast(ids.count - start)
        return ids.append(unknown)
      }
    }
  }

  private func appendTokens(_ word: UnsafeBufferPointer<UInt8>, _ ids: inout [Int32]) -> Bool {
    var start = 0
    while start < word.count {
      var end = min(word.count, start + (start == 0 ? longestFirst : longestOther))
      if end < word.count, word[end] & 0xC0 == 0x80 { end = word.scalarStart(before: end) }
      var found: Int32?
      while found == nil, end > start {
        let part = UnsafeBufferPointer(rebasing: word[start..<end])
        found = start == 0 ? tokens.id(of: part) : tokens.id(of: prefix + part)
        if found == nil { end = word.scalarStart(before: end) }
      }
      guard let found else { return false }
      ids.append(found)
      start = end
    }
    return true
  }
}
