import CKernels
import Foundation
import TestSupport
import Testing

/// Elements of 16 bits, widened.
@Suite struct NarrowTests {
  struct Kernel: Sendable, CustomStringConvertible {
    let description: String
    let exponent: UInt16
    let widen: @Sendable (Int, Int, UnsafeRawPointer, Int, UnsafeMutablePointer<Float>, Int) -> Void
    /// By the formula of the format: sign, exponent, fraction.
    let naive: @Sendable (UInt16) -> Double

    static func value(_ bits: UInt16, exponentBits: Int, fractionBits: Int) -> Double {
      let (exponent, fraction) = (Int(bits) >> fractionBits & ((1 << exponentBits) - 1), Int(bits) & ((1 << fractionBits) - 1))
      let sign = bits >> 15 == 0 ? 1.0 : -1.0
      let bias = (1 << (exponentBits - 1)) - 1
      if exponent == (1 << exponentBits) - 1 { return fraction == 0 ? sign * .infinity : .nan }
      let part = Double(fraction) / Double(1 << fractionBits)
      return sign * (exponent == 0 ? part * pow(2, Double(1 - bias)) : (1 + part) * pow(2, Double(exponent - bias)))
    }

    static let all = [
      Kernel(description: "ck_widen_bf16", exponent: 0x7F80, widen: ck_widen_bf16) { value($0, exponentBits: 8, fractionBits: 7) },
      Kernel(description: "ck_widen_f16", exponent: 0x7C00, widen: ck_widen_f16) { value($0, exponentBits: 5, fractionBits: 10) },
    ]
  }

  /// Exact for each of the 65,536, wherever it stands in a vector: subnormal numbers, zeros of both signs, infinity, NaN.
  @Test(arguments: Kernel.all) func everyPatternIsExact(kernel: Kernel) {
    let patterns = Array(0...UInt16.max)
    for shift in [0, 1, 7] {
      let x = Array(patterns[shift...] + patterns[..<shift])
      var y = [Float](repeating: .nan, count: x.count)
      kernel.widen(1, x.count, x, x.count, &y, x.count)
      var wrong: [String] = []
      for (bits, found) in zip(x, y) {
        let expected = kernel.naive(bits)
        let isSame = expected.isNaN ? found.isNaN : Double(found) == expected && found.sign == (bits >> 15 == 0 ? .plus : .minus)
        if !isSame { wrong.append("\(String(bits, radix: 16)): \(found), not \(expected)") }
        #expect((ck_has_exponent(1, [bits], kernel.exponent) != 0) == !expected.isFinite, "\(String(bits, radix: 16))")
      }
      #expect(wrong.isEmpty, "\(kernel): \(wrong.count) wrong, \(wrong.prefix(5))")
    }
  }

  /// Rows with gaps, from an odd address into an odd place: nothing else is written, and nothing is left out.
  @Test(arguments: Kernel.all, KernelCheck.shapes) func everyShape(kernel: Kernel, shape: KernelCheck.Shape) {
    var random = TestRandom(seed: UInt64(shape.rows * 4099 + shape.columns))
    let x = random.indices(shape.rows * shape.stride, below: 1 << 16).map { UInt16(truncatingIfNeeded: $0) & ~kernel.exponent | 0x0C80 & kernel.exponent }
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: 2 * x.count + 1, alignment: 64)
    defer { bytes.deallocate() }
    x.withUnsafeBytes { bytes.advanced(by: 1).copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(bytes), byteCount: $0.count) }
    let y = shape.spread([Float](repeating: 7, count: shape.count))
    kernel.widen(shape.rows, shape.columns, bytes + 1, shape.stride, y.base, shape.stride)
    var findings = Findings()
    let expected = (0..<shape.rows).flatMap { r in (0..<shape.columns).map { kernel.naive(x[r * shape.stride + $0]) } }
    if shape.columns > 0 { findings.expect(y, shape: shape, expected, relative: 0, absolute: 0x1p-149, "y") }
    #expect(findings.failures.isEmpty, "\(kernel) at \(shape): \(findings.failures.joined(separator: "; "))")
    #expect(ck_has_exponent(x.count, bytes + 1, kernel.exponent) == 0)
  }

  /// One that isn't finite is found wherever it stands.
  @Test(arguments: Kernel.all, [1, 15, 16, 17, 33, 1003]) func infinityIsFound(kernel: Kernel, count: Int) {
    for place in Set([0, count / 2, count - 1]) {
      var x = [UInt16](repeating: kernel.exponent ^ 0x0400 ^ 0x83, count: count)
      #expect(ck_has_exponent(count, x, kernel.exponent) == 0)
      x[place] = kernel.exponent | 0x8000
      #expect(ck_has_exponent(count, x, kernel.exponent) != 0)
    }
    #expect(ck_has_exponent(0, [], kernel.exponent) == 0)
  }
}
