/// Tensors that share one run of memory, by index: the parameters, the gradient sum, one example's gradients.
package struct TensorSlab {
  /// Where a tensor lies: a vector is a matrix of one row.
  package struct Extent: Sendable {
    package let offset: Int
    package let rows: Int
    package let columns: Int
    package var count: Int { rows * columns }

    package init(offset: Int, rows: Int, columns: Int) {
      self.offset = offset
      self.rows = rows
      self.columns = columns
    }
  }

  package let base: UnsafeMutablePointer<Float>
  package let extents: [Extent]

  package init(_ base: UnsafeMutablePointer<Float>, extents: [Extent]) {
    self.base = base
    self.extents = extents
  }

  package func vector(_ tensor: Int) -> Vector {
    Vector(start: base + extents[tensor].offset, count: extents[tensor].count)
  }

  package func matrix(_ tensor: Int) -> Matrix {
    Matrix(base + extents[tensor].offset, rows: extents[tensor].rows, columns: extents[tensor].columns)
  }

  /// Floats from the slab's start.
  package func range(of tensor: Int) -> Range<Int> {
    extents[tensor].offset..<extents[tensor].offset + extents[tensor].count
  }

  /// All tensors: they lie one behind the other.
  package var all: Vector {
    Vector(start: base, count: extents.reduce(0) { $0 + $1.count })
  }
}
