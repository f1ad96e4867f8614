import DistEngine

/// A tokenizer that is read makes the same ids each time, all below its vocabulary's size, and gives back no more of a text than was in it.
enum TokenizerProperties {
  private static let texts = ["", " ", "a", "ab abab  ba", "Hello, wörld! 42", "▁a\n\n<s>b</s>", "e\u{301}\u{323} 한국 👩‍👧", "\u{FFFD}\0'll"]

  private struct Behavior: Equatable {
    let vocabularySize: Int
    let ids: [[Int32]]
    let decoded: [[UInt8]]
  }

  static func check(_ bytes: [UInt8]) throws(Violation) {
    let read = try twice { () throws(TokenizerError) in behavior(of: try TokenizerFile.parse(bytes, path: "input")) }
    guard case .success(let behavior) = read else { return }
    for ids in behavior.ids {
      try require(ids.allSatisfy { (0..<behavior.vocabularySize).contains(Int($0)) }, "an id beyond the vocabulary")
    }
  }

  private static func behavior(of tokenizer: FileTokenizer) -> Behavior {
    var ids: [[Int32]] = []
    for text in texts + [String(repeating: "ab ", count: 40)] {
      let bytes = Array(text.utf8)[...]
      var (whole, types, part): ([Int32], [Int32], [Int32]) = ([], [], [])
      tokenizer.encode(bytes, limit: .max, into: &whole)
      tokenizer.encode(bytes, limit: whole.count / 2, into: &part)
      // Two readings of one text: what isn't a prefix shows as another list of ids.
      ids += [whole, Array(part.prefix(whole.count / 2)) == Array(whole.prefix(whole.count / 2)) ? [] : [-1]]
      var pair: [Int32] = []
      _ = tokenizer.encodeWithSpecialTokens(bytes, bytes, limit: 7, ids: &pair, types: &types)
      ids.append(pair.count <= 7 && pair.count == types.count ? pair : [-1])
    }
    return Behavior(vocabularySize: tokenizer.vocabularySize, ids: ids, decoded: ids.map { tokenizer.decode($0) })
  }
}
