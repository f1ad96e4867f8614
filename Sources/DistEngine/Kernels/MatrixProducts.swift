import COpenBLAS

/// Matrix products, by OpenBLAS; where the result has a short side by kernels of our own (`ShortSide`), unless both operands are turned. Shapes are checked once per call; empty products
/// are done here (BLAS leaves them undefined).
///
/// The result is cut into blocks, one for each thread of the current ``ThreadTeam``; the inner dimension never is, so that every element
/// is one thread's sum.
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

    func rows(_ range: Range<Int>) -> Operand {
      switch self {
      case .plain(let m): .plain(m.rows(range))
      case .transposed(let m): .transposed(m.columns(range))
      }
    }
    func columns(_ range: Range<Int>) -> Operand {
      switch self {
      case .plain(let m): .plain(m.columns(range))
      case .transposed(let m): .transposed(m.rows(range))
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
    if let short = ShortSide(a, b, into: c) { return short.multiply(alpha: alpha, beta: beta) }
    let team = ThreadTeam.current
    let grid = Grid(rows: c.rows, columns: c.columns, inner: a.columns, threads: team.count)
    team.forEach(grid.blocks) { block, _ in
      let (rows, columns) = grid[block]
      sgemm(a.rows(rows), b.columns(columns), into: c.rows(rows).columns(columns), alpha: alpha, beta: beta)
    }
  }

  static func sgemm(_ a: Operand, _ b: Operand, into c: Matrix, alpha: Float, beta: Float) {
    if c.rows == 0 || c.columns == 0 { return }
    _ = isOneThreadACall
    cblas_sgemm(
      CblasRowMajor, a.flag, b.flag, blasint(c.rows), blasint(c.columns), blasint(a.columns), alpha,
      a.matrix.base, blasint(a.matrix.stride), b.matrix.base, blasint(b.matrix.stride), beta, c.base, blasint(c.stride))
  }

  /// The lower triangle of `c[n,n] = a[n,k] · aᵀ + beta · c`; what stands above the diagonal is left alone.
  ///
  /// - Parameter columnsAtATime: of which products are added up before their sum is added to the others': fewer are slower and more exact.
  package static func gram(_ a: Matrix, into c: Matrix, beta: Float = 0, columnsAtATime: Int = .max) {
    precondition(c.rows == a.rows && c.columns == a.rows, "Gram matrix of \(a.rows) rows into \(c.rows)x\(c.columns)")
    if a.rows == 0 { return }
    if a.columns == 0 {
      for row in 0..<c.rows { scale(c.rows(row..<(row + 1)).columns(0..<(row + 1)), by: beta) }
      return
    }
    let step = min(columnsAtATime, a.columns)
    for first in stride(from: 0, to: a.columns, by: step) {
      gramOfAll(a.columns(first..<min(first + step, a.columns)), into: c, beta: first == 0 ? beta : 1)
    }
  }

  private static func gramOfAll(_ a: Matrix, into c: Matrix, beta: Float) {
    let team = ThreadTeam.current
    let bands = min(team.count, a.rows / smallestBlock, a.rows * a.rows * a.columns / smallestProduct)
    if bands <= 1 { return ssyrk(a, into: c, beta: beta) }
    team.forEach(bands) { band, _ in
      let rows = Triangle.band(band, of: bands, rows: a.rows, alignment: alignment)
      if rows.isEmpty { return }
      let (left, below) = (0..<rows.lowerBound, c.rows(rows))
      sgemm(.plain(a.rows(rows)), .transposed(a.rows(left)), into: below.columns(left), alpha: 1, beta: beta)
      ssyrk(a.rows(rows), into: below.columns(rows), beta: beta)
    }
  }

  private static func ssyrk(_ a: Matrix, into c: Matrix, beta: Float) {
    _ = isOneThreadACall
    cblas_ssyrk(
      CblasRowMajor, CblasLower, CblasNoTrans, blasint(a.rows), blasint(a.columns), 1, a.base, blasint(a.stride),
      beta, c.base, blasint(c.stride))
  }

  static func scale(_ c: Matrix, by beta: Float) {
    for row in 0..<c.rows {
      for column in 0..<c.columns { c[row, column] = beta == 0 ? 0 : beta * c[row, column] }
    }
  }

  /// The library's version and the processor it was tuned for.
  package static var libraryDescription: String { String(cString: openblas_get_config()) }

  /// Keeps OpenBLAS' own threads asleep: a call runs on the thread that makes it, and there are as many at a time as the team has threads.
  private static let isOneThreadACall: Void = openblas_set_num_threads(1)

  /// Blocks start at multiples of this many rows or columns: kernels work on tiles of 4 to 64.
  static let alignment = 16
  /// Rows or columns below which a block isn't worth a thread.
  static let smallestBlock = 32
  /// Multiplications below which it isn't, some ten microseconds' worth.
  static let smallestProduct = 1 << 19

  /// How a product is cut. Each block reads its rows of `a` and its columns of `b` on its own: the sum of both is kept small.
  private struct Grid {
    private let rows: Int, columns: Int
    private var down = 1, across = 1

    init(rows: Int, columns: Int, inner: Int, threads: Int) {
      (self.rows, self.columns) = (rows, columns)
      let worthwhile = max(1, min(threads, rows * columns * inner / smallestProduct))
      var least = Int.max
      for down in 1...worthwhile where down == 1 || rows / down >= smallestBlock {
        let across = min(worthwhile / down, max(1, columns / smallestBlock))
        let cost = (rows + down - 1) / down + (columns + across - 1) / across
        if down * across > blocks || down * across == blocks && cost < least {
          (self.down, self.across, least) = (down, across, cost)
        }
      }
    }

    var blocks: Int { down * across }

    subscript(block: Int) -> (rows: Range<Int>, columns: Range<Int>) {
      (
        ThreadTeam.range(block / across, of: down, count: rows, alignment: alignment),
        ThreadTeam.range(block % across, of: across, count: columns, alignment: alignment)
      )
    }
  }
}

/// The lower triangle of a square matrix, cut into bands of rows of about the same area.
enum Triangle {
  static func band(_ band: Int, of bands: Int, rows: Int, alignment: Int) -> Range<Int> {
    let bound = { (band: Int) -> Int in
      let part = (Double(band) / Double(bands)).squareRoot()
      return band == bands ? rows : min(rows, Int((part * Double(rows) / Double(alignment)).rounded()) * alignment)
    }
    return bound(band)..<bound(band + 1)
  }
}
