/// Takes what each layer knows of its gradients during a backward pass. The three modes are three sinks: everything else
/// of a training step is the same code.
package protocol GradientSink: AnyObject {
  /// How the head hands over its logits' gradients where they are not held for the whole microbatch.
  var headChunks: HeadChunks { get }

  /// The gradient of one layer.
  ///
  /// - Parameter units: the rows of each unit within *this* gradient.
  func receive(_ gradient: LayerGradient, units: [Range<Int>])

  /// The head's gradient over a chunk of rows, whose buffers are used again for the next chunk.
  func receiveHeadChunk(_ gradient: LinearGradient, _ position: HeadChunkPosition)
}

package enum HeadChunks: Sendable {
  /// Chunks of rows, whatever unit they belong to.
  case ofRows
  /// No chunk crosses from one unit to the next.
  case withinUnits
}

/// Which unit of the microbatch a chunk belongs to, and whether it is that unit's first or last.
package struct HeadChunkPosition {
  package let unit: Int
  /// The head's rows of each unit.
  package let units: [Range<Int>]
  package let isFirst: Bool
  package let isLast: Bool
}

/// The model as a sink sees it once all factors are known: what isn't kept is made again.
package protocol GradientSource {
  /// Hands over the gradients of the blocks once more, by a second backward pass.
  func repeatBlockGradients(into sink: any GradientSink)
  /// The head's gradient over some rows, computed once more. Valid until the next call.
  func repeatHeadGradients(rows: Range<Int>, _ body: (Range<Int>, LinearGradient) -> Void)
}
