import DistEngine
import TestSupport
import Testing

/// What records of several fields become as ids.
@Suite struct SequenceTests {
  private func completions(_ records: [(prompt: String, text: String)], longest: Int) -> TokenizedDataset {
    TokenizedDataset(RecordStore(completions: records), tokenizer: ByteTokenizer(), longestSequence: longest)
  }

  private func all(_ dataset: TokenizedDataset, _ record: Int) -> [Int32] {
    let inputs = dataset.inputRange(of: record)
    return Array(dataset.ids[inputs.lowerBound..<inputs.upperBound + 1])
  }

  @Test func aCompletionStandsBehindItsPrompt() {
    let dataset = completions([("ab", "cd"), ("", "x"), ("y", ""), ("", "")], longest: 9)
    #expect((0..<4).map { all(dataset, $0) } == [[256, 97, 98, 99, 100, 256], [256, 120, 256], [256, 121, 256], [256, 256]])
    #expect((0..<4).map(dataset.lossStart) == [2, 0, 1, 0])
    #expect((0..<4).map(dataset.countedTargetCount) == [3, 2, 1, 1])
    #expect(dataset.countedTargetCount == 7 && dataset.totalTargetCount == 10 && dataset.longestSequence == 5)
    #expect(dataset.notes("x") == ["2 of 4 x records are empty: they count as records and hold nothing but the end of text"])
  }

  /// Cut to T + 1 ids, wherever that is.
  @Test func whatIsCutOfACompletionIsSaid() {
    for longest in 1...12 {
      let dataset = completions([("abc", "defg")], longest: longest)
      let whole: [Int32] = [256, 97, 98, 99, 100, 101, 102, 103, 256]
      #expect(all(dataset, 0) == Array(whole.prefix(longest + 1)), "T \(longest)")
      #expect(dataset.lossStart(of: 0) == min(3, longest))
      #expect(dataset.countedTargetCount(of: 0) == max(0, min(8, longest) - 3))
      #expect(dataset.statistics.cutRecords == (longest < 8 ? 1 : 0) && dataset.statistics.cutRows == max(0, 8 - longest))
      #expect(dataset.statistics.uncountedRecords == (longest <= 3 ? 1 : 0))
    }
    #expect(
      completions([("abc", "d"), ("a", "b")], longest: 3).notes("training") == [
        "1 of 2 training records are longer than 3 targets and are cut: 2 of 8 targets are left out",
        "1 of 2 training records are cut before their text begins: they count as records, with loss 0 and no gradient",
      ])
  }

  @Test func aClassifiersIdsAreAllInputs() {
    let records = RecordStore(labelled: [(["ab"], 1), ([""], 0), (["abcdef"], 2)])
    let dataset = TokenizedDataset(records, tokenizer: ByteTokenizer(), format: .classification, longestSequence: 5)
    #expect((0..<3).map { Array(dataset.inputs(of: $0)) } == [[256, 97, 98, 256], [256, 256], [256, 97, 98, 99, 256]])
    #expect((0..<3).map(dataset.label) == [1, 0, 2])
    #expect((0..<3).map(dataset.targetCount) == [4, 2, 5])
    #expect(dataset.countedTargetCount == 3 && dataset.totalTargetCount == 11)
    #expect(
      dataset.notes("x") == [
        "1 of 3 x records are longer than 5 ids and are cut: 3 of 14 ids are left out",
        "1 of 3 x records are empty: they count as records and hold no text",
      ])
  }

  @Test func aPairIsCutLongestFirst() {
    let records = RecordStore(labelled: [(["abcdef", "x"], 0), (["a", "uvwxyz"], 1), (["abcd", "uvwx"], 1)])
    let dataset = TokenizedDataset(records, tokenizer: ByteTokenizer(), format: .classification, longestSequence: 7)
    #expect(
      (0..<3).map { Array(dataset.inputs(of: $0)) } == [
        [256, 97, 98, 99, 256, 120, 256], [256, 97, 256, 117, 118, 119, 256], [256, 97, 98, 256, 117, 118, 256],
      ])
    #expect(dataset.tokenTypes(of: 0) == nil, "bytes have one type")
  }

  /// Types stand beside the ids they are of.
  @Test func tokenTypesFollowTheIds() {
    let records = RecordStore(labelled: [(["ab", "c"], 0), (["", "de"], 1)])
    let dataset = TokenizedDataset(records, tokenizer: TypingTokenizer(), format: .classification, longestSequence: 9)
    #expect(dataset.tokenTypes(of: 0).map { Array($0) } == [0, 0, 0, 0, 1, 1])
    #expect(dataset.tokenTypes(of: 1).map { Array($0) } == [0, 0, 1, 1, 1])
  }

  /// Bytes, with the second text and the id behind it of type 1.
  private struct TypingTokenizer: Tokenizer {
    var name: String { "typing" }
    var vocabularySize: Int { 257 }
    var endOfText: Int32 { 256 }
    func encode(_ text: ArraySlice<UInt8>, limit: Int, into ids: inout [Int32]) { ByteTokenizer().encode(text, limit: limit, into: &ids) }
    func decode(_ ids: some Sequence<Int32>) -> [UInt8] { ByteTokenizer().decode(ids) }
    func encodeWithSpecialTokens(
      _ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>?, limit: Int, ids: inout [Int32], types: inout [Int32]
    ) -> Int {
      let cut = ByteTokenizer().encodeWithSpecialTokens(first, second, limit: limit, ids: &ids, types: &types)
      for place in first.count + 2..<types.count { types[place] = 1 }
      return cut
    }
  }

  /// More ids than a piece of a growing list holds, and records across its edges.
  @Test func manyIdsKeepTheirPlaces() {
    let texts = (0..<5).map { record in String(repeating: "\(record)", count: 400_001 + record) }
    let dataset = TokenizedDataset(RecordStore(texts), tokenizer: ByteTokenizer(), longestSequence: 500_000)
    for record in 0..<5 {
      let text = dataset.targets(of: record).dropLast()
      #expect(text.count == 400_001 + record && text.allSatisfy { $0 == 48 + Int32(record) } && dataset.targets(of: record).last == 256)
    }
  }

  /// A tokenizer may give more ids than it's asked for.
  @Test func idsBeyondTheLimitAreLeftOut() {
    struct Generous: Tokenizer {
      var name: String { "generous" }
      var vocabularySize: Int { 257 }
      var endOfText: Int32 { 256 }
      func encode(_ text: ArraySlice<UInt8>, limit: Int, into ids: inout [Int32]) { ids += text.map { Int32($0) } }
      func decode(_ ids: some Sequence<Int32>) -> [UInt8] { [] }
    }
    for longest in 1...6 {
      let dataset = TokenizedDataset(RecordStore(completions: [("ab", "cd")]), tokenizer: Generous(), longestSequence: longest)
      #expect(Array(dataset.ids) == Array([256, 97, 98, 99, 100, 256].prefix(longest + 1)))
    }
  }
}
