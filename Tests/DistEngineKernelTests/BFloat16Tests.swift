import CKernels
import DistEngine
import Foundation
import TestSupport
import Testing

/// Rounding to bfloat16, and products of what is rounded.
@Suite struct RoundedProductsTests {
  /// Nearest, ties to even, written down apart from the kernel.
  private static func rounded(_ x: Float) -> Float {
    guard x.isFinite else { return x }
    let below = Float(bitPattern: x.bitPattern & 0xFFFF_0000), above = Float(bitPattern: (x.bitPattern & 0xFFFF_0000) &+ 0x1_0000)
    // Beyond the largest the next step counts as if there were one more number.
    let step = above.isFinite ? Double(above) : Double(below) + Double(below) - Double(Float(bitPattern: below.bitPattern &- 0x1_0000))
    let (down, up) = (abs(Double(x) - Double(below)), abs(step - Double(x)))
    if down != up { return down < up ? below : above }
    return below.bitPattern >> 16 & 1 == 0 ? below : above
  }

  @Test(arguments: [0, 1, 15, 16, 17, 1003]) func roundsToNearestEven(count: Int) {
    var random = TestRandom(seed: 3)
    let special: [Float] = [
      0, -0, 1, .infinity, -.infinity, .nan, .greatestFiniteMagnitude, .leastNonzeroMagnitude, -.leastNormalMagnitude, 0x1.01p0, 0x1.03p0, -0x1.01p-130,
      0x1.FEp127, 0x1.FFp127,
    ]
    let values = (0..<count).map { $0 < special.count ? special[$0] : Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }
    var narrow = [UInt16](repeating: 0xDEAD, count: count + 1)
    ck_round_bf16(1, count, values, count, 1, &narrow, count)
    #expect(narrow[count] == 0xDEAD)
    for (value, bits) in zip(values, narrow) {
      let found = Float(bitPattern: UInt32(bits) << 16)
      #expect(value.isNaN ? found.isNaN : found.bitPattern == Self.rounded(value).bitPattern, "\(value): \(found)")
    }
  }

  static let shapes: [(Int, Int, Int)] =
    [0, 1, 127, 128, 129].flatMap { m in [0, 1, 33].flatMap { k in [0, 1, 47].map { (m, k, $0) } } } + [(300, 513, 257), (5, 1030, 530), (256, 512, 256)]

