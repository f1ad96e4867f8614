import CKernels
import TestSupport

extension KernelCheck {
  /// Of each shape, with short sides of 1, 5, 8 and 16: what is short is read and written in either order, beside gaps.
  static let skinny: [KernelCheck] = [
    KernelCheck("ck_few_columns") { shape, random, findings in
      for short in [1, 5, 8, Int(CK_SHORT_SIDE)] {
        let a = random.floats(shape.count), b = random.floats(shape.columns * short), old = random.floats(shape.rows * short)
        let product = NaiveKernels.multiply(a.doubles, b.doubles, m: shape.rows, k: shape.columns, n: short)
        let long = shape.spread(a)
        let cases: [(Strided, Float, Float)] = [
          (Strided(b, rows: shape.columns, columns: short), 1, 0), (Strided(turned: b, rows: shape.columns, columns: short), -0.5, 0.25),
        ]
        for (right, alpha, beta) in cases {
          let before = beta == 0 ? [Float](repeating: .nan, count: old.count) : old
          for result in [Strided(before, rows: shape.rows, columns: short), Strided(turned: before, rows: shape.rows, columns: short)] {
            ck_few_columns(
              shape.rows, short, shape.columns, alpha, long.base, shape.stride, right.memory.base, right.row, right.column, beta,
              result.memory.base, result.row, result.column)
            result.expect(product, alpha, beta, before, terms: shape.columns, "\(short) columns", &findings)
          }
        }
      }
    },
    KernelCheck("ck_few_rows") { shape, random, findings in
      for short in [1, 5, 8, Int(CK_SHORT_SIDE)] {
        let a = random.floats(shape.rows * short), b = random.floats(shape.count), old = random.floats(short * shape.columns)
        let product = NaiveKernels.multiply(
          NaiveKernels.transposed(a.doubles, rows: shape.rows, columns: short), b.doubles, m: short, k: shape.rows, n: shape.columns)
        let long = shape.spread(b)
        let cases: [(Strided, Float, Float)] = [
          (Strided(a, rows: shape.rows, columns: short), 1, 0), (Strided(turned: a, rows: shape.rows, columns: short), -0.5, 0.25),
        ]
        for (left, alpha, beta) in cases {
          let before = beta == 0 ? [Float](repeating: .nan, count: old.count) : old
          for result in [Strided(before, rows: short, columns: shape.columns), Strided(turned: before, rows: short, columns: shape.columns)] {
            ck_few_rows(
              short, shape.columns, shape.rows, alpha, left.memory.base, left.row, left.column, long.base, shape.stride, beta,
              result.memory.base, result.row, result.column)
            result.expect(product, alpha, beta, before, terms: shape.rows, "\(short) rows", &findings)
          }
        }
      }
    },
  ]
}

/// A matrix in memory with gaps, row by row or column by column.
private struct Strided {
  let memory: GuardedFloats
  let row: Int, column: Int
  private let rows: Int, columns: Int
  private var isTurned: Bool { column != 1 }

  init(_ values: [Float], rows: Int, columns: Int) {
    (self.rows, self.columns, row, column) = (rows, columns, columns + 3, 1)
    memory = values.isEmpty ? GuardedFloats([]) : GuardedFloats(values, columns: columns, stride: columns + 3)
  }

  /// - Parameter values: row by row.
  init(turned values: [Float], rows: Int, columns: Int) {
    (self.rows, self.columns, row, column) = (rows, columns, 1, rows + 3)
    let turned = NaiveKernels.transposed(values.doubles, rows: rows, columns: columns).map(Float.init)
    memory = turned.isEmpty ? GuardedFloats([]) : GuardedFloats(turned, columns: rows, stride: rows + 3)
  }

  func expect(
    _ product: [Double], _ alpha: Float, _ beta: Float, _ before: [Float], terms: Int, _ what: String, _ findings: inout Findings
  ) {
    if rows * columns == 0 { return }
    let expected = zip(product, before).map { Double(alpha) * $0 + (beta == 0 ? 0 : Double(beta) * Double($1)) }
    let shape = isTurned ? KernelCheck.Shape(rows: columns, columns: rows) : KernelCheck.Shape(rows: rows, columns: columns)
    findings.expect(
      memory, shape: shape, isTurned ? NaiveKernels.transposed(expected, rows: rows, columns: columns) : expected, relative: 1e-6,
      absolute: 1e-7 * Double(terms + 3), "\(what)\(isTurned ? ", turned" : ""), beta \(beta)")
  }
}
