/// Memory in which narrow matrices are widened, one tile for each thread.
package struct WideningTiles {
  /// Columns of a product's result, and terms of its sums, that a tile is for. With these sgemm's own copies of its operands cost it no more than
  /// they do in one piece, and the tile stays in the second-level cache until it is used: 512 KB.
  package static let columns = 512
  package static let inner = 256
  /// Floats of a tile.
  package static let count = columns * inner

  private let tiles: Vector

  /// - Parameter tiles: `[threads · count]`.
  package init(_ tiles: Vector) { self.tiles = tiles }

  fileprivate func tile(ofThread thread: Int, rows: Int, columns: Int) -> Matrix {
    precondition((thread + 1) * Self.count <= tiles.count, "tiles of \(tiles.count) floats for thread \(thread)")
    return Matrix(tiles.baseAddress! + thread * Self.count, rows: rows, columns: columns)
  }
}

extension MatrixProducts {
  /// The right operand of a product, as it is stored or turned over.
  package enum StoredOperand {
    case plain(StoredMatrix)
    case transposed(StoredMatrix)
  }

  /// `c[m,n] = alpha · a[m,k] · b[k,n] + beta · c`, the products being those of floats, whatever b is stored as: of narrow elements a tile at a time is widened.
  ///
  /// - Parameter tiles: for as many threads as the current team has; of floats not used.
  package static func multiply(_ a: Operand, _ b: StoredOperand, into c: Matrix, alpha: Float = 1, beta: Float = 0, tiles: WideningTiles?) {
    let narrow: NarrowMatrix
    let isTransposed: Bool
    switch b {
    case .plain(.floats(let m)): return multiply(a, .plain(m), into: c, alpha: alpha, beta: beta)
    case .transposed(.floats(let m)): return multiply(a, .transposed(m), into: c, alpha: alpha, beta: beta)
    case .plain(.narrow(let m)): (narrow, isTransposed) = (m, false)
    case .transposed(.narrow(let m)): (narrow, isTransposed) = (m, true)
    }
    let (inner, columns) = isTransposed ? (narrow.columns, narrow.rows) : (narrow.rows, narrow.columns)
    precondition(
      a.columns == inner && a.rows == c.rows && columns == c.columns,
      "product of \(a.rows)x\(a.columns) and \(inner)x\(columns) into \(c.rows)x\(c.columns)")
    if c.rows == 0 || c.columns == 0 { return }
    if inner == 0 { return scale(c, by: beta) }
    guard let tiles else { preconditionFailure("no memory to widen a matrix in") }
    // Parts of columns alone: of rows, each thread would widen all of the matrix.
    let team = ThreadTeam.current
    let parts = max(1, min(team.count, columns / smallestBlock, c.rows * columns * inner / smallestProduct))
    team.forEach(parts) { part, thread in
      let own = ThreadTeam.range(part, of: parts, count: columns, alignment: alignment)
      for first in stride(from: own.lowerBound, to: own.upperBound, by: WideningTiles.columns) {
        let n = first..<min(first + WideningTiles.columns, own.upperBound)
        for start in stride(from: 0, to: inner, by: WideningTiles.inner) {
          let k = start..<min(start + WideningTiles.inner, inner)
          let block = isTransposed ? narrow.block(n, k) : narrow.block(k, n)
          let tile = tiles.tile(ofThread: thread, rows: block.rows, columns: block.columns)
          block.widen(into: tile)
          multiply(a.columns(k), isTransposed ? .transposed(tile) : .plain(tile), into: c.columns(n), alpha: alpha, beta: start == 0 ? beta : 1)
        }
      }
    }
  }
}
