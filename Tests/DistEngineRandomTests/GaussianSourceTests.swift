import CKernels
import DistEngine
import Foundation
import TestSupport
import Testing

/// The keys are fixed, so that nothing here fails by chance; had they not been, each bound would be exceeded wrongly with the
/// probability stated beside it.
@Suite("Noise")
struct GaussianSourceTests {
  private static let count = 1 << 20
  private static let key = RandomKey(seed: 5)
  private static let normals = GaussianSource(key.subKey(for: .noise)).normals(step: 1, elements: 0..<count)

  /// Five standard deviations: 6e-7 each.
  private func momentsAreRight(_ x: [Double]) -> Bool { Statistics.standardNormalDeviations(x).allSatisfy { abs($0) < 5 } }
  /// 1e-6.
  private func distributionIsRight(_ x: [Double]) -> Bool {
    Statistics.kolmogorovSmirnov(x, Statistics.standardNormalDistribution) < 2.7
  }

  /// Noise is a function of key, step and element: threads share it as ranks do, bit for bit.
  @Test(arguments: [0..<0, 3..<4, 0..<16_384, 0..<16_383, 7..<70_001, 4096..<40_960]) func theSameForAnyNumberOfThreads(elements: Range<Int>) {
    let source = GaussianSource(Self.key.subKey(for: .noise))
    let noise = { () -> [UInt32] in
      let values = GuardedFloats(repeating: 0.25, count: elements.count)
      source.add(step: 9, elements: elements, scale: 1.5, to: values.elements)
      #expect(values.sentinelsAreIntact)
      return values.values.map(\.bitPattern)
    }
    let expected = noise()
    for threads in 2...4 { #expect(ThreadTeam(count: threads).use(noise) == expected, "\(threads) threads") }
  }

  @Test func momentsAndDistributionAreThoseOfAStandardNormal() {
    #expect(momentsAreRight(Self.normals))
    #expect(distributionIsRight(Self.normals))
  }

  @Test(arguments: [2.0 / 3, 1.5, 0.99, 1.01]) func anotherVarianceIsNoticed(variance: Double) {
    #expect(!momentsAreRight(Self.normals.map { $0 * variance.squareRoot() }))
    if abs(variance - 1) > 0.1 { #expect(!distributionIsRight(Self.normals.map { $0 * variance.squareRoot() })) }
  }

  @Test func anotherDistributionIsNoticed() {
    // Six uniforms have the right mean, variance and symmetry, but too short tails.
    var random = TestRandom(seed: 1)
    let sums = (0..<200_000).map { _ in
      2.0.squareRoot() * (0..<6).reduce(-3.0) { sum, _ in sum + Double.random(in: 0..<1, using: &random) }
    }
    #expect(!momentsAreRight(sums))
  }

  /// The words, with the even ones, of which the radii are made, changed.
  private func radialWords(of words: [UInt64], _ change: (UInt64) -> UInt64) -> [UInt64] {
    words.enumerated().map { place, word in place % 2 == 0 ? change(word) : word }
  }

  /// Beyond 5.77, where 24-bit uniforms give nothing. Given u < 2^-24, r² - 48 ln 2 is exponential of mean 2.
  @Test func theTailGoesOn() {
    let words = CounterRandom(Self.key.subKey(for: .noise)).words(stream: 8, from: 0, count: 200_000)
    func excess(_ words: [UInt64]) -> [Double] {
      var z = [Double](repeating: 0, count: words.count)
      ck_gaussians(words.count, words, &z)
      return stride(from: 0, to: z.count, by: 2).map { (k: Int) -> Double in
        let square: Double = z[k] * z[k] + z[k + 1] * z[k + 1]
        return square - 48 * log(2)
      }
    }
    let rare = radialWords(of: words) { $0 >> 24 }
    func isExponential(_ x: [Double]) -> Bool {
      Statistics.kolmogorovSmirnov(x) { $0 <= 0 ? 0.0 : 1 - exp(-$0 / 2) } < 2.7
    }
    #expect(isExponential(excess(rare)))
    // The same with radii that end at 6: a quarter of these pairs are beyond.
    #expect(!isExponential(excess(rare).map { min($0, 36 - 48 * log(2)) }))
    // And of uniforms that were cut to 24 and to 28 bits.
    for bits in [24, 28] as [UInt64] {
      let cut = radialWords(of: rare) { ($0 >> (64 - bits)) << (64 - bits) }
      #expect(!isExponential(excess(cut)))
    }
  }

  @Test func stepsPurposesAndElementsAreUncorrelated() {
    let x = Self.normals
    let step = GaussianSource(Self.key.subKey(for: .noise)).normals(step: 2, elements: 0..<Self.count)
    let purpose = GaussianSource(Self.key.subKey(for: .initialisation)).normals(step: 1, elements: 0..<Self.count)
    let key = GaussianSource(RandomKey(seed: 6).subKey(for: .noise)).normals(step: 1, elements: 0..<Self.count)
    for other in [step, purpose, key] {
      #expect(abs(Statistics.correlationDeviations(x, other)) < 5)
      // Nor their squares: both halves of a pair share a radius, no two pairs do.
      #expect(abs(Statistics.correlationDeviations(x.map { $0 * $0 - 1 }, other.map { $0 * $0 - 1 })) < 5)
    }
    for lag in [1, 2, 3, 16, 4096] {
      #expect(abs(Statistics.correlationDeviations(x.dropLast(lag), x.dropFirst(lag))) < 5)
      let squares = x.map { $0 * $0 - 1 }
      #expect(abs(Statistics.correlationDeviations(squares.dropLast(lag), squares.dropFirst(lag))) < 5)
    }
    // A hundredth of another stream is found.
    #expect(abs(Statistics.correlationDeviations(x, zip(x, step).map { 0.01 * $0 + $1 })) > 5)
  }

  @Test func anySliceIsASliceOfTheWhole() {
    let source = GaussianSource(Self.key.subKey(for: .noise))
    let count = 3 * CounterRandom.wordsPerPiece + 7
    var random = TestRandom(seed: 2)
    let before = random.floats(count)
    let whole = GuardedFloats(before)
    source.add(step: 3, elements: 0..<count, scale: 0.7, to: whole.elements)
    #expect(whole.sentinelsAreIntact && whole.values != before)

    let piece = CounterRandom.wordsPerPiece
    for cuts in [
      [0, count], [0, 1, count], [0, 1, 2, 3, 20, count], [0, piece, count], [0, piece - 1, count],
      [0, 17, piece + 1, 2 * piece + 15, count],
      Array(0...100) + [count],
    ] {
      var parts: [Float] = []
      for (start, end) in zip(cuts, cuts.dropFirst()) {
        let part = GuardedFloats(Array(before[start..<end]))
        source.add(step: 3, elements: start..<end, scale: 0.7, to: part.elements)
        #expect(part.sentinelsAreIntact)
        parts += part.values
      }
      #expect(parts == whole.values, "cut at \(cuts.prefix(5))")
    }
    let empty = GuardedFloats([])
    source.add(step: 3, elements: 5..<5, scale: 1, to: empty.elements)
    #expect(empty.sentinelsAreIntact)
  }

  @Test func whatIsAddedIsTheNormalTimesTheScale() {
    let source = GaussianSource(Self.key.subKey(for: .noise))
    let values = GuardedFloats(repeating: 2, count: 999)
    source.add(step: 1, elements: 1001..<2000, scale: 0.5, to: values.elements)
    let expected = Self.normals[1001..<2000].map { 2 + 0.5 * $0 }
    let mismatch = Mismatch.between(values.values, expected, relative: 6e-8, absolute: 6e-9)
    #expect(mismatch == nil, "\(mismatch!)")
    #expect(source.normals(step: 1, elements: 1001..<2000) == Array(Self.normals[1001..<2000]))
  }

  /// Elements far out, beyond 2^32 words: models of billions of parameters.
  @Test func elementsBeyondFourBillionHaveTheirOwnNoise() {
    let source = GaussianSource(Self.key.subKey(for: .noise))
    let far = source.normals(step: 1, elements: ((1 << 33) - 2)..<((1 << 33) + 2))
    #expect(Set(far).count == 4 && far[2] != Self.normals[0])
  }
}
