import CKernels
import Foundation

/// Products whose operands are rounded to bfloat16 (to nearest even), with sums in float32.
///
/// What a row of the result is hangs on that row of the left operand and on the right one alone, to the bit: not on how many rows there are, on its
/// place among them, or on threads. Every product is one of tiles: ``rows`` rows, the last ones filled up with 0, by ``columns`` columns and ``inner``
/// terms of the whole, and each has the same call of the library. Without that a record more in a microbatch could change the last bit of another
/// record's activation, the next rounding would make 2⁻⁸ of it, and the sum of gradients would depend on one record by more than the record's own part.
package struct BFloat16Products {
  package static let rows = 128
  package static let columns = 256
  package static let inner = 512

  /// Floats of memory that products of so many rows take in so many threads: the left operand's part, and each thread's own.
  package static func floatCount(rows: Int, threads: Int) -> Int { paddedRows(rows) * inner / 2 + threads * floatsOfThread }

  /// A tile of the right operand, and one of the result.
  private static let floatsOfThread = inner * columns / 2 + rows * columns
  private static func paddedRows(_ count: Int) -> Int { (count + rows - 1) / rows * rows }

  private let library: BFloat16Library
  private let left: UnsafeMutablePointer<UInt16>
  private let mostRows: Int
  private let threads: [OneThread]

  private struct OneThread {
    let right: UnsafeMutablePointer<UInt16>
    let result: UnsafeMutablePointer<Float>
    let products: OneDNNProducts
  }

  /// - Parameter memory: as ``floatCount(rows:threads:)`` says.
  package init(_ library: BFloat16Library, rows: Int, threads: Int, memory: Vector) {
    precondition(memory.count >= Self.floatCount(rows: rows, threads: threads), "\(memory.count) floats for products of \(rows) rows")
    self.library = library
    mostRows = Self.paddedRows(rows)
    let start = memory.baseAddress!
    left = UnsafeMutableRawPointer(start).assumingMemoryBound(to: UInt16.self)
    let own = start + mostRows * Self.inner / 2
    self.threads = (0..<threads).map { thread in
      let place = own + thread * Self.floatsOfThread
      return OneThread(
        right: UnsafeMutableRawPointer(place).assumingMemoryBound(to: UInt16.self), result: place + Self.inner * Self.columns / 2,
        products: OneDNNProducts(.bfloat16))
    }
  }

  /// `c[m,n] = (alpha · a[m,k]) · b[k,n]`, or added to c; the left operand is rounded with its factor.
  package func multiply(_ a: Matrix, _ b: MatrixProducts.StoredOperand, into c: Matrix, alpha: Float = 1, adding: Bool) {
    let right = RightOperand(b)
    precondition(
      a.columns == right.inner && a.rows == c.rows && right.columns == c.columns,
      "product of \(a.rows)x\(a.columns) and \(right.inner)x\(right.columns) into \(c.rows)x\(c.columns)")
    precondition(a.rows <= mostRows, "a product of \(a.rows) rows in memory for \(mostRows)")
    if c.rows == 0 || c.columns == 0 { return }
    if right.inner == 0 { return MatrixProducts.scale(c, by: adding ? 1 : 0) }
    let team = ThreadTeam.current
    precondition(team.count <= threads.count, "memory of \(threads.count) threads for \(team.count)")
    let (blocks, across) = (Self.paddedRows(a.rows) / Self.rows, (c.columns + Self.columns - 1) / Self.columns)
    // Rows are divided, too, where the columns' tiles are too few: each part rounds its tile for itself.
    let down = team.count == 1 ? 1 : min(blocks, max(1, 2 * team.count / across))
    for start in stride(from: 0, to: right.inner, by: Self.inner) {
      let k = start..<min(start + Self.inner, right.inner)
      team.forEach(blocks) { block, _ in round(a.columns(k), block: block, factor: alpha) }
      team.forEach(across * down) { item, thread in
        let n = item % across * Self.columns..<min((item % across + 1) * Self.columns, c.columns)
        let tile = right.tile(k, n, own: threads[thread])
        for block in ThreadTeam.range(item / across, of: down, count: blocks, alignment: 1) {
          multiply(block, tile, thread: threads[thread])
          let rows = block * Self.rows..<min((block + 1) * Self.rows, c.rows)
          let target = c.rows(rows).columns(n)
          ck_take_rows(rows.count, n.count, threads[thread].result, Self.columns, adding || start > 0 ? 1 : 0, target.base, target.stride)
        }
      }
    }
  }

  /// Writes a block of the left operand, with rows of 0 behind the last.
  private func round(_ a: Matrix, block: Int, factor: Float) {
    let rows = block * Self.rows..<min((block + 1) * Self.rows, a.rows)
    let target = left + rows.lowerBound * Self.inner
    ck_round_bf16(rows.count, a.columns, a.rows(rows).base, a.stride, factor, target, Self.inner)
    (target + rows.count * Self.inner).update(repeating: 0, count: (Self.rows - rows.count) * Self.inner)
  }

  private func multiply(_ block: Int, _ tile: Tile, thread: OneThread) {
    let left = left + block * Self.rows * Self.inner
    switch library {
    case .oneDNN:
      let shape = OneDNNProducts.Shape(
        rows: Self.rows, columns: tile.columns, inner: tile.inner, isTransposed: tile.isTransposed, leftStride: Self.inner, rightStride: tile.stride,
        resultStride: Self.columns)
      do {
        try thread.products.multiply(shape, left, tile.base, into: thread.result)
      } catch {
        // The same calls were made when the run was set up: this is no state to go on from. A launcher ends the other ranks.
        StandardError.write(line: "Error: a bfloat16 product failed: \(error); --precision f32 does without")
        _exit(ExitStatus.internalError)
      }
    case .emulated: Self.emulate(left, tile, into: thread.result)
    }
  }

  private static func emulate(_ left: UnsafeMutablePointer<UInt16>, _ tile: Tile, into result: UnsafeMutablePointer<Float>) {
    let a = AlignedBuffer<Float>(count: rows * tile.inner)
    let b = AlignedBuffer<Float>(count: tile.inner * tile.columns)
    let wideA = Matrix(a.base, rows: rows, columns: tile.inner)
    NarrowMatrix(left, .bfloat16, rows: rows, columns: tile.inner, stride: inner).widen(into: wideA)
    let shape = tile.isTransposed ? (tile.columns, tile.inner) : (tile.inner, tile.columns)
    let wideB = Matrix(b.base, rows: shape.0, columns: shape.1)
    NarrowMatrix(tile.base, .bfloat16, rows: shape.0, columns: shape.1, stride: tile.stride).widen(into: wideB)
    let c = Matrix(result, rows: rows, columns: tile.columns, stride: columns)
    // A row at a time: OpenBLAS' kernels add up in another order at some places of a block than at others.
    for row in 0..<rows {
      MatrixProducts.sgemm(
        .plain(wideA.rows(row..<row + 1)), tile.isTransposed ? .transposed(wideB) : .plain(wideB), into: c.rows(row..<row + 1), alpha: 1, beta: 0)
    }
    withExtendedLifetime((a, b)) {}
  }

  /// A part of the right operand, in bfloat16.
  private struct Tile {
    let base: UnsafeRawPointer
    let isTransposed: Bool
    let inner, columns, stride: Int
  }

  private struct RightOperand {
    let matrix: StoredMatrix
    let isTransposed: Bool

    init(_ operand: MatrixProducts.StoredOperand) {
      switch operand {
      case .plain(let m): (matrix, isTransposed) = (m, false)
      case .transposed(let m): (matrix, isTransposed) = (m, true)
      }
    }

    var inner: Int { isTransposed ? matrix.columns : matrix.rows }
    var columns: Int { isTransposed ? matrix.rows : matrix.columns }

    /// What a file has in BF16 is taken from where it lies, unless that is an odd byte; everything else is rounded into the thread's memory.
    func tile(_ k: Range<Int>, _ n: Range<Int>, own: OneThread) -> Tile {
      let (rows, columns) = isTransposed ? (n, k) : (k, n)
      let stride: Int
      switch matrix {
      case .floats(let m):
        stride = columns.count
        let part = m.rows(rows).columns(columns)
        ck_round_bf16(part.rows, part.columns, part.base, part.stride, 1, own.right, stride)
      case .narrow(let m):
        let part = m.block(rows, columns)
        if m.type == .bfloat16, UInt(bitPattern: part.base) % UInt(NarrowFloat.byteCount) == 0 {
          return Tile(base: part.base, isTransposed: isTransposed, inner: k.count, columns: n.count, stride: part.stride)
        }
        stride = columns.count
        // Widening is exact, and so is rounding what was BF16 before.
        for row in 0..<part.rows {
          let line = Matrix(own.result, rows: 1, columns: part.columns)
          part.block(row..<row + 1, 0..<part.columns).widen(into: line)
          ck_round_bf16(1, part.columns, line.base, part.columns, 1, own.right + row * stride, stride)
        }
      }
      return Tile(base: own.right, isTransposed: isTransposed, inner: k.count, columns: n.count, stride: stride)
    }
  }
}
