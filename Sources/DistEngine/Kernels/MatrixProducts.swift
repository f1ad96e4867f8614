import COpenBLAS

/// Matrix products, by OpenBLAS. Shapes are checked once per call; empty products are done here (BLAS leaves them undefined).
package enum MatrixProducts {
  /// The processor family that OpenBLAS' kernels are for: `SkylakeX`, `Haswell`, … (see CKernels/openblas_choice.c).
  package static var kernelFamily: String { String(cString: openblas_get_corename()) }

  package enum Operand {
    case plain(Matrix)
    case transposed(Matrix)

    var matrix: Matrix {
      switch self {
      case .plain(let m), .transposed(let m): m
      }
    }
    var rows: Int {
      switch self {
      case .plain(let m): m.rows;
      case .transposed(let m): m.columns
      }
    }
    var columns: Int {
      switch self {
      case .plain(let m): m.columns;
      case .transposed(let m): m.rows
      }
    }
    var flag: CBLAS_TRANSPOSE {
      switch self {
      case .plain: CblasNoTrans;
      case .transposed: CblasTrans
      }
    }
  }

  /// `c[m,n] = alpha · a[m,k] · b[k,n] + beta · c`. With `beta` 0, `c` is overwritten whatever it held (also NaN).
  package static func multiply(
    _ a: Operand, _ b: Operand, into c: Matrix, alpha: Float = 1, beta: Float = 0
  ) {
    precondition(
      a.columns == b.rows && a.rows == c.rows && b.columns == c.columns,
      "product of \(a.rows)x\(a.columns) and \(b.rows)x\(b.columns) into \(c.rows)x\(c.columns)")
    if c.rows == 0 || c.columns == 0 { return }
    if a.columns == 0 {
      scale(c, by: beta)
      return
    }
    cblas_sgemm(
      CblasRowMajor, a.flag, b.flag, blasint(c.rows), blasint(c.columns), blasint(a.columns), alpha,
      a.matrix.base, blasint(a.matrix.stride), b.matrix.base, blasint(b.matrix.stride), beta, c.base, blasint(c.stride))
  }

  /// The lower triangle of `c[n,n] = a[n,k] · aᵀ + beta · c`; what stands above the diagonal is left alone.
  package static func gram(_ a: Matrix, into c: Matrix, beta: Float = 0) {
    precondition(c.rows == a.rows && c.columns == a.rows, "Gram matrix of \(a.rows) rows into \(c.rows)x\(c.columns)")
    if a.rows == 0 { return }
    if a.columns == 0 {
      for row in 0..<c.rows { scale(c.rows(row..<(row + 1)).columns(0..<(row + 1)), by: beta) }
      return
    }
    cblas_ssyrk(
      CblasRowMajor, CblasLower, CblasNoTrans, blasint(a.rows), blasint(a.columns), 1, a.base, blasint(a.stride),
      beta, c.base, blasint(c.stride))
  }

  private static func scale(_ c: Matrix, by beta: Float) {
    for row in 0..<c.rows {
      for column in 0..<c.columns { c[row, column] = beta == 0 ? 0 : beta * c[row, column] }
    }
  }

  /// The library's version and the processor it was tuned for.
  package static var libraryDescription: String { String(cString: openblas_get_config()) }

  /// Threads that a matrix product may use. One until a rank is told otherwise: the ranks share the machine's cores.
  package static func setThreadCount(_ count: Int) { openblas_set_num_threads(Int32(count)) }
}
