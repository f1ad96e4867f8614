/// The points of a step for a model of S stages (embeddings, blocks, head), for the lifetimes of buffers.
///
/// With L blocks, S = L + 2: 0 the embeddings, 1…L the blocks forward, L + 1 the head, forward and backward, L + 2…2L + 1 the blocks
/// backward (the last one first), 2L + 2 the embeddings' gradient, 2L + 3 the weighted sum, with the second backward pass where
/// it needs one, 2L + 4 noise, reduction and update.
package struct Timeline: Sendable, Hashable {
  package let stages: Int

  package init(blocks: Int) { stages = blocks + 2 }

  package var head: Int { stages - 1 }
  package func forward(_ stage: Int) -> Int { stage }
  package func backward(_ stage: Int) -> Int { 2 * (stages - 1) - stage }
  package var weightedSum: Int { 2 * stages - 1 }
  package var update: Int { 2 * stages }

  package func isBlock(_ stage: Int) -> Bool { (1..<stages - 1).contains(stage) }
}
