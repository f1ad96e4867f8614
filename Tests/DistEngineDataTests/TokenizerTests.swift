import DistEngine
import Testing

@Suite struct TokenizerTests {
  let tokenizer = ByteTokenizer()

  private func sequence(_ text: String, _ longest: Int) -> [Int32] {
    Array(TokenizedDataset(RecordStore([text]), tokenizer: tokenizer, longestSequence: longest).ids)
  }

  @Test func aRecordStandsBetweenEndsOfText() {
    #expect(sequence("", 8) == [256, 256])
    #expect(sequence("a", 8) == [256, 97, 256])
    #expect(sequence("é", 8) == [256, 0xC3, 0xA9, 256])
  }

  @Test func aLongRecordIsCutToOneIdMoreThanItsSequence() {
    #expect(sequence("abc", 4) == [256, 97, 98, 99, 256])
    #expect(sequence("abc", 3) == [256, 97, 98, 99])
    #expect(sequence("abc", 2) == [256, 97, 98])
    #expect(sequence("abc", 1) == [256, 97])
    #expect(sequence("", 1) == [256, 256])
    #expect(sequence("abc", .max) == [256, 97, 98, 99, 256])
  }

  @Test func decodingGivesTheBytesBack() throws {
    let bytes = Array(UInt8.min...UInt8.max)
    var ids: [Int32] = []
    tokenizer.encode(bytes[...], limit: .max, into: &ids)
    #expect(tokenizer.decode(ids) == bytes)
    #expect(tokenizer.decode([256, 97, -1, 300, 256]) == [97])
    #expect(try TokenizerKind(rawValue: "bytes").make().vocabularySize == 257)
  }

  @Test func aDatasetHoldsInputsAndTargets() {
    let dataset = TokenizedDataset(RecordStore(["ab", "", "abcdef"]), tokenizer: tokenizer, longestSequence: 5)
    #expect(dataset.count == 3)
    #expect(dataset.longestSequence == 5)
    #expect(dataset.indices(of: 0) == ([256, 97, 98], [97, 98, 256]))
    #expect(dataset.indices(of: 1) == ([256], [256]))
    #expect(dataset.indices(of: 2) == ([256, 97, 98, 99, 100], [97, 98, 99, 100, 101]))
    #expect((0..<3).map(dataset.targetCount) == [3, 1, 5])
    #expect(dataset.totalTargetCount == 9)
    for i in 0..<3 { #expect(Array(dataset.ids[dataset.inputRange(of: i)]) == Array(dataset.inputs(of: i))) }
  }

  @Test func aDatasetMayBeEmpty() {
    let dataset = TokenizedDataset(RecordStore([String]()), tokenizer: tokenizer, longestSequence: 5)
    #expect(dataset.isEmpty && dataset.longestSequence == 0 && dataset.totalTargetCount == 0)
  }

  @Test func sequencesAreAsLongAsTheLongestRecordNeeds() {
    let dataset = TokenizedDataset(RecordStore(["abc", "a"]), tokenizer: tokenizer, longestSequence: 1000)
    #expect(dataset.longestSequence == 4)
  }
}

extension TokenizedDataset {
  fileprivate func indices(of i: Int) -> (inputs: [Int32], targets: [Int32]) { (Array(inputs(of: i)), Array(targets(of: i))) }
}
