/// A view of a row-major matrix of `Float`: it owns nothing, its memory belongs to a buffer that outlives it.
///
/// Row `r` starts `r * stride` floats after `base`.
package struct Matrix {
  package let base: UnsafeMutablePointer<Float>
  package let rows: Int
  package let columns: Int
  package let stride: Int

  package init(_ base: UnsafeMutablePointer<Float>, rows: Int, columns: Int, stride: Int? = nil) {
    let stride = stride ?? columns
    precondition(rows >= 0 && columns >= 0 && stride >= columns, "a matrix of \(rows) x \(columns), stride \(stride)")
    self.base = base
    self.rows = rows
    self.columns = columns
    self.stride = stride
  }

  /// Rows `range`, all columns.
  package func rows(_ range: Range<Int>) -> Matrix {
    precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of \(rows)")
    return Matrix(base + range.lowerBound * stride, rows: range.count, columns: columns, stride: stride)
  }

  /// Columns `range` of every row.
  package func columns(_ range: Range<Int>) -> Matrix {
    precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of \(columns)")
    return Matrix(base + range.lowerBound, rows: rows, columns: range.count, stride: stride)
  }

  package var isContiguous: Bool { stride == columns || rows <= 1 }

  /// All elements of a matrix without gaps between its rows.
  package var elements: UnsafeMutableBufferPointer<Float> {
    precondition(isContiguous, "a matrix with gaps between its rows has no elements in one piece")
    return UnsafeMutableBufferPointer(start: base, count: rows * columns)
  }

  /// Writes another's elements.
  package func update(from other: Matrix) {
    precondition(rows == other.rows && columns == other.columns, "\(other.rows) x \(other.columns) into \(rows) x \(columns)")
    for row in 0..<rows { (base + row * stride).update(from: other.base + row * other.stride, count: columns) }
  }

  package subscript(row: Int, column: Int) -> Float {
    get { base[row * stride + column] }
    nonmutating set { base[row * stride + column] = newValue }
  }
}

/// A view of consecutive floats, owned elsewhere.
package typealias Vector = UnsafeMutableBufferPointer<Float>
