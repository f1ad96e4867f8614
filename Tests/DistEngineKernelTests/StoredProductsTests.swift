import DistEngine
import Foundation
import TestSupport
import Testing

/// Products with matrices of 16-bit floats, beside those with the same numbers as floats.
@Suite struct StoredProductsTests {
  struct Shape: Sendable, CustomStringConvertible {
    let m: Int, k: Int, n: Int
    var description: String { "\(m)x\(k) · \(k)x\(n)" }
    /// One tile: then the product is one of floats.
    var isOneTile: Bool { k <= WideningTiles.inner && n <= WideningTiles.columns }
  }

  static let shapes: [Shape] =
    [0, 1, 3].flatMap { m in [0, 1, 17, 256].flatMap { k in [0, 1, 15, 33].map { Shape(m: m, k: k, n: $0) } } }
    + [Shape(m: 5, k: 257, n: 513), Shape(m: 33, k: 1003, n: 7), Shape(m: 1, k: 513, n: 1030), Shape(m: 64, k: 255, n: 600), Shape(m: 2, k: 300, n: 300)]

  @Test(arguments: shapes, [NarrowFloat.bfloat16, .float16]) func equalThoseOfFloats(shape: Shape, type: NarrowFloat) {
    let (m, k, n) = (shape.m, shape.k, shape.n)
    var random = TestRandom(seed: UInt64(m * 10_007 + k * 101 + n))
    let a = random.floats(m * k), before = random.floats(m * n)
    // Subnormal numbers among them.
    let weights = random.floats(k * n).enumerated().map { $0 % 7 == 3 ? $1 * 3e-7 : $1 }
    let name = type == .bfloat16 ? "BF16" : "F16"
    let stored = weights.flatMap { StoredModel.bytes($0, name) }
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: stored.count + 1, alignment: 64)
    defer { bytes.deallocate() }
    bytes.advanced(by: 1).copyMemory(from: stored, byteCount: stored.count)
    let aMemory = GuardedFloats(a)
    let left = Matrix(aMemory.base, rows: m, columns: k)
    for isTransposed in [false, true] {
      let (rows, columns) = isTransposed ? (n, k) : (k, n)
      let narrow = NarrowMatrix(bytes + 1, type, rows: rows, columns: columns)
      let wide = AlignedBuffer<Float>(count: k * n)
      narrow.widen(into: Matrix(wide.base, rows: rows, columns: columns))
      let floats = Matrix(wide.base, rows: rows, columns: columns)
      for beta: Float in [0, 1] {
        let old = beta == 0 ? [Float](repeating: .nan, count: m * n) : before
        let expected = GuardedFloats(old)
        MatrixProducts.multiply(
          .plain(left), isTransposed ? .transposed(floats) : .plain(floats), into: Matrix(expected.base, rows: m, columns: n), beta: beta)
        for threads in [1, 2, 3] {
          let found = GuardedFloats(old)
          let tiles = AlignedBuffer<Float>(count: threads * WideningTiles.count)
          tiles.elements.update(repeating: .nan)
          ThreadTeam(count: threads).use {
            MatrixProducts.multiply(
              .plain(left), isTransposed ? .transposed(.narrow(narrow)) : .plain(.narrow(narrow)), into: Matrix(found.base, rows: m, columns: n),
              beta: beta, tiles: WideningTiles(tiles.elements))
          }
          let what = "\(type), transposed \(isTransposed), beta \(beta), \(threads) threads"
          #expect(found.sentinelsAreIntact)
          if shape.isOneTile && threads == 1 { #expect(found.values.map(\.bitPattern) == expected.values.map(\.bitPattern), "\(what)") }
          let mismatch = Mismatch.between(found.values.doubles, expected.values.doubles, relative: 1e-6, absolute: 1e-7 * Double(k + 3))
          #expect(mismatch == nil, "\(what): \(mismatch!)")
        }
      }
    }
    withExtendedLifetime(aMemory) {}
  }

  @Test(arguments: [1, 3]) func embeddingsAreTheRowsThemselves(threads: Int) {
    let (rows, width, vocabulary) = (700, 37, 11)
    var random = TestRandom(seed: 5)
    let table = random.floats(vocabulary * width)
    let stored = table.flatMap { StoredModel.bytes($0, "BF16") }
    let wide = AlignedBuffer<Float>(count: table.count)
    let positions = AlignedBuffer<Float>(count: 20 * width)
    _ = positions.elements.update(fromContentsOf: random.floats(20 * width))
    let (tokens, places) = (random.indices(rows, below: vocabulary), random.indices(rows, below: 20))
    stored.withUnsafeBytes { bytes in
      let narrow = NarrowMatrix(bytes.baseAddress!, .bfloat16, rows: vocabulary, columns: width)
      let floats = Matrix(wide.base, rows: vocabulary, columns: width)
      narrow.widen(into: floats)
      ThreadTeam(count: threads).use {
        tokens.withUnsafeBufferPointer { tokens in
          places.withUnsafeBufferPointer { places in
            for positions in [nil, Matrix(positions.base, rows: 20, columns: width)] {
              let (expected, found) = (AlignedBuffer<Float>(count: rows * width), AlignedBuffer<Float>(count: rows * width))
              for (table, x) in [(StoredMatrix.floats(floats), expected), (.narrow(narrow), found)] {
                RowKernels.embed(tokens: tokens, positions: places, tokenTable: table, positionTable: positions, into: Matrix(x.base, rows: rows, columns: width))
              }
              #expect(found.elements.elementsEqual(expected.elements))
            }
          }
        }
      }
    }
  }
}
