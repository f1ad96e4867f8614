/// One sum for all ranks of a node, of a model that is small enough for every rank to hold all of its own part in the window.
///
/// Each rank adds up its records' gradients there, without meeting the others; once a batch each owner adds
/// the others' parts to its own, within its slice. (``NodeGradientSum`` meets for every piece of every layer, which small layers don't outweigh.)
package final class WindowGradientSum: GradientSum {
  private let window: SharedWindow
  /// `[P]` of each rank of the node.
  private let ranks: [Vector]
  private let target: GradientTarget
  /// What this rank adds up, in floats of the canonical order; empty on a rank that owns nothing.
  private let slice: Range<Int>

  /// - Parameters:
  ///   - window: this rank's part is of ``windowByteCount(parameterCount:)``.
  ///   - slice: of this rank; those of a node's ranks are apart, and cover all.
  package init(extents: [TensorSlab.Extent], window: SharedWindow, slice: Range<Int>) {
    self.window = window
    self.slice = slice
    ranks = (0..<window.communicator.size).map { window.elements(ofRank: $0) }
    target = GradientTarget(addingTo: TensorSlab(ranks[window.communicator.rank].baseAddress!, extents: extents))
    let count = target.range.count
    precondition(ranks.allSatisfy { $0.count >= count }, "a window too small for the gradient")
  }

  package static func windowByteCount(parameterCount: Int) -> Int { parameterCount * MemoryLayout<Float>.stride }

  /// Once a batch is complete, this rank's slice holds the node's sum.
  package var parts: [GradientPart] {
    slice.isEmpty ? [] : [GradientPart(elements: slice, values: Vector(rebasing: target.slab.all[slice]))]
  }

  package func clear() { RowKernels.fill(target.slab.all, with: 0) }

  package func add(layerOf tensor: Int, _ body: (GradientTarget) -> Void) { body(target) }

  /// The node meets before, when all parts are made, and after, when none is needed any longer.
  package func complete() {
    // Within a step an error of MPI is this rank's own, and the others may be waiting for it.
    do {
      try window.fence()
      addUp()
      try window.fence()
    } catch { window.communicator.abort(error) }
  }

  private func addUp() {
    let own = window.communicator.rank
    ThreadTeam.current.split(slice.count, smallest: Self.block) { part in
      for start in stride(from: part.lowerBound, to: part.upperBound, by: Self.block) {
        let first = slice.lowerBound + start
        let floats = first..<first + min(Self.block, part.upperBound - start)
        let sum = Vector(rebasing: ranks[own][floats])
        for (rank, values) in ranks.enumerated() where rank != own {
          RowKernels.addScaled(Vector(rebasing: values[floats]), by: 1, to: sum)
        }
      }
    }
  }

  /// Floats added up at a time: the sum stays in the nearest cache while the ranks' parts pass by.
  private static let block = 4096
}
