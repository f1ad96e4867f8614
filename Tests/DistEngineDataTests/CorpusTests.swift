import DistEngine
import Foundation
import TestSupport
import Testing

@Suite struct CorpusTests {
  @Test func theBuiltinCorpusIsWhole() throws {
    let messages = try BuiltinCorpus.messages()
    #expect(messages.count == 5574)
    #expect(messages.byteCount == 449_290)
    #expect(messages.emptyCount == 0)
    #expect(String(decoding: messages[1], as: UTF8.self) == "Ok lar... Joking wif u oni...")
    #expect(!messages.contains { $0.contains(UInt8(ascii: "\t")) })
  }

  @Test func aTenthOfTheBuiltinCorpusIsHeldOut() throws {
    let corpus = try Corpus(data: ["builtin"])
    let (training, heldOut) = (try corpus.training.records(), try #require(corpus.heldOut).records())
    #expect(training.count + heldOut.count == 5574)
    #expect((500...615).contains(heldOut.count), "\(heldOut.count) held out")
    let seen = Set(training.map(Array.init))
    #expect(!heldOut.contains { seen.contains(Array($0)) })
  }

  @Test func holdingOutDependsOnARecordsOwnContent() throws {
    let messages = try BuiltinCorpus.messages()
    let all = HoldOut().split(messages)
    let fewer = HoldOut().split(RecordStore(messages.enumerated().filter { $0.offset % 3 != 1 }.map(\.element)))
    #expect(Set(fewer.heldOut.map(Array.init)).isSubset(of: Set(all.heldOut.map(Array.init))))
    #expect(Set(fewer.training.map(Array.init)).isSubset(of: Set(all.training.map(Array.init))))
    #expect(HoldOut(oneIn: 1).split(messages).training.isEmpty)
    #expect(HoldOut().split(RecordStore([String]())).heldOut.isEmpty)
  }

  /// SHA-256("") begins e3b0…, ("abc") ba78…: both above 2⁶⁴/10 (1999…) and below 2⁶⁴.
  @Test func theHashIsSHA256() {
    #expect(!HoldOut(oneIn: 10).holds([]))
    #expect(!HoldOut(oneIn: 2).holds(Array("abc".utf8)[...]))
    #expect(HoldOut(oneIn: 1).holds(Array("abc".utf8)[...]))
    // SHA-256("7") begins 7902…: below a half, above 2⁶⁴/3 (5555…).
    #expect(HoldOut(oneIn: 2).holds(Array("7".utf8)[...]))
    #expect(!HoldOut(oneIn: 3).holds(Array("7".utf8)[...]))
  }

  @Test func otherDataIsHeldOutOnlyByAFileOfItsOwn() throws {
    let directory = try TemporaryDirectory()
    let data = try directory.file("a.txt", "one\ntwo\n")
    let evaluation = try directory.file("b.jsonl", #"{"body": "three"}"#)
    let alone = try Corpus(data: [data])
    #expect(try alone.training.records().count == 2 && alone.heldOut == nil)
    let both = try Corpus(data: [data], evaluation: [evaluation], fields: RecordFields(texts: ["body"]))
    #expect(try both.heldOut?.records().count == 1)
    #expect(throws: DataError.self) { try Corpus(data: [data], evaluation: ["\(directory.path)/none.txt"]) }
    let builtin = try Corpus(data: ["builtin"], evaluation: [data])
    #expect(try builtin.heldOut?.records().count == 2)
    #expect(try builtin.training.records().count == Corpus(data: ["builtin"]).training.records().count)
  }
}

extension [RecordSource] {
  /// All records of all sources, one source's behind the other's.
  func records() throws -> RecordStore {
    var stores: [RecordStore] = []
    for source in self {
      var blocks = try source.blocks()
      while let records = try blocks.next() { stores.append(records) }
    }
    return RecordStore(joining: stores)
  }
}
