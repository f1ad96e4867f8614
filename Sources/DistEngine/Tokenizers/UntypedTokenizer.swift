/// A tokenizer without its token types: for models that have none, or whose tokenizer gives them none.
package struct UntypedTokenizer: Tokenizer {
  private let base: any Tokenizer

  package init(_ base: any Tokenizer) { self.base = base }

  package var name: String { base.name }
  package var vocabularySize: Int { base.vocabularySize }
  package var beginOfText: Int32? { base.beginOfText }
  package var endOfText: Int32 { base.endOfText }
  package func encode(_ text: ArraySlice<UInt8>, limit: Int, into ids: inout [Int32]) { base.encode(text, limit: limit, into: &ids) }
  package func count(of text: ArraySlice<UInt8>) -> Int { base.count(of: text) }
  package func decode(_ ids: some Sequence<Int32>) -> [UInt8] { base.decode(ids) }
  package func specialTokenCount(ofPair isPair: Bool) -> Int { base.specialTokenCount(ofPair: isPair) }

  package func encodeWithSpecialTokens(
    _ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>?, limit: Int, ids: inout [Int32], types: inout [Int32]
  ) -> Int {
    let start = types.count
    let cut = base.encodeWithSpecialTokens(first, second, limit: limit, ids: &ids, types: &types)
    for place in start..<types.count { types[place] = 0 }
    return cut
  }
}
