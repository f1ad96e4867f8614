/// One sum for all ranks of a node, in slices: no rank holds the gradient of the model.
///
/// A rank makes its part of a layer's gradient in a window that the node shares, a piece at a time; then each owner adds the ranks' parts, in
/// the order of ranks, to its own slice of the sum. The window has two halves: while owners add up one, the next piece is made in
/// the other, so that one meeting of the ranks a piece is enough.
///
/// A sum over P floats read once where they were written takes a fourth to a seventh of the time of an allreduce (docs/performance.md).
package final class NodeGradientSum: GradientSum {
  private let pieces: ParameterPieces
  private let extents: [TensorSlab.Extent]
  private let window: SharedWindow
  /// `[2, halfCount]` of each rank of the node: a half is which piece it is, then the piece.
  private let halves: [Vector]
  /// Counts exchanges through the window, whichever sum they are for.
  private let counter: Counter
  private let halfCount: Int
  /// This rank's slice, its parts one behind the other; empty on a rank that owns none.
  private let slice: Vector
  /// Where this rank's part of each piece begins in the slice; nil on a rank that owns none.
  private let owned: [(range: Range<Int>, offset: Int)]?
  package let parts: [GradientPart]
  private let coverage = GradientTarget.Coverage()

  /// Exchanges so far: the parity tells the halves apart. Sums that use one window count together.
  private final class Counter { var exchanges = 0 }

  /// - Parameters:
  ///   - window: this rank's part is of ``windowByteCount(_:)``.
  ///   - slice: as many floats as the owner has parts; empty where the rank owns nothing.
  ///   - owner: which owner this rank is; nil for none.
  ///   - other: a sum that uses the window, too; the ranks exchange for one or the other in the same order.
  package init(
    pieces: ParameterPieces, extents: [TensorSlab.Extent], window: SharedWindow, slice: Vector, owner: Int?,
    sharingWindowOf other: NodeGradientSum? = nil
  ) {
    counter = other?.counter ?? Counter()
    self.pieces = pieces
    self.extents = extents
    self.window = window
    self.slice = slice
    halfCount = Self.halfCount(pieces)
    halves = (0..<window.communicator.size).map { window.elements(ofRank: $0) }
    let needed = Self.windowByteCount(pieces)
    precondition(halves.allSatisfy { $0.count * MemoryLayout<Float>.stride >= needed }, "a window too small for two pieces")
    let owned = owner.map { owner in
      var offset = 0
      return pieces.slice(ofOwner: owner).map { range -> (range: Range<Int>, offset: Int) in
        defer { offset += range.count }
        return (range, offset)
      }
    }
    self.owned = owned
    parts = (owned ?? []).filter { !$0.range.isEmpty }.map {
      GradientPart(elements: $0.range, values: Vector(rebasing: slice[$0.offset..<$0.offset + $0.range.count]))
    }
    precondition(slice.count == parts.reduce(0) { $0 + $1.elements.count }, "a slice of \(slice.count) floats")
  }

  /// Bytes of a rank's part of the window: two of the largest pieces.
  package static func windowByteCount(_ pieces: ParameterPieces) -> Int {
    2 * halfCount(pieces) * MemoryLayout<Float>.stride
  }

  /// Whole cache lines.
  private static func halfCount(_ pieces: ParameterPieces) -> Int {
    headerCount + (pieces.largestPiece + headerCount - 1) / headerCount * headerCount
  }

  /// Floats before the piece in a half: a cache line.
  private static let headerCount = 16

  package func clear() { RowKernels.fill(slice, with: 0) }

  package func add(layerOf tensor: Int, _ body: (GradientTarget) -> Void) {
    for piece in pieces.pieces(ofTensor: tensor) {
      let range = pieces.pieces[piece]
      let half = counter.exchanges % 2 * halfCount
      counter.exchanges += 1
      let own = halves[window.communicator.rank].baseAddress! + half
      Self.pieceNumber(own).pointee = piece
      // The slab begins where its first tensor would make it begin, so that the piece's tensors are found at their own offsets.
      let base = own + Self.headerCount - range.lowerBound
      coverage.restart()
      body(GradientTarget(slab: TensorSlab(base, extents: extents), range: range, overwrites: true, coverage: coverage))
      // What isn't written would be another layer's, of two exchanges ago.
      precondition(coverage.floats == range.count, "\(coverage.floats) of the \(range.count) floats of piece \(piece) were written")
      exchange(piece, half: half)
    }
  }

  private func exchange(_ piece: Int, half: Int) {
    // Within a step an error of MPI is this rank's own, and the others may be waiting for it.
    do {
      try window.fence()
      for (rank, base) in halves.enumerated() where Self.pieceNumber(base.baseAddress! + half).pointee != piece {
        throw OutOfStep(rank: rank, piece: Self.pieceNumber(base.baseAddress! + half).pointee, expected: piece)
      }
    } catch { window.communicator.abort(error) }
    guard let owned, let sum = slice.baseAddress else { return }
    let part = owned[piece].range
    let first = half + Self.headerCount + part.lowerBound - pieces.pieces[piece].lowerBound
    for start in stride(from: 0, to: part.count, by: Self.block) {
      let count = min(Self.block, part.count - start)
      let target = Vector(start: sum + owned[piece].offset + start, count: count)
      for half in halves {
        RowKernels.addScaled(Vector(start: half.baseAddress! + first + start, count: count), by: 1, to: target)
      }
    }
  }

  package func addUp(_ values: inout [Double]) {
    do { try window.communicator.allreduceSum(&values) } catch { window.communicator.abort(error) }
  }

  /// Of a sum in the same slices: every owner adds to its own.
  package func add(_ other: any GradientSum, of layout: ParameterLayout, factor: (_ tensor: Int) -> Float?) {
    for (own, added) in zip(parts, other.parts) {
      precondition(own.elements == added.elements, "sums in other slices")
      for entry in layout {
        guard let target = own.clamped(to: entry.range), let values = added.clamped(to: entry.range), let factor = factor(entry.index) else { continue }
        RowKernels.addScaled(values.values, by: factor, to: target.values)
      }
    }
  }

  private static func pieceNumber(_ half: UnsafeMutablePointer<Float>) -> UnsafeMutablePointer<Int> {
    UnsafeMutableRawPointer(half).assumingMemoryBound(to: Int.self)
  }

  /// Ranks that don't add the same layers in the same order would add up what doesn't belong together: a defect that must not pass for a sum.
  struct OutOfStep: Error, CustomStringConvertible {
    let rank, piece, expected: Int
    var description: String { "rank \(rank) of the node adds piece \(piece) of the gradient where this rank adds piece \(expected)" }
  }

  /// Floats added up at a time: the sum stays in the nearest cache while the ranks' parts pass by.
  private static let block = 4096
}
