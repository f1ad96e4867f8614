/// The parameters of a model cut into pieces that fit a buffer of exchange, and each piece into parts, one an owner.
///
/// A layer's tensors (bias and weight, gain and bias) lie one behind the other in the canonical order; a piece is some or all rows of
/// them, so that a layer's gradient can be made and exchanged piece by piece. Every owner has a part of every piece: all of them have
/// work in every exchange. What an owner has of all pieces, in order, is its *slice*.
package struct ParameterPieces: Sendable {
  /// Floats of the canonical order; together they are all parameters.
  package let pieces: [Range<Int>]
  package let owners: Int
  /// Indices of a layer's pieces, by any of its tensors.
  private let piecesOfTensor: [Range<Int>]

  /// Parts begin at multiples of this many floats within their piece: a cache line, so that two owners never write to one.
  private static let grain = 16

  /// - Parameters:
  ///   - capacity: floats that a piece may have. One row of a matrix is never cut, whatever its length.
  ///   - owners: 1 or more.
  package init(_ layout: ParameterLayout, capacity: Int, owners: Int) {
    precondition(capacity > 0 && owners > 0, "pieces of \(capacity) floats for \(owners) owners")
    self.owners = owners
    var pieces: [Range<Int>] = []
    var piecesOfTensor: [Range<Int>] = []
    for layer in layout.groups {
      let first = pieces.count
      pieces += Self.cut(layout[layer], capacity: capacity)
      piecesOfTensor += [Range<Int>](repeating: first..<pieces.count, count: layer.count)
    }
    self.pieces = pieces
    self.piecesOfTensor = piecesOfTensor
  }

  /// Cuts a layer's tensors between rows, into pieces of about equal size.
  private static func cut(_ tensors: Slice<ParameterLayout>, capacity: Int) -> [Range<Int>] {
    let rows = tensors.flatMap { tensor -> [Int] in
      let columns = tensor.shape.count > 1 ? tensor.shape.last! : tensor.count
      return stride(from: tensor.offset + columns, through: tensor.range.upperBound, by: columns).map { $0 }
    }
    guard let first = tensors.first, let end = rows.last, end > first.offset else { return [] }
    let count = (end - first.offset + capacity - 1) / capacity
    let target = (end - first.offset + count - 1) / count
    var ranges: [Range<Int>] = []
    var (start, last) = (first.offset, first.offset)
    for row in rows {
      if row - start > target && last > start {
        ranges.append(start..<last)
        start = last
      }
      last = row
    }
    return ranges + [start..<end]
  }

  /// Floats of the largest piece.
  package var largestPiece: Int { pieces.map(\.count).max() ?? 0 }

  /// Pieces of the layer that a tensor belongs to, by index.
  package func pieces(ofTensor tensor: Int) -> Range<Int> { piecesOfTensor[tensor] }

  /// An owner's part of a piece, in floats of the canonical order; it may be empty.
  package func part(ofPiece piece: Int, owner: Int) -> Range<Int> {
    let range = pieces[piece]
    let bound = { (owner: Int) -> Int in
      if owner == owners { return range.upperBound }
      return range.lowerBound + range.count * owner / owners / Self.grain * Self.grain
    }
    return bound(owner)..<bound(owner + 1)
  }

  /// An owner's parts of all pieces, in order.
  package func slice(ofOwner owner: Int) -> [Range<Int>] {
    pieces.indices.map { part(ofPiece: $0, owner: owner) }
  }
}
