/// Where a batch's summed gradient grows, layer by layer.
package protocol GradientSum: AnyObject {
  /// What of the sum this rank holds, in canonical order.
  var parts: [GradientPart] { get }

  /// Starts a batch: the sum is 0.
  func clear()

  /// Adds to the sum what `body` gives its targets, in one or more calls: together they cover the layer that `tensor` belongs to.
  ///
  /// Where several ranks share a sum, this is collective over them: they add the same layers in the same order, whatever their data.
  func add(layerOf tensor: Int, _ body: (GradientTarget) -> Void)

  /// Ends a batch: where ranks share a sum, they have it now.
  func complete()

  /// Adds up numbers over the ranks that each hold a part of this sum; nothing where one rank holds it.
  func addUp(_ values: inout [Double])

  /// Adds another sum's tensors, each times its factor; of one without a factor nothing, and nothing of it is read.
  ///
  /// Where ranks share this sum and not the other one, this is collective over them.
  func add(_ other: any GradientSum, of layout: ParameterLayout, factor: (_ tensor: Int) -> Float?)
}

extension GradientSum {
  package func complete() {}
  package func addUp(_ values: inout [Double]) {}

  /// Of a sum that this rank holds as a whole.
  package func add(_ other: any GradientSum, of layout: ParameterLayout, factor: (_ tensor: Int) -> Float?) {
    guard let whole = other.parts.first, whole.elements.count == layout.totalCount else { preconditionFailure("a part of a sum for all of it") }
    for group in layout.groups {
      add(layerOf: group.lowerBound) { target in
        for tensor in group {
          guard let part = target.clearedPart(of: tensor), let factor = factor(tensor) else { continue }
          let first = layout[tensor].offset + part.rows.lowerBound * part.matrix.columns
          RowKernels.addScaled(
            Vector(rebasing: whole.values[first..<first + part.matrix.elements.count]), by: factor, to: part.matrix.elements)
        }
      }
    }
  }
}

/// Consecutive elements of a sum.
package struct GradientPart {
  /// Floats of the canonical order.
  package let elements: Range<Int>
  package let values: Vector

  package init(elements: Range<Int>, values: Vector) {
    precondition(elements.count == values.count, "\(values.count) values for \(elements.count) elements")
    self.elements = elements
    self.values = values
  }

  /// What of the part lies within `range`; nil where nothing does.
  package func clamped(to range: Range<Int>) -> GradientPart? {
    let common = elements.clamped(to: range)
    guard !common.isEmpty else { return nil }
    let first = common.lowerBound - elements.lowerBound
    return GradientPart(elements: common, values: Vector(rebasing: values[first..<first + common.count]))
  }
}

/// A sum that is one rank's own, as a whole: `[P]` in canonical order.
package final class WholeGradientSum: GradientSum {
  private let target: GradientTarget

  package init(_ slab: TensorSlab) { target = GradientTarget(addingTo: slab) }

  package var parts: [GradientPart] { [GradientPart(elements: target.range, values: target.slab.all)] }

  package func clear() { RowKernels.fill(target.slab.all, with: 0) }

  package func add(layerOf tensor: Int, _ body: (GradientTarget) -> Void) { body(target) }
}
