import DistEngine
import Foundation
import Testing

/// Tokenizers and what Hugging Face's `tokenizers` makes of texts with them: Tests/Fixtures/tokens.
enum TokenFixture {
  static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures/tokens").path(percentEncoded: false)
  static let references = ["gpt2", "stories260K", "minilm", "wordpiece", "bytebpe"]
  static let kinds = ((try? FileManager.default.contentsOfDirectory(atPath: "\(folder)/kinds")) ?? [])
    .filter { $0.hasSuffix(".json") }.map { "kinds/\($0.dropLast(5))" }.sorted()

  struct Line: Decodable {
    let text: String
    let ids: [Int32]
    let withSpecial: [Int32]
    let decoded: String
    let second: String?
    let pair: [Int32]?
    let pairTypes: [Int32]?
  }

  static func tokenizer(_ name: String) throws -> FileTokenizer { try TokenizerFile.read("\(folder)/\(name).json") }

  static func lines(_ name: String) throws -> [Line] {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try Data(contentsOf: URL(filePath: "\(folder)/\(name).jsonl")).split(separator: UInt8(ascii: "\n")).map {
      try decoder.decode(Line.self, from: $0)
    }
  }
}

extension Tokenizer {
  func ids(_ text: some Collection<UInt8>, limit: Int = .max) -> [Int32] {
    var ids: [Int32] = []
    encode(Array(text)[...], limit: limit, into: &ids)
    return ids
  }

  func ids(_ text: String) -> [Int32] { ids(text.utf8) }

  func classified(_ first: String, _ second: String? = nil, limit: Int = .max) -> (ids: [Int32], types: [Int32], cut: Int) {
    var (ids, types): ([Int32], [Int32]) = ([], [])
    let cut = encodeWithSpecialTokens(Array(first.utf8)[...], second.map { Array($0.utf8)[...] }, limit: limit, ids: &ids, types: &types)
    return (ids, types, cut)
  }
}

@Suite struct TokenReferenceTests {
  @Test(arguments: TokenFixture.references + TokenFixture.kinds)
  func idsAndTextsAreThoseOfTokenizers(name: String) throws {
    let tokenizer = try TokenFixture.tokenizer(name)
    let lines = try TokenFixture.lines(name)
    #expect(lines.count > 40)
    for line in lines {
      let ids = tokenizer.ids(line.text)
      #expect(ids == line.ids, "\(line.text.debugDescription)")
      #expect(ids.allSatisfy { (0..<tokenizer.vocabularySize).contains(Int($0)) })
      #expect(tokenizer.count(of: Array(line.text.utf8)[...]) == ids.count)
      #expect(tokenizer.classified(line.text).ids == line.withSpecial, "\(line.text.debugDescription)")
      // By bytes: strings that differ in how characters are composed are equal.
      #expect(tokenizer.decode(line.ids) == Array(line.decoded.utf8), "\(line.text.debugDescription)")
      for limit in [0, 1, ids.count / 2, ids.count + 1] {
        let some = tokenizer.ids(line.text.utf8, limit: limit)
        #expect(some.prefix(limit) == ids.prefix(limit) && some.count >= min(limit, ids.count), "\(line.text.debugDescription) to \(limit)")
      }
      if let second = line.second {
        let pair = tokenizer.classified(line.text, second)
        #expect(
          pair.ids == line.pair && pair.types == line.pairTypes && pair.cut == 0, "\(line.text.debugDescription), \(second.debugDescription)")
      }
    }
  }

  @Test func thereAreKindsOfAllSorts() { #expect(TokenFixture.kinds.count > 30) }

  @Test(arguments: ["gpt2", "bytebpe", "kinds/llama3", "kinds/smollm"])
  func byteLevelTokensGiveATextsBytesBack(name: String) throws {
    let tokenizer = try TokenFixture.tokenizer(name)
    for line in try TokenFixture.lines("gpt2") where name != "kinds/llama3" || !line.text.contains("<|") {
      #expect(tokenizer.decode(tokenizer.ids(line.text)) == Array(line.text.utf8))
    }
  }

  @Test func fixedPaddingAndTruncationAreLeftAside() throws {
    // MiniLM's file asks for 128 ids, no more and no less.
    let minilm = try TokenFixture.tokenizer("minilm")
    #expect(minilm.classified("a").ids == [101, 1037, 102])
    #expect(minilm.classified(String(repeating: "a ", count: 300)).ids.count == 302)
  }
}
