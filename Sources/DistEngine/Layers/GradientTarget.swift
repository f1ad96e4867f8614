/// Memory that takes a part of a gradient: whole tensors, or some rows of them.
///
/// A layer computes what lies within `range` and nothing else. A vector (a bias, a gain) is a matrix of one row, and rows are never cut.
package struct GradientTarget {
  /// Tensors at their own offsets. Only `range` of it is memory.
  package let slab: TensorSlab
  /// Floats of the canonical order that are there.
  package let range: Range<Int>
  /// Whether what the memory holds is to be overwritten, and not to be added to.
  package let overwrites: Bool
  /// Counts what is taken, for whoever must know that all of it was; nil counts nothing.
  private let coverage: Coverage?

  /// Floats of a target that have been taken to be filled.
  package final class Coverage {
    package fileprivate(set) var floats = 0
    package init() {}
    package func restart() { floats = 0 }
  }

  /// - Parameter slab: may begin outside of its memory, as long as `range` of it lies within.
  package init(slab: TensorSlab, range: Range<Int>, overwrites: Bool, coverage: Coverage? = nil) {
    self.coverage = coverage
    self.slab = slab
    self.range = range
    self.overwrites = overwrites
  }

  /// All tensors of a slab, added to.
  package init(addingTo slab: TensorSlab) {
    self.init(slab: slab, range: 0..<slab.all.count, overwrites: false)
  }

  /// All tensors of a slab, of which those that are given a gradient are overwritten.
  package init(overwritingTensorsOf slab: TensorSlab) {
    self.init(slab: slab, range: 0..<slab.all.count, overwrites: true)
  }

  /// What of a tensor lies within the target.
  package struct Part {
    /// Rows of the tensor.
    package let rows: Range<Int>
    /// These rows, to be filled.
    package let matrix: Matrix
  }

  /// nil where no row of the tensor lies within the target.
  package func part(of tensor: Int) -> Part? {
    let extent = slab.extents[tensor]
    let floats = range.clamped(to: slab.range(of: tensor))
    guard !floats.isEmpty else { return nil }
    let rows = (floats.lowerBound - extent.offset) / extent.columns..<(floats.upperBound - extent.offset) / extent.columns
    precondition(rows.count * extent.columns == floats.count, "a target that cuts a row of tensor \(tensor)")
    coverage?.floats += floats.count
    return Part(rows: rows, matrix: slab.matrix(tensor).rows(rows))
  }

  /// A part whose kernel can only add: cleared first where it is to be overwritten.
  func clearedPart(of tensor: Int) -> Part? {
    let part = part(of: tensor)
    if overwrites { part?.matrix.elements.update(repeating: 0) }
    return part
  }

  /// The factor of what the memory holds in `target = beta · target + …`.
  var beta: Float { overwrites ? 0 : 1 }
}
