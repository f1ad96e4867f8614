import DistEngine
import Foundation
import TestSupport
import Testing

@Suite("Matrix products")
struct MatrixProductsTests {
  struct Shape: Sendable, CustomStringConvertible {
    let m: Int, k: Int, n: Int
    var description: String { "\(m)x\(k) · \(k)x\(n)" }
  }

  static let shapes: [Shape] =
    [0, 1, 2, 15, 16, 17].flatMap { m in [0, 1, 16, 33].flatMap { k in [0, 1, 15, 17].map { Shape(m: m, k: k, n: $0) } } }
    + [Shape(m: 101, k: 1003, n: 7), Shape(m: 64, k: 64, n: 64), Shape(m: 1, k: 1003, n: 130)]
    + [Shape(m: 8, k: 513, n: 530), Shape(m: 530, k: 513, n: 16), Shape(m: 530, k: 20, n: 3)]

  /// The matrix, of the given values, in memory with a gap of `gap` floats after each row.
  private func matrix(_ values: [Float], rows: Int, columns: Int, gap: Int) -> (GuardedFloats, Matrix) {
    let memory = columns == 0 ? GuardedFloats([]) : GuardedFloats(values, columns: columns, stride: columns + gap)
    return (memory, Matrix(memory.base, rows: rows, columns: columns, stride: columns + gap))
  }

  @Test(arguments: shapes, [0, 5]) func everyTransposition(shape: Shape, gap: Int) {
    let (m, k, n) = (shape.m, shape.k, shape.n)
    var random = TestRandom(seed: UInt64(m * 10_007 + k * 101 + n))
    let a = random.floats(m * k), b = random.floats(k * n), before = random.floats(m * n)
    let product = NaiveKernels.multiply(a.doubles, b.doubles, m: m, k: k, n: n)
    let (aMemory, plainA) = matrix(a, rows: m, columns: k, gap: gap)
    let (bMemory, plainB) = matrix(b, rows: k, columns: n, gap: gap)
    let (aTMemory, turnedA) = matrix(
      NaiveKernels.transposed(a.doubles, rows: m, columns: k).map(Float.init), rows: k, columns: m, gap: gap)
    let (bTMemory, turnedB) = matrix(
      NaiveKernels.transposed(b.doubles, rows: k, columns: n).map(Float.init), rows: n, columns: k, gap: gap)

    for (name, left, right) in [
      ("a b", MatrixProducts.Operand.plain(plainA), MatrixProducts.Operand.plain(plainB)),
      ("aᵀ b", .transposed(turnedA), .plain(plainB)),
      ("a bᵀ", .plain(plainA), .transposed(turnedB)),
      ("aᵀ bᵀ", .transposed(turnedA), .transposed(turnedB)),
    ] {
      // With beta 0 the result's memory may hold NaN.
      for (alpha, beta, old) in [
        (Float(1), Float(0), [Float](repeating: .nan, count: m * n)), (1, 1, before), (-0.5, 0.25, before),
      ] {
        let (cMemory, c) = matrix(old, rows: m, columns: n, gap: gap)
        MatrixProducts.multiply(left, right, into: c, alpha: alpha, beta: beta)
        let expected = zip(product, old).map { Double(alpha) * $0 + (beta == 0 ? 0 : Double(beta) * Double($1)) }
        let actual = n == 0 ? [] : cMemory.rows(columns: n, stride: n + gap)
        let mismatch = Mismatch.between(actual, expected, relative: 1e-6, absolute: 1e-7 * Double(k + 3))
        #expect(mismatch == nil, "\(name), alpha \(alpha), beta \(beta): \(mismatch!)")
        #expect(cMemory.sentinelsAreIntact && cMemory.gapsAreIntact(columns: n, stride: n + gap))
      }
    }
    withExtendedLifetime((aMemory, bMemory, aTMemory, bTMemory)) {}
  }

