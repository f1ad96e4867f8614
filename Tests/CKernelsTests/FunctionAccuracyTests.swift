import CKernels
import Foundation
import TestSupport
import Testing

@Suite("Accuracy of the functions inside the kernels")
struct FunctionAccuracyTests {
  /// exp down to where it is made 0, by way of the probabilities: scores x with log_sum_exp 0.
  @Test func exponentialIsGoodToTwoUnitsInTheLastPlace() {
    let count = 1 << 20
    let x = (0..<count).map { -64 * Float($0) / Float(count) }
    var y = x
    ck_causal_probabilities(1, count, count - 1, 1, &y, count, [0], 1)
    var worst = (error: 0.0, at: Float(0))
    for (x, y) in zip(x, y) {
      let exact = exp(Double(x))
      let error = abs(Double(y) - exact) / Double(Float(exact).ulp)
      if error > worst.error { worst = (error, x) }
    }
    #expect(worst.error < 2, "exp(\(worst.at)) is off by \(worst.error) units in the last place")
  }

  @Test func exponentialVanishesBelowMinus64() {
    var y: [Float] = [-64.1, -1000, -.infinity, -3e38]
    ck_causal_probabilities(1, 4, 3, 1, &y, 4, [0], 1)
    #expect(y == [0, 0, 0, 0])
  }

  @Test func gaussiansAreGoodTo1eMinus13() {
    var random = TestRandom(seed: 7)
    var words = (0..<200_000).map { _ in random.next() }
    // Corners: the ends of both uniforms, the quarter turns, and u near 1, where ln u has digits only from the other side.
    var corners: [UInt64] = [0, .max, 3 << 62, (1 << 61) - 1, (1 << 63) - 1, 0xB504_F333_F9DE_6484]
    for bit in UInt64(0)..<64 {
      let single: UInt64 = 1 << bit
      corners += [single, ~single, UInt64.max >> bit]
    }
    for first in corners { for second in corners { words += [first, second] } }
    var z = [Double](repeating: 0, count: words.count)
    ck_gaussians(words.count, words, &z)
    let expected = stride(from: 0, to: words.count, by: 2).flatMap { i in
      let pair = NaiveKernels.gaussianPair(words[i], words[i + 1])
      return [pair.0, pair.1]
    }
    let mismatch = Mismatch.between(z, expected, relative: 0, absolute: 1e-13)
    #expect(mismatch == nil, "\(mismatch!)")
  }

  /// Every operation of the kernel is one that IEEE 754 rounds, and none is fused: so its bits are those of the same operations on one number at
  /// a time, and the same on every processor, of whatever vectors.
  @Test func gaussiansHaveTheSameBitsOnEveryProcessor() {
    var random = TestRandom(seed: 13)
    var words = (0..<20_000).map { _ in random.next() }
    for bit in UInt64(0)..<64 {
      for first in [1 << bit, ~(1 << bit), UInt64.max >> bit] { words += [first, random.next(), random.next(), first] }
    }
    // Ends, quarter turns (rounded at odd eighths), and where u passes from one power of two to the next.
    let corners: [UInt64] = [0, 1, .max, 1 << 61, (1 << 61) - 1, 1 << 63, (1 << 63) - 1, 3 << 61, 5 << 61, 7 << 61, 0xB504_F333_F9DE_6484]
    for first in corners { for second in corners { words += [first, second] } }
    var z = [Double](repeating: 0, count: words.count)
    ck_gaussians(words.count, words, &z)
    var fused = 0
    for i in stride(from: 0, to: words.count, by: 2) {
      let pair = NaiveKernels.roundedGaussianPair(words[i], words[i + 1])
      #expect(z[i].bitPattern == pair.0.bitPattern && z[i + 1].bitPattern == pair.1.bitPattern, "words \(words[i]), \(words[i + 1])")
      let other = NaiveKernels.roundedGaussianPair(words[i], words[i + 1]) { $2.addingProduct($0, $1) }
      if other != pair { fused += 1 }
    }
    #expect(fused > words.count / 50, "what is fused shows")
  }

  /// The largest normal that 64 bits can give; a 24-bit uniform would stop at 5.77.
  @Test func theTailEndsBeyondNine() {
    var z = [0.0, 0.0]
    ck_gaussians(2, [0, 0], &z)
    #expect(abs(z[0] - (2 * 65 * log(2.0)).squareRoot()) < 1e-13 && z[1] == 0)
  }

  @Test(arguments: [0, 1, 2, 15, 16, 17, 31, 32, 1003])
  func gaussiansAreAddedWithOneRounding(count: Int) {
    var random = TestRandom(seed: 11)
    let words = (0..<(count + count % 2)).map { _ in random.next() }
    var z = [Double](repeating: 0, count: words.count)
    ck_gaussians(words.count, words, &z)
    let before = random.floats(count, spread: 10)
    let y = GuardedFloats(before)
    ck_add_gaussians(count, words, 3.7, y.base)
    #expect(y.sentinelsAreIntact)
    for i in 0..<count {
      let exact = Double(before[i]) + 3.7 * z[i]
      #expect(abs(Double(y.base[i]) - exact) <= Double(Float(exact).ulp) * 0.5000001)
    }
    // An odd number of normals: the second of the last pair isn't written.
    var doubles = [Double](repeating: -1, count: count + 1)
    ck_gaussians(count, words, &doubles)
    #expect(Array(doubles[..<count]) == Array(z[..<count]) && doubles[count] == -1)
  }
}
