/// A sum that says which parts of it are final while others are still added to.
///
/// A layer is final when the batch's last microbatch has added to it for the last time: how often one does is known beforehand, or the layer is
/// final at the batch's end. What came behind would be missing in what was made of the part: an addition to a layer that was said to be final
/// stops the program.
package final class AnnouncedSum: GradientSum {
  package let base: any GradientSum
  /// By tensor: its layer, the parts in which that lies, and how often a microbatch adds to it; nil: not known.
  private let layers: [(first: Int, parts: [Int], additions: Int?)]
  /// By part: how many layers lie in it.
  private let layerCounts: [Int]

  /// Additions that are to come, by a layer's first tensor; nil: not known.
  private var additions: [Int?]
  /// By part: layers that aren't final.
  private var missing: [Int]
  private var isLastMicrobatch = false
  private var announce: (_ part: Int) -> Void = { _ in }

  /// - Parameters:
  ///   - parts: floats of the canonical order; together they are all.
  ///   - additionCount: how often a microbatch adds to a layer; nil where that hangs on its records.
  package init(_ base: any GradientSum, layout: ParameterLayout, parts: [Range<Int>], additionCount: (_ layer: Range<Int>) -> Int?) {
    self.base = base
    layers = layout.groups.flatMap { layer in
      let floats = layout.floats(ofLayer: layer)
      let entry = (first: layer.lowerBound, parts: parts.indices.filter { parts[$0].overlaps(floats) }, additions: additionCount(layer))
      return layer.map { _ in entry }
    }
    var counts = [Int](repeating: 0, count: parts.count)
    for layer in layout.groups { for part in layers[layer.lowerBound].parts { counts[part] += 1 } }
    layerCounts = counts
    missing = counts
    additions = layers.map(\.additions)
  }

  package var parts: [GradientPart] { base.parts }

  package func clear() {
    base.clear()
    missing = layerCounts
    isLastMicrobatch = false
  }

  /// The microbatch that begins is the batch's last.
  ///
  /// - Parameter announce: told of each part once, by its place in the list, when nothing more is added to it.
  package func beginLastMicrobatch(_ announce: @escaping (_ part: Int) -> Void) {
    self.announce = announce
    isLastMicrobatch = true
    for tensor in layers.indices { additions[tensor] = layers[tensor].additions }
  }

  package func add(layerOf tensor: Int, _ body: (GradientTarget) -> Void) {
    let layer = layers[tensor]
    precondition(!isLastMicrobatch || additions[layer.first] != 0, "an addition to the layer of tensor \(tensor), which was final")
    base.add(layerOf: tensor, body)
    guard isLastMicrobatch, let left = additions[layer.first] else { return }
    additions[layer.first] = left - 1
    if left == 1 { finish(layer.parts) }
  }

  private func finish(_ parts: [Int]) {
    for part in parts {
      missing[part] -= 1
      if missing[part] == 0 { announce(part) }
    }
  }

  package func addUp(_ values: inout [Double]) { base.addUp(&values) }

  package func add(_ other: any GradientSum, of layout: ParameterLayout, factor: (_ tensor: Int) -> Float?) {
    precondition(!isLastMicrobatch, "a unit's own sum behind the last microbatch")
    base.add(other, of: layout, factor: factor)
  }

  /// Ends the batch, for ranks that share the sum; then ``announceRest(_:)`` is due.
  package func complete() { base.complete() }

  /// Tells of the parts that it hasn't been told of.
  package func announceRest(_ announce: (_ part: Int) -> Void) {
    for part in missing.indices where missing[part] > 0 { announce(part) }
    self.announce = { _ in }
  }
}
