/// A GPT-2-shaped language model: pre-norm blocks, learned positions, gelu_new, biases, head tied to the token embedding or
/// not (Radford et al. 2019). One object holds the parameters' views and the buffers of one microbatch.
package final class Transformer {
  package let configuration: ModelConfiguration
  package let parameters: TensorSlab
  let buffers: TransformerBuffers
  let arena: MemoryArena

  let embedding: Embedding
  let blocks: [Block]
  let finalNorm: LayerNorm
  let head: Linear
  let attention: CausalAttention
  let attentionWorkspace: CausalAttention.Workspace

  struct Block {
    let norm1: LayerNorm
    let qkv: Linear
    let projection: Linear
    let norm2: LayerNorm
    let inner: Linear
    let outer: Linear
  }

  /// - Parameters:
  ///   - parameters: `[P]` floats in the order of the configuration's ``ParameterLayout``.
  package init(
    _ configuration: ModelConfiguration, parameters: Vector, buffers: TransformerBuffers, in arena: MemoryArena
  ) {
    let layout = ParameterLayout(configuration)
    precondition(parameters.count == layout.totalCount, "a slab of \(parameters.count) parameters")
    let slab = TensorSlab(parameters.baseAddress!, extents: layout.extents)
    let linear = { (name: String) in
      Linear(
        weightTensor: layout[name + ".weight"].index, biasTensor: layout[name + ".bias"].index,
        layout: .inputByOutput, parameters: slab)
    }
    let norm = { (name: String) in
      LayerNorm(
        gainTensor: layout[name + ".weight"].index, biasTensor: layout[name + ".bias"].index,
        epsilon: Float(configuration.layerNormEpsilon), parameters: slab)
    }
    self.configuration = configuration
    self.parameters = slab
    self.buffers = buffers
    self.arena = arena
    embedding = Embedding(
      tokenTensor: layout["transformer.wte.weight"].index,
      positionTensor: layout["transformer.wpe.weight"].index, parameters: slab)
    blocks = (0..<configuration.layers).map { l in
      let name = "transformer.h.\(l)"
      return Block(
        norm1: norm(name + ".ln_1"), qkv: linear(name + ".attn.c_attn"), projection: linear(name + ".attn.c_proj"),
        norm2: norm(name + ".ln_2"), inner: linear(name + ".mlp.c_fc"), outer: linear(name + ".mlp.c_proj"))
    }
    finalNorm = norm("transformer.ln_f")
    head = Linear(
      weightTensor: layout[configuration.tiedEmbeddings ? "transformer.wte.weight" : "lm_head.weight"].index,
      biasTensor: nil, layout: .outputByInput, parameters: slab)
    attention = CausalAttention(heads: configuration.heads, headWidth: configuration.width / configuration.heads)
    attentionWorkspace = CausalAttention.Workspace(
      threads: buffers.options.threads, scores: arena.elements(buffers.scores), scoreGradients: arena.elements(buffers.scoreGradients),
      keyGradient: arena.elements(buffers.keyGradient), valueGradient: arena.elements(buffers.valueGradient),
      delta: arena.elements(buffers.delta))
  }

  package var headTensor: Int { head.weightTensor }

  /// The tensor that both embedding and head use, if the model is tied.
  package var tiedTensor: Int? { configuration.tiedEmbeddings ? embedding.tokenTensor : nil }

  /// `[rows, columns]` at the start of a buffer.
  func matrix(_ id: MemoryPlan.BufferID, rows: Int, columns: Int) -> Matrix {
    let elements = arena.elements(id)
    precondition(rows * columns <= elements.count, "\(rows) x \(columns) in a buffer of \(elements.count)")
    return Matrix(elements.baseAddress!, rows: rows, columns: columns)
  }

  func vector(_ id: MemoryPlan.BufferID, count: Int) -> Vector {
    Vector(rebasing: arena.elements(id)[..<count])
  }
}

