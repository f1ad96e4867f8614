import Crypto
import CryptoExtras
import DistEngine
import TestSupport
import Testing

@Suite("Words by counter")
struct CounterRandomTests {
  private let random = CounterRandom(RandomKey(seed: 3).subKey(for: .noise))

  private func words(key: [UInt8], stream: UInt64) -> [UInt64] {
    key.withUnsafeBytes { CounterRandom(rawKey: $0) }.words(stream: stream, from: 0, count: 2).map(\.bigEndian)
  }

  /// NIST's AES-256 vectors (AESAVS: variable text, key S-box): the counter block is `stream ‖ 0`.
  @Test func knownAnswers() throws {
    let zeros = [UInt8](repeating: 0, count: 32)
    #expect(words(key: zeros, stream: 0) == [0xdc95_c078_a240_8989, 0xad48_a214_9284_2087])
    #expect(words(key: zeros, stream: 1 << 63) == [0xddc6_bf79_0c15_760d, 0x8d9a_eb6f_9a75_fd4e])
    let hex = "c47b0294dbbbee0fec4757f22ffeee3587ca4730c3d33b691df38bab076bc558"
    let key = stride(from: 0, to: 64, by: 2).map { UInt8(hex.dropFirst($0).prefix(2), radix: 16)! }
    #expect(words(key: key, stream: 0) == [0x46f2_fb34_2d6f_0ab4, 0x7747_6fc5_0124_2c5f])
  }

  /// Also where the low 32 bits of the counter overflow: 2^32 blocks, 64 GB of key stream in.
  @Test(arguments: [0, 1, 4095, (1 << 33) - 3, (1 << 33) - 1, 1 << 33, 1 << 40])
  func wordsAreTheEncryptedCounter(start: Int) throws {
    let bytes = (0..<32).map { UInt8($0 * 7) }
    let random = bytes.withUnsafeBytes { CounterRandom(rawKey: $0) }
    let words = random.words(stream: 0xFEDC_BA98_7654_3210, from: start, count: 9)
    for (i, word) in words.enumerated() {
      var block = withUnsafeBytes(of: (UInt64(0xFEDC_BA98_7654_3210).bigEndian, UInt64((start + i) / 2).bigEndian)) { Array($0) }
      try AES.permute(&block, key: SymmetricKey(data: bytes))
      let half = block.dropFirst((start + i) % 2 * 8).prefix(8)
      #expect(word == half.reversed().reduce(0) { $0 << 8 | UInt64($1) })
    }
  }

  @Test func anySliceIsASliceOfTheWhole() {
    let count = 3 * CounterRandom.wordsPerPiece + 5
    let whole = random.words(stream: 9, from: 0, count: count)
    let piece = CounterRandom.wordsPerPiece
    let cuts = [0, 1, 2, 3, 16, 17, 1003, piece - 1, piece, piece + 1, 2 * piece - 1, 2 * piece + 1, 3 * piece, count]
    for start in cuts {
      for end in cuts where end >= start {
        #expect(random.words(stream: 9, from: start, count: end - start) == Array(whole[start..<end]), "\(start)..<\(end)")
      }
    }
  }

  @Test func piecesAreBoundedAndPairsStayTogether() {
    for (start, count) in [(0, 1), (1, 20_000), (7, 4096), (0, 4096), (4095, 3), (5, 0)] {
      var next = 0
      random.forEachPiece(stream: 1, from: start, count: count) { words, offset in
        #expect(offset == next && words.count <= CounterRandom.wordsPerPiece && !words.isEmpty)
        if offset > 0 { #expect((start + offset) % 2 == 0) }
        next += words.count
      }
      #expect(next == count)
    }
  }

  @Test func streamsDiffer() {
    let streams = [0, 1, 2, UInt64.max].map { random.words(stream: $0, from: 0, count: 1000) }
    #expect(Set(streams.flatMap { $0 }).count == 4000)
  }

  @Test func uniformsAreUniform() {
    var uniforms: [Double] = []
    random.forEachUniform(stream: 4, indices: 17..<200_017) { index, uniform in
      #expect(index == 17 + uniforms.count)
      uniforms.append(uniform)
    }
    #expect(uniforms.count == 200_000 && uniforms.allSatisfy { 0 <= $0 && $0 < 1 })
    // False alarm: 1e-6, had the seed not been fixed.
    #expect(Statistics.kolmogorovSmirnov(uniforms) { $0 } < 2.7)
    #expect(Statistics.kolmogorovSmirnov(uniforms.map { $0 * $0 }) { $0 } > 2.7)
    #expect(CounterRandom.uniform(.max) < 1 && CounterRandom.uniform(0) == 0)
  }

  @Test func aStreamIsItsWords() {
    var stream = RandomStream(random, stream: 12)
    let words = (0..<1000).map { _ in stream.next() }
    #expect(words == random.words(stream: 12, from: 0, count: 1000))
  }

  @Test(arguments: [1, 2, 3, 7, 1000]) func boundedIntegersAreEquallyLikely(bound: Int) {
    var stream = RandomStream(random, stream: UInt64(bound))
    var counts = [Int](repeating: 0, count: bound)
    for _ in 0..<100_000 { counts[stream.next(below: bound)] += 1 }
    if bound > 1 { #expect(abs(Statistics.equalCountsDeviations(counts)) < 6) }
  }

  /// Two thirds of 2^64 would be biased by a factor of 2 without rejection: the lower half would come twice as often.
  @Test func aBoundThatDoesNotDivideIsNotBiased() {
    var stream = RandomStream(random, stream: 77)
    let bound = 3 << 61
    let lower = (0..<100_000).filter { _ in stream.next(below: bound) < bound / 2 }.count
    #expect(abs(Double(lower) - 50_000) < 5 * 158.2)
  }

  @Test func everyOrderIsEquallyLikely() {
    var stream = RandomStream(random, stream: 5)
    var counts: [[Int]: Int] = [:]
    for _ in 0..<48_000 {
      var order = [0, 1, 2, 3]
      stream.shuffle(&order)
      counts[order, default: 0] += 1
    }
    #expect(counts.count == 24)
    #expect(abs(Statistics.equalCountsDeviations(Array(counts.values))) < 6)
    var none: [Int] = []
    stream.shuffle(&none)
    #expect(none.isEmpty)
  }
}