  @Test(arguments: [(0, 3), (1, 1), (1, 0), (3, 0), (15, 16), (16, 1003), (17, 5), (65, 33)])
  func gramFillsTheLowerTriangleAlone(n: Int, k: Int) {
    var random = TestRandom(seed: UInt64(n + 100 * k))
    let a = random.floats(n * k), before = random.floats(n * n)
    let (aMemory, matrixA) = matrix(a, rows: n, columns: k, gap: 2)
    let product = NaiveKernels.multiply(
      a.doubles, NaiveKernels.transposed(a.doubles, rows: n, columns: k), m: n, k: k, n: n)
    for beta: Float in [0, 1] {
      let old = beta == 0 ? [Float](repeating: .nan, count: n * n) : before
      let (cMemory, c) = matrix(old, rows: n, columns: n, gap: 3)
      MatrixProducts.gram(matrixA, into: c, beta: beta)
      var expected = old.doubles
      for t in 0..<n { for s in 0...t { expected[t * n + s] = product[t * n + s] + (beta == 0 ? 0 : Double(old[t * n + s])) } }
      let mismatch = Mismatch.between(
        n == 0 ? [] : cMemory.rows(columns: n, stride: n + 3), expected, relative: 1e-6, absolute: 1e-7 * Double(k + 3))
      #expect(mismatch == nil, "beta \(beta): \(mismatch!)")
      #expect(cMemory.sentinelsAreIntact && cMemory.gapsAreIntact(columns: n, stride: n + 3))
    }
    withExtendedLifetime(aMemory) {}
  }

  /// Of a product with a short side, the long one is what threads share: no element is another sum for it.
  @Test(arguments: [1, 8, 16], [0, 3]) func aShortSideIsTheSameOnAnyThreads(short: Int, gap: Int) {
    let (long, inner) = (1003, 1200)
    var random = TestRandom(seed: UInt64(short))
    func operand(_ rows: Int, _ columns: Int) -> (memory: GuardedFloats, matrix: Matrix) {
      let (memory, matrix) = matrix(random.floats(rows * columns), rows: rows, columns: columns, gap: gap)
      return (memory, matrix)
    }
    let wide = operand(long, inner), turnedWide = operand(inner, long), narrow = operand(inner, short), turnedNarrow = operand(short, inner)
    let products: [(MatrixProducts.Operand, MatrixProducts.Operand)] = [
      (.plain(wide.matrix), .plain(narrow.matrix)), (.plain(wide.matrix), .transposed(turnedNarrow.matrix)),
      (.transposed(turnedWide.matrix), .plain(narrow.matrix)), (.plain(turnedNarrow.matrix), .transposed(wide.matrix)),
      (.plain(turnedNarrow.matrix), .plain(turnedWide.matrix)), (.transposed(narrow.matrix), .plain(turnedWide.matrix)),
    ]
    func results(_ threads: Int) -> [[Float]] {
      let team = ThreadTeam(count: threads)
      return products.enumerated().map { index, operands in
        let (rows, columns) = index < 3 ? (long, short) : (short, long)
        let (memory, result) = matrix([Float](repeating: .nan, count: rows * columns), rows: rows, columns: columns, gap: gap)
        team.use { MatrixProducts.multiply(operands.0, operands.1, into: result) }
        #expect(memory.sentinelsAreIntact && memory.gapsAreIntact(columns: columns, stride: columns + gap))
        return memory.rows(columns: columns, stride: columns + gap)
      }
    }
    let alone = results(1)
    #expect(alone.allSatisfy { $0.allSatisfy(\.isFinite) })
    for threads in [2, 3] { #expect(results(threads) == alone) }
    withExtendedLifetime((wide, turnedWide, narrow, turnedNarrow)) {}
  }

  /// An old OpenBLAS takes a new processor for one of 2004, and is six times slower.
  @Test func theKernelsAreThoseOfThisProcessor() {
    #expect(!MatrixProducts.kernelFamily.isEmpty)
    #if arch(x86_64) && os(Linux)
      let flags = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
      if flags.contains(" avx2 ") && flags.contains(" fma ") { #expect(MatrixProducts.kernelFamily != "Prescott") }
    #endif
  }
}
