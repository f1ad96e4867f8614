import CKernels

extension MatrixProducts {
  /// A product whose result has at most sixteen columns or rows: an adapter's (its rank), those of a short record's attention, a classifier's.
  ///
  /// A library's product copies its operands into an order of its own first, the long one for as few uses as the short side has: up to 40% of its time at
  /// rank 8 (docs/performance.md). The kernels read the long operand once, where it is.
  struct ShortSide {
    private enum Course {
      /// `a` in rows, whose products with every column of `b` stay in lanes.
      case columns
      /// Rows of both, each of `a` times its own of `b`, added up: `aᵀ b`.
      case rows
    }

    /// A matrix of any order: element (i, j) lies `i · row + j · column` floats behind the first.
    private struct Strided {
      let base: UnsafeMutablePointer<Float>
      let row: Int, column: Int

      init(_ matrix: Matrix) { (base, row, column) = (matrix.base, matrix.stride, 1) }
      init(turned matrix: Matrix) { (base, row, column) = (matrix.base, 1, matrix.stride) }
    }

    private let course: Course
    /// The operand that is read where it lies, row by row.
    private let long: Matrix
    private let short: Strided
    private let result: Strided
    /// Of the result: its short and its long side.
    private let few, many: Int
    private let inner: Int

    static let most = Int(CK_SHORT_SIDE)

    /// nil: no side of the result is short, or the long operand doesn't lie in rows of what is read in a row.
    init?(_ a: Operand, _ b: Operand, into c: Matrix) {
      inner = a.columns
      if c.columns <= Self.most {
        (few, many, result) = (c.columns, c.rows, Strided(c))
        switch (a, b) {
        case (.plain(let a), .plain(let b)): (course, long, short) = (.columns, a, Strided(b))
        case (.plain(let a), .transposed(let b)): (course, long, short) = (.columns, a, Strided(turned: b))
        case (.transposed(let a), .plain(let b)): (course, long, short) = (.rows, a, Strided(b))
        case (.transposed, .transposed): return nil
        }
      } else if c.rows <= Self.most {
        (few, many, result) = (c.rows, c.columns, Strided(turned: c))
        switch (a, b) {
        case (.plain(let a), .transposed(let b)): (course, long, short) = (.columns, b, Strided(turned: a))
        case (.plain(let a), .plain(let b)): (course, long, short) = (.rows, b, Strided(turned: a))
        case (.transposed(let a), .plain(let b)): (course, long, short) = (.rows, b, Strided(a))
        case (.transposed, .transposed): return nil
        }
      } else {
        return nil
      }
    }

    /// - Precondition: no side is 0.
    func multiply(alpha: Float, beta: Float) {
      let team = ThreadTeam.current
      let parts = max(1, min(team.count, many / smallestBlock, many * few * inner / smallestProduct))
      team.forEach(parts) { part, _ in
        let own = ThreadTeam.range(part, of: parts, count: many, alignment: alignment)
        if own.isEmpty { return }
        let c = result.base + own.lowerBound * result.row
        switch course {
        case .columns:
          let a = long.rows(own)
          ck_few_columns(
            own.count, few, inner, alpha, a.base, a.stride, short.base, short.row, short.column, beta, c, result.row, result.column)
        case .rows:
          let b = long.columns(own)
          ck_few_rows(
            few, own.count, inner, alpha, short.base, short.row, short.column, b.base, b.stride, beta, c, result.column, result.row)
        }
      }
    }
  }
}
