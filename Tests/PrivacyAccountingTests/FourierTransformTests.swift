import Foundation
import PrivacyAccounting
import Testing

@Suite("The real Fourier transform")
struct FourierTransformTests {
  private static func values(_ count: Int) -> [Double] {
    var state: UInt64 = 1
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Double(state >> 11) / 0x1p53 / Double(count) * 2
    }
  }

  @Test("forward and back is the identity, to its error bound", arguments: [4, 8, 16, 64, 4096, 1 << 15])
  func identity(_ count: Int) {
    let transform = RealFourierTransform(count: count)
    let values = Self.values(count)
    let back = transform.inverse(transform.forward(values))
    let error = zip(values, back).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
    let norm = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
    #expect(error <= 2 * transform.relativeError * norm)
  }

  @Test("powers of the spectrum are circular convolutions", arguments: [4, 8, 32, 128])
  func powers(_ count: Int) {
    let transform = RealFourierTransform(count: count)
    let values = Self.values(count)
    var direct = values
    for exponent in 2...7 {
      direct = (0..<count).map { k in (0..<count).reduce(0) { $0 + direct[$1] * values[(k - $1 + count) % count] } }
      var spectrum = transform.forward(values)
      spectrum.raise(to: exponent)
      for (fast, slow) in zip(transform.inverse(spectrum), direct) { #expect(abs(fast - slow) < 1e-13 * slow) }
    }
  }

  @Test("products of two spectra are circular convolutions")
  func products() {
    let transform = RealFourierTransform(count: 64)
    let (first, second) = (Self.values(64), Array(Self.values(128)[64...]))
    var spectrum = transform.forward(first)
    spectrum.multiply(by: transform.forward(second))
    for (k, value) in transform.inverse(spectrum).enumerated() {
      let direct = (0..<64).reduce(0) { $0 + first[$1] * second[(k - $1 + 64) % 64] }
      #expect(abs(value - direct) < 1e-14)
    }
  }
}
