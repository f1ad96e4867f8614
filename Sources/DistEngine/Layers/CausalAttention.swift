/// Multi-head causal self-attention (Vaswani et al. 2017) over packed records: scores of one head and one block of queries
/// are all that is ever held, and keys behind the block aren't touched (as in Dao et al. 2022, without the tiling of keys).
///
/// `qkv [R,3d]` holds queries, keys and values side by side; head h has columns `h·D ..< (h+1)·D` of each.
package struct CausalAttention {
  package static let queryBlock = 128

  package let heads: Int
  package let headWidth: Int

  package init(heads: Int, headWidth: Int) {
    self.heads = heads
    self.headWidth = headWidth
  }

  private var width: Int { heads * headWidth }
  private var scale: Float { 1 / Float(headWidth).squareRoot() }

  /// Scratch: for each thread scores and their gradients `[block, T]`, a head's key and value gradients `[T, D]`; `[R, H]` products.
  package struct Workspace {
    let threads: Int
    let scores: Vector
    let scoreGradients: Vector
    let keyGradient: Vector
    let valueGradient: Vector
    let delta: Vector

    package init(
      threads: Int, scores: Vector, scoreGradients: Vector, keyGradient: Vector, valueGradient: Vector, delta: Vector
    ) {
      self.threads = threads
      self.scores = scores
      self.scoreGradients = scoreGradients
      self.keyGradient = keyGradient
      self.valueGradient = valueGradient
      self.delta = delta
    }

    /// One thread's part of a buffer.
    func part(_ buffer: Vector, thread: Int) -> UnsafeMutablePointer<Float> {
      buffer.baseAddress! + buffer.count / threads * thread
    }
  }

  /// Calls `body` for every head of every record: they have nothing to do with each other.
  private func forEachHead(
    of sequences: [Range<Int>], _ workspace: Workspace, _ body: (_ rows: Range<Int>, _ head: Int, _ thread: Int) -> Void
  ) {
    let team = ThreadTeam.current
    precondition(team.count <= workspace.threads, "attention scratch of \(workspace.threads) threads for \(team.count)")
    team.forEach(sequences.count * heads) { item, thread in body(sequences[item / heads], item % heads, thread) }
  }

  private struct Head {
    let queries, keys, values: Matrix
  }

  private func head(_ h: Int, of qkv: Matrix) -> Head {
    let columns = { (part: Int) in part * width + h * headWidth..<part * width + (h + 1) * headWidth }
    return Head(queries: qkv.columns(columns(0)), keys: qkv.columns(columns(1)), values: qkv.columns(columns(2)))
  }

  /// Writes `output[R,d]` and `logSumExp[R,H]`.
  package func forward(
    qkv: Matrix, sequences: [Range<Int>], output: Matrix, logSumExp: Matrix, workspace: Workspace
  ) {
    forEachHead(of: sequences, workspace) { rows, h, thread in
      let head = head(h, of: qkv.rows(rows))
      let (result, normalizers) = (output.rows(rows), logSumExp.rows(rows))
      for first in stride(from: 0, to: rows.count, by: Self.queryBlock) {
        let block = first..<min(first + Self.queryBlock, rows.count)
        let seen = 0..<block.upperBound
        let scores = Matrix(workspace.part(workspace.scores, thread: thread), rows: block.count, columns: seen.count)
        MatrixProducts.multiply(.plain(head.queries.rows(block)), .transposed(head.keys.rows(seen)), into: scores)
        RowKernels.causalSoftmax(
          scores: scores, first: first, scale: scale, logSumExp: normalizers.rows(block).columns(h..<h + 1))
        MatrixProducts.multiply(
          .plain(scores), .plain(head.values.rows(seen)),
          into: result.rows(block).columns(h * headWidth..<(h + 1) * headWidth))
      }
    }
  }

  /// In place: `qkv[R,3d]` becomes its own gradient. `output` and `logSumExp` are the forward pass's.
  package func backward(
    qkv: Matrix, sequences: [Range<Int>], output: Matrix, logSumExp: Matrix, outputGradient: Matrix, workspace: Workspace
  ) {
    let delta = Matrix(workspace.delta.baseAddress!, rows: output.rows, columns: heads)
    RowKernels.headDots(outputGradient, output, heads: heads, into: delta)
    forEachHead(of: sequences, workspace) { rows, h, thread in
      backward(
        head(h, of: qkv.rows(rows)),
        outputGradient: outputGradient.rows(rows).columns(h * headWidth..<(h + 1) * headWidth),
        logSumExp: logSumExp.rows(rows).columns(h..<h + 1), delta: delta.rows(rows).columns(h..<h + 1),
        workspace: workspace, thread: thread)
    }
  }

  /// One record, one head. Blocks of queries run from the last to the first: the last one sees every key, so it writes the
  /// sums over queries that the others add to. A block's queries are replaced by their gradient when nothing needs them.
  private func backward(
    _ head: Head, outputGradient: Matrix, logSumExp: Matrix, delta: Matrix, workspace: Workspace, thread: Int
  ) {
    let length = head.queries.rows
    let scratch = { (buffer: Vector, rows: Int, columns: Int) in
      Matrix(workspace.part(buffer, thread: thread), rows: rows, columns: columns)
    }
    let keyGradient = scratch(workspace.keyGradient, length, headWidth)
    let valueGradient = scratch(workspace.valueGradient, length, headWidth)
    if length == 0 { return }
    for first in stride(from: (length - 1) / Self.queryBlock * Self.queryBlock, through: 0, by: -Self.queryBlock) {
      let block = first..<min(first + Self.queryBlock, length)
      let seen = 0..<block.upperBound
      let isLast = block.upperBound == length
      let probabilities = scratch(workspace.scores, block.count, seen.count)
      let gradients = scratch(workspace.scoreGradients, block.count, seen.count)
      let (queries, keys) = (head.queries.rows(block), head.keys.rows(seen))
      let blockGradient = outputGradient.rows(block)

      MatrixProducts.multiply(.plain(queries), .transposed(keys), into: probabilities)
      RowKernels.causalProbabilities(
        scores: probabilities, first: first, scale: scale, logSumExp: logSumExp.rows(block))
      MatrixProducts.multiply(
        .transposed(probabilities), .plain(blockGradient), into: valueGradient.rows(seen), beta: isLast ? 0 : 1)
      MatrixProducts.multiply(.plain(blockGradient), .transposed(head.values.rows(seen)), into: gradients)
      RowKernels.causalSoftmaxBackward(
        probabilities: probabilities, gradient: gradients, first: first, scale: scale, delta: delta.rows(block))
      MatrixProducts.multiply(
        .transposed(gradients), .plain(queries), into: keyGradient.rows(seen), beta: isLast ? 0 : 1)
      MatrixProducts.multiply(.plain(gradients), .plain(keys), into: queries)
    }
    copy(keyGradient, to: head.keys)
    copy(valueGradient, to: head.values)
  }

  private func copy(_ source: Matrix, to target: Matrix) {
    for row in 0..<source.rows {
      (target.base + row * target.stride).update(from: source.base + row * source.stride, count: source.columns)
    }
  }
}
