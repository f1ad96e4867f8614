/// Takes what each layer knows of its gradients during a backward pass. The three modes are three sinks: everything else
/// of a training step is the same code.
package protocol GradientSink: AnyObject {
  /// How the head hands over its logits' gradients where they are not held for the whole microbatch.
  var headChunks: HeadChunks { get }

  /// The gradient of one layer over all rows of the microbatch.
  func receive(_ gradient: some LayerGradient)

  /// The head's gradient over a chunk of rows, whose buffers are used again for the next chunk.
  func receiveHeadChunk(_ gradient: LinearGradient, _ position: HeadChunkPosition)
}

package enum HeadChunks: Sendable {
  /// Chunks of rows, whatever record they belong to.
  case ofRows
  /// No chunk crosses from one record to the next.
  case withinRecords
}

/// Which record of the microbatch a chunk belongs to, and whether it is that record's first or last.
package struct HeadChunkPosition {
  package let example: Int
  package let isFirst: Bool
  package let isLast: Bool
}
