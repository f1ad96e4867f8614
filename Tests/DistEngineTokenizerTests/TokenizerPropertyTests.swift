import DistEngine
import Foundation
import TestSupport
import Testing

@Suite struct TokenizerPropertyTests {
  /// Scalars of every length in UTF-8, and bytes that are none.
  private static func bytes(_ count: Int, valid: Bool, _ random: inout TestRandom) -> [UInt8] {
    guard valid else { return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) } }
    let ranges: [ClosedRange<UInt32>] = [0...0x7F, 0x20...0x7E, 0x80...0x7FF, 0x800...0xD7FF, 0x10000...0x10FFFF]
    var text = ""
    for _ in 0..<count {
      let range = ranges.randomElement(using: &random)!
      text.unicodeScalars.append(Unicode.Scalar(UInt32.random(in: range, using: &random))!)
    }
    return Array(text.utf8)
  }

  @Test func bytesThatAreNoTextAreReadAsPythonReadsThem() throws {
    let gpt2 = try TokenFixture.tokenizer("gpt2")
    var random = TestRandom(seed: 1)
    for round in 0..<300 {
      let bytes = Self.bytes(round % 40, valid: round.isMultiple(of: 2), &random)
      let repaired = Array(String(decoding: bytes, as: UTF8.self).utf8)
      #expect(gpt2.ids(bytes) == gpt2.ids(repaired))
      #expect(gpt2.decode(gpt2.ids(bytes)) == repaired)
    }
    #expect(gpt2.ids([0x61, 0xFF, 0x62]) == gpt2.ids("a\u{FFFD}b"))
  }

  @Test func textsOfAnyLengthAndPlaceGiveTheSameIds() throws {
    // A slice of a longer array; a workspace that has met other words.
    let tokenizer = try TokenFixture.tokenizer("wordpiece")
    var random = TestRandom(seed: 2)
    for count in [0, 1, 2, 7, 8, 9, 16, 17, 24, 25, 100] {
      let text = Self.bytes(count, valid: true, &random)
      let padded = [0x61, 0x20] + text + [0x20, 0x62]
      var ids: [Int32] = [7]
      tokenizer.encode(padded[2..<padded.count - 2], limit: .max, into: &ids)
      #expect(Array(ids.dropFirst()) == (try TokenFixture.tokenizer("wordpiece")).ids(text))
    }
  }

  /// A naive merge, one pair at a time over the whole word: by rank, then from the left.
  private static func merged(_ word: String, _ merges: [(String, String)]) -> [String] {
    var parts = word.map { String($0) }
    while true {
      let ranks = zip(parts, parts.dropFirst()).map { pair in merges.lastIndex { $0 == pair } }
      guard let least = ranks.compactMap({ $0 }).min(), let place = ranks.firstIndex(of: least) else { return parts }
      parts.replaceSubrange(place...place + 1, with: [parts[place] + parts[place + 1]])
    }
  }

  @Test func mergingByAHeapIsMergingTheLeastPairAgainAndAgain() throws {
    var random = TestRandom(seed: 3)
    for _ in 0..<40 {
      var tokens = ["a", "b", "c"]
      var merges: [(String, String)] = []
      for _ in 0..<Int.random(in: 0...12, using: &random) {
        let pair = (tokens.randomElement(using: &random)!, tokens.randomElement(using: &random)!)
        merges.append(pair)
        if !tokens.contains(pair.0 + pair.1) { tokens.append(pair.0 + pair.1) }
      }
      let tokenizer = try Self.bytePairs(tokens, merges)
      for count in [0, 1, 2, 5, 30, 100] {
        let word = String((0..<count).map { _ in "abc".randomElement(using: &random)! })
        #expect(tokenizer.ids(word) == Self.merged(word, merges).map { Int32(tokens.firstIndex(of: $0)!) }, "\(word), \(merges)")
      }
    }
  }

  private static func bytePairs(_ tokens: [String], _ merges: [(String, String)]) throws -> FileTokenizer {
    let vocabulary = tokens.enumerated().map { #""\#($1)":\#($0)"# }.joined(separator: ",")
    let pairs = merges.map { #"["\#($0)","\#($1)"]"# }.joined(separator: ",")
    let json = #"{"model":{"type":"BPE","vocab":{\#(vocabulary)},"merges":[\#(pairs)]}}"#
    return try TokenizerFile.parse(Array(json.utf8), path: "made")
  }

  /// Tokens are compared byte for byte, whatever Unicode says of them.
  @Test func tokensThatLookAlikeAreDifferentOnes() throws {
    let json = #"{"model":{"type":"BPE","vocab":{"\u00e9":0,"e":1,"\u0301":2,"e\u0301":3},"merges":["e \u0301"]}}"#
    let tokenizer = try TokenizerFile.parse(Array(json.utf8), path: "made")
    #expect(tokenizer.ids("\u{E9}") == [0])
    #expect(tokenizer.ids("e\u{301}") == [3])
  }

  // MARK: Pairs

  @Test func pairsAreCutLongestFirst() throws {
    let tokenizer = try TokenFixture.tokenizer("wordpiece")
    let (one, many) = ("a b", "a b c d e f g h")
    let (first, second) = (tokenizer.ids(one), tokenizer.ids(many))
    let whole = tokenizer.classified(one, many)
    #expect(whole.ids.count == first.count + second.count + 3 && whole.cut == 0)
    for limit in 0...whole.ids.count + 1 {
      for (a, b) in [(one, many), (many, one), (many, many), (one, one), ("", many)] {
        let cut = tokenizer.classified(a, b, limit: limit)
        let all = tokenizer.classified(a, b)
        #expect(cut.ids.count == min(limit, all.ids.count) && cut.types.count == cut.ids.count)
        guard limit >= 3 else { continue }
        #expect(cut.cut == all.ids.count - cut.ids.count)
        // [CLS] a [SEP] b [SEP]
        let border = try #require(cut.ids.firstIndex(of: 3))
        let kept = (border - 1, cut.ids.count - border - 2)
        #expect(cut.ids.first == 2 && cut.ids.last == 3)
        #expect(cut.types == Array(repeating: 0, count: border + 1) + Array(repeating: 1, count: kept.1 + 1))
        let (longer, shorter) = (max(kept.0, kept.1), min(kept.0, kept.1))
        let counts = (tokenizer.ids(a).count, tokenizer.ids(b).count)
        // The shorter text loses nothing before the longer is as short.
        #expect(shorter == min(counts.0, counts.1) || longer - shorter <= 1, "\(counts) to \(kept)")
      }
    }
    #expect(longestFirst(7, 4, room: 5) == (3, 2) && longestFirst(4, 7, room: 5) == (2, 3) && longestFirst(5, 5, room: 7) == (3, 4))
    #expect(longestFirst(2, 9, room: 8) == (2, 6) && longestFirst(9, 0, room: 4) == (4, 0) && longestFirst(0, 0, room: 0) == (0, 0))
  }

  @Test func bytesStandBetweenEndsOfText() {
    let bytes = ByteTokenizer()
    #expect(bytes.classified("ab").ids == [256, 97, 98, 256])
    #expect(bytes.classified("ab", "c").ids == [256, 97, 98, 256, 99, 256])
    let cut = bytes.classified("abc", "d", limit: 5)
    #expect(cut.ids == [256, 97, 256, 100, 256] && cut.types == [0, 0, 0, 0, 0] && cut.cut == 2)
    #expect(bytes.classified("abc", limit: 1).ids == [256])
  }

  // MARK: Text of ids that come one at a time

  @Test(arguments: ["gpt2", "stories260K", "minilm", "kinds/llama3", "kinds/metaspace-first-True"])
  func textInPiecesIsTheTextInWholeScalars(name: String) throws {
    let tokenizer = try TokenFixture.tokenizer(name)
    for line in try TokenFixture.lines("gpt2") {
      let ids = tokenizer.ids(line.text)
      var stream = TextStream(tokenizer)
      var text: [UInt8] = []
      for id in ids {
        let piece = stream.append(id)
        #expect(String(validating: piece, as: UTF8.self) != nil)
        text += piece
      }
      #expect(text + stream.finish() == tokenizer.decode(ids), "\(line.text.debugDescription)")
    }
  }

  @Test func aScalarThatIsOnlyBegunIsHeldBack() throws {
    var bytes = TextStream(ByteTokenizer())
    #expect([0xF0, 0x9F, 0x98].flatMap { bytes.append($0) } == [] && bytes.append(0x80) == [0xF0, 0x9F, 0x98, 0x80])
    #expect(bytes.append(0x61) == [0x61] && bytes.append(0xC3) == [] && bytes.finish() == [])
    let llama = try TokenFixture.tokenizer("stories260K")
    // 3 + a byte is the byte's token.
    var stream = TextStream(llama)
    #expect(stream.append(3 + 0xE2) == [] && stream.append(3 + 0x82) == [])
    #expect(stream.append(3 + 0xAC) == Array("€".utf8))
    // The space in front of a word is kept behind a prompt.
    let word = llama.ids("the")
    #expect(llama.wholeText(of: word, after: llama.ids("Once")) == Array(" the".utf8))
    #expect(llama.decode(word) == Array("the".utf8))
  }

  // MARK: Size

  /// Of this thread, whatever else the machine does.
  private static func processorTime(_ body: () -> Void) -> Double {
    func now() -> Double {
      var time = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
    }
    let start = now()
    body()
    return now() - start
  }

  @Test(arguments: ["gpt2", "stories260K", "minilm", "kinds/llama3", "kinds/wordpiece-cased"], ["a", " ", "\u{301}", "é", "1", "'"])
  func oneLetterForMegabytesTakesSeconds(name: String, letter: String) throws {
    let tokenizer = try TokenFixture.tokenizer(name)
    let bytes = name == "gpt2" && letter == "a" ? 10_000_000 : 1_000_000
    let text = Array(String(repeating: letter, count: bytes / letter.utf8.count).utf8)
    var count = 0
    let seconds = Self.processorTime { count = tokenizer.count(of: text[...]) }
    #expect(seconds < Double(bytes) / 500_000, "\(count) ids in \(seconds) s")
  }

  @Test func marksInAnyOrderTakeNoTime() throws {
    let tokenizer = try TokenFixture.tokenizer("kinds/normalizer-NFKC")
    let text = Array(("a" + String(repeating: "\u{301}\u{323}", count: 200_000)).utf8)
    #expect(Self.processorTime { _ = tokenizer.count(of: text[...]) } < 5)
  }

  @Test func moreWordsThanAreRememberedGiveTheSameIds() throws {
    let tokenizer = try TokenFixture.tokenizer("bytebpe")
    let words = (0..<60_000).map { "w\($0 &* 7919 % 60_000)" }
    let ids = words.map { tokenizer.ids($0) }
    let others = stride(from: 0, to: words.count, by: 997)
    for place in others { #expect(tokenizer.ids(words[place]) == ids[place] && tokenizer.decode(ids[place]) == Array(words[place].utf8)) }
  }

  @Test func threadsShareATokenizer() throws {
    let tokenizer = try TokenFixture.tokenizer("minilm")
    let lines = try TokenFixture.lines("minilm")
    DispatchQueue.concurrentPerform(iterations: 8) { thread in
      for line in lines.dropFirst(thread) + lines.prefix(thread) { #expect(tokenizer.ids(line.text) == line.ids) }
    }
  }
}