extension Transformer {
  /// Runs the blocks and leaves the head's input `[R,d]`.
  func forward(_ batch: Microbatch) -> Matrix {
    let (rows, d) = (batch.rowCount, configuration.width)
    let residual = matrix(buffers.residual, rows: rows, columns: d)
    embedding.forward(tokens: batch.tokens, positions: batch.positions, into: residual)
    for (block, at) in zip(blocks, buffers.blocks) {
      if buffers.recomputesBlocks {
        _ = matrix(at.input, rows: rows, columns: d).elements.update(fromContentsOf: residual.elements)
      }
      let activated = makeActivations(of: block, at.activations, residual, batch)
      block.outer.forwardAdding(activated, to: residual)
    }
    let headInput = matrix(buffers.headInput, rows: rows, columns: d)
    finalNorm.forward(
      residual, normalized: matrix(buffers.finalNormalized, rows: rows, columns: d),
      rstd: vector(buffers.finalRstd, count: rows), into: headInput)
    return headInput
  }

  /// A block's forward pass but for its last product, whose result its backward pass doesn't need: `residual [R,d]` goes from
  /// before the block to between its two halves.
  ///
  /// - Returns: the activated inner layer, the last product's input.
  func makeActivations(
    of block: Block, _ at: TransformerBuffers.Activations, _ residual: Matrix, _ batch: Microbatch
  ) -> Matrix {
    let (rows, d, inner) = (batch.rowCount, configuration.width, configuration.innerWidth)
    let scaled = matrix(buffers.scaled, rows: rows, columns: d)
    let qkv = matrix(at.qkv, rows: rows, columns: 3 * d)
    let attended = matrix(at.attended, rows: rows, columns: d)
    block.norm1.forward(
      residual, normalized: matrix(at.normalized1, rows: rows, columns: d), rstd: vector(at.rstd1, count: rows),
      into: scaled)
    block.qkv.forward(scaled, into: qkv)
    attention.forward(
      qkv: qkv, records: batch.records, output: attended,
      logSumExp: matrix(at.logSumExp, rows: rows, columns: configuration.heads), workspace: attentionWorkspace)
    block.projection.forwardAdding(attended, to: residual)

    let hidden = matrix(at.inner, rows: rows, columns: inner)
    let activated = matrix(at.activated, rows: rows, columns: inner)
    block.norm2.forward(
      residual, normalized: matrix(at.normalized2, rows: rows, columns: d), rstd: vector(at.rstd2, count: rows),
      into: scaled)
    block.inner.forward(scaled, into: hidden)
    RowKernels.gelu(hidden.elements, into: activated.elements)
    return activated
  }

  /// Forward pass alone: writes `batch.losses`, in nats a row.
  package func losses(of batch: Microbatch) {
    guard batch.rowCount > 0 else { return }
    let headInput = forward(batch)
    for rows in chunks(of: 0..<batch.rowCount) {
      let logits = logits(headInput, rows: rows)
      RowKernels.crossEntropyLosses(
        logits: logits, targets: UnsafeBufferPointer(rebasing: batch.targets[rows]),
        losses: UnsafeMutableBufferPointer(rebasing: batch.losses[rows]))
    }
  }

  /// Forward pass alone: the logits `[V]` behind the last position of the only record of `batch`.
  package func lastLogits(of batch: Microbatch) -> Vector {
    precondition(batch.records.count == 1, "generation runs one record at a time")
    let headInput = forward(batch)
    return logits(headInput, rows: batch.rowCount - 1..<batch.rowCount).elements
  }

  /// Writes the logits of some rows to the logits buffer: at their own place where all are held, else at its start.
  func logits(_ headInput: Matrix, rows: Range<Int>) -> Matrix {
    let V = configuration.vocabularySize
    let logits =
      switch buffers.options.logits {
      case .whole: matrix(buffers.logits, rows: headInput.rows, columns: V).rows(rows)
      case .chunks: matrix(buffers.logits, rows: rows.count, columns: V)
      }
    head.forward(headInput.rows(rows), into: logits)
    return logits
  }

  /// Ranges of rows whose logits the buffer holds at a time.
  func chunks(of rows: Range<Int>) -> [Range<Int>] {
    switch buffers.options.logits {
    case .whole: return rows.isEmpty ? [] : [rows]
    case .chunks(let size):
      return stride(from: rows.lowerBound, to: rows.upperBound, by: size).map { $0..<min($0 + size, rows.upperBound) }
    }
  }
}
