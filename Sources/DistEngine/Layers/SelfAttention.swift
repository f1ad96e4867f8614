/// Multi-head self-attention (Vaswani et al. 2017) over packed records: scores of one head and one block of queries
/// are all that is ever held, and with a causal mask keys behind the block aren't touched (as in Dao et al. 2022, without the tiling of
/// keys).
///
/// H heads of queries share K of keys and values, H/K consecutive ones each (Ainslie et al. 2023, arXiv 2305.13245). `qkv [R,(H+2K)D]` holds
/// queries, keys and values side by side; head h has columns `h·D ..< (h+1)·D` of each.
package struct SelfAttention: Sendable {
  package static let queryBlock = 128

  package enum Mask: Sendable {
    /// A position sees itself and those before it.
    case causal
    case none
  }

  package let heads: Int
  /// K; divides the heads.
  package let keyHeads: Int
  package let headWidth: Int
  package let mask: Mask

  package init(heads: Int, keyHeads: Int? = nil, headWidth: Int, mask: Mask = .causal) {
    self.heads = heads
    self.keyHeads = keyHeads ?? heads
    self.headWidth = headWidth
    self.mask = mask
    precondition(heads % self.keyHeads == 0, "\(heads) heads of queries for \(self.keyHeads) of keys")
  }

  /// Query heads that share a key head.
  private var group: Int { heads / keyHeads }
  /// Columns of queries, keys and values.
  package var queryColumns: Range<Int> { 0..<heads * headWidth }
  package var keyColumns: Range<Int> { heads * headWidth..<(heads + keyHeads) * headWidth }
  package var valueColumns: Range<Int> { (heads + keyHeads) * headWidth..<(heads + 2 * keyHeads) * headWidth }
  package var columns: Int { (heads + 2 * keyHeads) * headWidth }

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

  /// Calls `body` for every one of so many heads of every record: they have nothing to do with each other.
  private func forEach(
    _ heads: Int, of sequences: [Range<Int>], _ workspace: Workspace, _ body: (_ rows: Range<Int>, _ head: Int, _ thread: Int) -> Void
  ) {
    let team = ThreadTeam.current
    precondition(team.count <= workspace.threads, "attention scratch of \(workspace.threads) threads for \(team.count)")
    team.forEach(sequences.count * heads) { item, thread in body(sequences[item / heads], item % heads, thread) }
  }

  private func columns(ofHead h: Int) -> Range<Int> { h * headWidth..<(h + 1) * headWidth }

  /// Keys that a block of queries sees.
  private func seen(by block: Range<Int>, of length: Int) -> Range<Int> { 0..<(mask == .causal ? block.upperBound : length) }
  /// What the kernels are told of the mask: the block's first query, or as much as makes them see all keys.
  private func firstQuery(_ block: Range<Int>, of length: Int) -> Int { mask == .causal ? block.lowerBound : length }

  /// Writes `output[R,HD]` and `logSumExp[R,H]`.
  package func forward(
    qkv: Matrix, sequences: [Range<Int>], output: Matrix, logSumExp: Matrix, workspace: Workspace
  ) {
    let (allKeys, allValues) = (qkv.columns(keyColumns), qkv.columns(valueColumns))
    forEach(heads, of: sequences, workspace) { rows, h, thread in
      let own = columns(ofHead: h / group)
      let queries = qkv.rows(rows).columns(columns(ofHead: h))
      forward(
        queries, keys: allKeys.rows(rows).columns(own), values: allValues.rows(rows).columns(own), firstKey: 0,
        output: output.rows(rows).columns(columns(ofHead: h)), logSumExp: logSumExp.rows(rows).columns(h..<h + 1), workspace, thread)
    }
  }

  /// The same for one sequence whose keys and values up to its last row are in a cache `[T, 2KD]`, keys before values.
  ///
  /// - Parameter first: position of the first of the queries.
  package func forward(queries: Matrix, cache: Matrix, first: Int, output: Matrix, logSumExp: Matrix, workspace: Workspace) {
    precondition(mask == .causal, "a cache of what positions behind will change")
    let keys = cache.rows(0..<first + queries.rows)
    forEach(heads, of: [0..<queries.rows], workspace) { _, h, thread in
      let own = columns(ofHead: h / group)
      forward(
        queries.columns(columns(ofHead: h)), keys: keys.columns(own), values: keys.columns(keyHeads * headWidth..<2 * keyHeads * headWidth).columns(own),
        firstKey: first, output: output.columns(columns(ofHead: h)), logSumExp: logSumExp.columns(h..<h + 1), workspace, thread)
    }
  }

  /// One record, one head.
  ///
  /// - Parameter firstKey: of the keys, the one at the first query's position.
  private func forward(
    _ queries: Matrix, keys: Matrix, values: Matrix, firstKey: Int, output: Matrix, logSumExp: Matrix, _ workspace: Workspace, _ thread: Int
  ) {
    for first in stride(from: 0, to: queries.rows, by: Self.queryBlock) {
      let block = first..<min(first + Self.queryBlock, queries.rows)
      let places = firstKey + block.lowerBound..<firstKey + block.upperBound
      let seen = seen(by: places, of: keys.rows)
      let scores = Matrix(workspace.part(workspace.scores, thread: thread), rows: block.count, columns: seen.count)
      MatrixProducts.multiply(.plain(queries.rows(block)), .transposed(keys.rows(seen)), into: scores)
      RowKernels.causalSoftmax(
        scores: scores, first: firstQuery(places, of: keys.rows), scale: scale, logSumExp: logSumExp.rows(block))
      MatrixProducts.multiply(.plain(scores), .plain(values.rows(seen)), into: output.rows(block))
    }
  }

  private struct Head {
    let queries, outputGradient, logSumExp, delta: Matrix
  }

  /// In place: `qkv` becomes its own gradient. `output` and `logSumExp` are the forward pass's.
  package func backward(
    qkv: Matrix, sequences: [Range<Int>], output: Matrix, logSumExp: Matrix, outputGradient: Matrix, workspace: Workspace
  ) {
    let delta = Matrix(workspace.delta.baseAddress!, rows: output.rows, columns: heads)
    RowKernels.headDots(outputGradient, output, heads: heads, into: delta)
    forEach(keyHeads, of: sequences, workspace) { rows, shared, thread in
      let own = columns(ofHead: shared)
      let (keys, values) = (qkv.columns(keyColumns).rows(rows).columns(own), qkv.columns(valueColumns).rows(rows).columns(own))
      let scratch = { (buffer: Vector) in Matrix(workspace.part(buffer, thread: thread), rows: rows.count, columns: headWidth) }
      let (keyGradient, valueGradient) = (scratch(workspace.keyGradient), scratch(workspace.valueGradient))
      for h in shared * group..<(shared + 1) * group {
        let head = Head(
          queries: qkv.rows(rows).columns(columns(ofHead: h)), outputGradient: outputGradient.rows(rows).columns(columns(ofHead: h)),
          logSumExp: logSumExp.rows(rows).columns(h..<h + 1), delta: delta.rows(rows).columns(h..<h + 1))
        backward(
          head, keys: keys, values: values, keyGradient: keyGradient, valueGradient: valueGradient, isFirstOfGroup: h == shared * group,
          workspace: workspace, thread: thread)
      }
      keys.update(from: keyGradient)
      values.update(from: valueGradient)
    }
  }

  /// One record, one head of queries; those of a group add to the gradients of the keys and values that they share. Blocks of queries run
  /// from the last to the first: the last one sees every key, so it writes the sums over queries that the others add to. A block's queries
  /// are replaced by their gradient when nothing needs them.
  private func backward(
    _ head: Head, keys: Matrix, values: Matrix, keyGradient: Matrix, valueGradient: Matrix, isFirstOfGroup: Bool, workspace: Workspace,
    thread: Int
  ) {
    let length = head.queries.rows
    if length == 0 { return }
    let scratch = { (buffer: Vector, rows: Int, columns: Int) in
      Matrix(workspace.part(buffer, thread: thread), rows: rows, columns: columns)
    }
    for first in stride(from: (length - 1) / Self.queryBlock * Self.queryBlock, through: 0, by: -Self.queryBlock) {
      let block = first..<min(first + Self.queryBlock, length)
      let seen = seen(by: block, of: length)
      let beta: Float = isFirstOfGroup && block.upperBound == length ? 0 : 1
      let probabilities = scratch(workspace.scores, block.count, seen.count)
      let gradients = scratch(workspace.scoreGradients, block.count, seen.count)
      let queries = head.queries.rows(block)
      let blockGradient = head.outputGradient.rows(block)
      let firstQuery = firstQuery(block, of: length)

      MatrixProducts.multiply(.plain(queries), .transposed(keys.rows(seen)), into: probabilities)
      RowKernels.causalProbabilities(
        scores: probabilities, first: firstQuery, scale: scale, logSumExp: head.logSumExp.rows(block))
      MatrixProducts.multiply(.transposed(probabilities), .plain(blockGradient), into: valueGradient.rows(seen), beta: beta)
      MatrixProducts.multiply(.plain(blockGradient), .transposed(values.rows(seen)), into: gradients)
      RowKernels.causalSoftmaxBackward(
        probabilities: probabilities, gradient: gradients, first: firstQuery, scale: scale, delta: head.delta.rows(block))
      MatrixProducts.multiply(.transposed(gradients), .plain(queries), into: keyGradient.rows(seen), beta: beta)
      MatrixProducts.multiply(.plain(gradients), .plain(keys.rows(seen)), into: queries)
    }
  }
}