  /// Beside sums in double of the operands, rounded: all layouts, written and added to, strided, with one thread and several.
  @Test(arguments: shapes) func productsAreThoseOfRoundedOperands(m: Int, k: Int, n: Int) {
    var random = TestRandom(seed: UInt64(m * 10_007 + k * 101 + n))
    let a = random.floats(m * k), b = random.floats(k * n), before = random.floats(m * n)
    let left = GuardedFloats(a, columns: k, stride: k + 3)
    for (isTransposed, alpha) in [(false, Float(1)), (true, 0.75)] {
      let (rows, columns) = isTransposed ? (n, k) : (k, n)
      let right = GuardedFloats(b, columns: columns, stride: columns + 1)
      let roundedA = a.map { Double(Self.rounded(alpha * $0)) }, roundedB = b.map { Double(Self.rounded($0)) }
      for adding in [false, true] {
        var expected = [Double](repeating: 0, count: m * n)
        for i in 0..<m {
          for j in 0..<n {
            var sum = adding ? Double(before[i * n + j]) : 0
            for t in 0..<k { sum += roundedA[i * k + t] * (isTransposed ? roundedB[j * k + t] : roundedB[t * n + j]) }
            expected[i * n + j] = sum
          }
        }
        var first: [Float]?
        for threads in [1, 3] {
          let memory = AlignedBuffer<Float>(count: BFloat16Products.floatCount(rows: m, threads: threads))
          memory.elements.update(repeating: .nan)
          let products = BFloat16Products(.emulated, rows: m, threads: threads, memory: memory.elements)
          let found = GuardedFloats(adding ? before : [Float](repeating: .nan, count: m * n))
          let weights = StoredMatrix.floats(Matrix(right.base, rows: rows, columns: columns, stride: columns + 1))
          ThreadTeam(count: threads).use {
            products.multiply(
              Matrix(left.base, rows: m, columns: k, stride: k + 3), isTransposed ? .transposed(weights) : .plain(weights),
              into: Matrix(found.base, rows: m, columns: n), alpha: alpha, adding: adding)
          }
          #expect(found.sentinelsAreIntact)
          let mismatch = Mismatch.between(found.values.doubles, expected, relative: 1e-6, absolute: 2e-7 * Double(k + 3))
          #expect(mismatch == nil, "transposed \(isTransposed), adding \(adding), \(threads) threads: \(mismatch!)")
          withExtendedLifetime((left, right, memory)) {}
          if let first { #expect(found.values.map(\.bitPattern) == first.map(\.bitPattern), "threads change bits") }
          first = found.values
        }
      }
    }
  }

  /// A row's result is the same to the bit alone, among others, at any place.
  @Test func aRowHangsOnItselfAlone() {
    let (m, k, n) = (300, 600, 300)
    var random = TestRandom(seed: 9)
    let a = GuardedFloats(random.floats(m * k)), b = GuardedFloats(random.floats(k * n))
    let weights = StoredMatrix.floats(Matrix(b.base, rows: k, columns: n))
    func product(_ rows: Range<Int>, threads: Int) -> [UInt32] {
      let memory = AlignedBuffer<Float>(count: BFloat16Products.floatCount(rows: rows.count, threads: threads))
      let c = GuardedFloats([Float](repeating: .nan, count: rows.count * n))
      ThreadTeam(count: threads).use {
        BFloat16Products(.emulated, rows: rows.count, threads: threads, memory: memory.elements).multiply(
          Matrix(a.base, rows: m, columns: k).rows(rows), .plain(weights), into: Matrix(c.base, rows: rows.count, columns: n), adding: false)
      }
      withExtendedLifetime((a, b, memory)) {}
      return c.values.map(\.bitPattern)
    }
    let all = product(0..<m, threads: 1)
    for (rows, threads) in [(7..<8, 1), (5..<133, 3), (131..<300, 2)] {
      #expect(product(rows, threads: threads) == Array(all[rows.lowerBound * n..<rows.upperBound * n]), "\(rows)")
    }
  }

  // MARK: The library

  /// oneDNN's products through the same calls: of floats on every processor, of bfloat16 where it makes them.
  @Test(arguments: [OneDNNProducts.Element.float32, .bfloat16]) func theLibrarysProducts(element: OneDNNProducts.Element) throws {
    let products = OneDNNProducts(element)
    for (m, k, n) in [(1, 1, 1), (128, 33, 47), (17, 256, 5), (128, 512, 256)] {
      for isTransposed in [false, true] {
        var random = TestRandom(seed: UInt64(m + k + n))
        let (lda, ldb, ldc) = (k + 2, (isTransposed ? k : n) + 5, n + 1)
        let a = random.floats(m * lda).map(Self.rounded), b = random.floats((isTransposed ? n : k) * ldb).map(Self.rounded)
        let shape = OneDNNProducts.Shape(rows: m, columns: n, inner: k, isTransposed: isTransposed, leftStride: lda, rightStride: ldb, resultStride: ldc)
        for round in 0..<2 {
          let c = GuardedFloats([Float](repeating: -7, count: m * ldc))
          do {
            switch element {
            case .float32: try products.multiply(shape, a, b, into: c.base)
            case .bfloat16:
              try products.multiply(shape, a.map { UInt16($0.bitPattern >> 16) }, b.map { UInt16($0.bitPattern >> 16) }, into: c.base)
            }
          } catch {
            // What the processor lacks the library may refuse: then nothing of it is used.
            #expect(element == .bfloat16 && !OneDNNProducts.processorHasBFloat16, "\(error)")
            continue
          }
          #expect(c.sentinelsAreIntact)
          for i in 0..<m {
            for j in 0..<n {
              var (sum, magnitude) = (0.0, 0.0)
              for t in 0..<k {
                let term = Double(a[i * lda + t]) * Double(isTransposed ? b[j * ldb + t] : b[t * ldb + j])
                sum += term
                magnitude += abs(term)
              }
              #expect(abs(Double(c.values[i * ldc + j]) - sum) <= Double(k) * 0x1p-23 * magnitude, "\(m)x\(k)x\(n) \(isTransposed) \(round)")
            }
            #expect(c.values[i * ldc + n] == -7)
          }
        }
      }
    }
  }

  /// A product of the library is the calling thread's work alone: it starts none.
  @Test func theLibraryStartsNoThread() throws {
    let threads = { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count }
    let (m, k, n) = (512, 512, 512)
    let a = AlignedBuffer<Float>(count: m * k), b = AlignedBuffer<Float>(count: k * n), c = AlignedBuffer<Float>(count: m * n)
    let shape = OneDNNProducts.Shape(rows: m, columns: n, inner: k, isTransposed: false, leftStride: k, rightStride: n, resultStride: n)
    // Whoever runs tests beside this one may start some: a library's own would be there every time.
    var more = Int.max
    for _ in 0..<20 where more > 0 {
      let before = try threads()
      let products = OneDNNProducts(.float32)
      for _ in 0..<3 { try products.multiply(shape, a.base, b.base, into: c.base) }
      more = min(more, try threads() - before)
    }
    withExtendedLifetime((a, b, c)) {}
    #expect(more <= 0, "\(more) more threads")
  }

  // MARK: The probe

  @Test func theProbeSeesWhatIsWrong() throws {
    func product(_ flaw: @escaping (inout OneDNNProducts.Shape, UnsafeMutablePointer<Float>) -> Void = { _, _ in }) -> BFloat16Probe.Product {
      { given, a, b, c in
        var shape = given
        flaw(&shape, c)
        for i in 0..<shape.rows {
          for j in 0..<shape.columns {
            var sum: Float = 0
            for t in 0..<shape.inner {
              let right = shape.isTransposed ? b[j * shape.rightStride + t] : b[t * shape.rightStride + j]
              sum += Float(bitPattern: UInt32(a[i * shape.leftStride + t]) << 16) * Float(bitPattern: UInt32(right) << 16)
            }
            c[i * shape.resultStride + j] = sum
          }
        }
      }
    }
    #expect(try BFloat16Probe.refusal(of: product()) == nil)
    #expect(try BFloat16Probe.refusal(of: product { shape, _ in shape.columns -= 1 }) != nil)
    #expect(try BFloat16Probe.refusal(of: product { shape, _ in shape.rightStride -= 1 }) != nil)
    #expect(try BFloat16Probe.refusal(of: product { shape, _ in shape.inner -= 1 }) != nil)
    // One unit in the last place, by the row's place.
    let exact = product()
    let uneven: BFloat16Probe.Product = { shape, a, b, c in
      try exact(shape, a, b, c)
      c[100 * shape.resultStride] = c[100 * shape.resultStride].nextUp
    }
    #expect(try BFloat16Probe.refusal(of: uneven)?.contains("place") == true)
    if !OneDNNProducts.processorHasBFloat16 { #expect(BFloat16Probe.refusal()?.contains("avx512_bf16") == true) }
  }
}
