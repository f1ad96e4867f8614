extension Transformer {
  /// Forward and backward pass: writes `batch.losses` and hands every layer's gradient to `sink`, from the head down.
  ///
  /// A layer's gradient is handed over when its output gradient is known and before anything it rests on is overwritten.
  /// With ``TransformerBuffers/Retention/weightedSum`` all of it stays valid until the next forward pass, unless blocks are
  /// recomputed: then ``repeatBlockGradients(of:into:)`` hands it over once more.
  /// A microbatch of no records hands over gradients of no rows: ranks that share a sum add to it layer by layer, together.
  package func lossesAndGradients(of batch: Microbatch, into sink: some GradientSink) {
    let headInput = forward(batch)
    let gradient = headBackward(headInput, batch, into: sink)
    let bottom = blocksBackward(
      headInputGradient: gradient, batch, lastBlockIsThere: true, into: sink)
    let tiedHead =
      buffers.options.tiedCrossTerm
      ? TiedHead(input: headInput, gradientAtTokens: gradientAtTokens(batch)) : nil
    sink.receive(embedding.tokenGradient(tokens: batch.tokens, outputGradient: bottom, tiedHead: tiedHead))
    sink.receive(embedding.positionGradient(positions: batch.positions, outputGradient: bottom))
  }

  /// Hands the gradients of the final norm and of the blocks to `sink` once more, by a second backward pass over recomputed
  /// blocks. It ends with the gradient at the embedding's output as it was.
  ///
  /// For flat clipping by book-keeping, whose factors are known behind the first pass. In products of R rows with all the
  /// blocks' matrices, a microbatch then takes 1 forward, 2 · 2/3 to recompute (a block's last product isn't needed), 2 for
  /// input gradients, 1 for the weighted sums, and the norms: 5 1/3, where 3 do without recomputation and 3 2/3 where nothing
  /// waits for factors.
  package func repeatBlockGradients(of batch: Microbatch, into sink: some GradientSink) {
    let gradient = matrix(buffers.headInputGradient, rows: batch.rowCount, columns: configuration.width)
    _ = blocksBackward(headInputGradient: gradient, batch, lastBlockIsThere: false, into: sink)
  }

  /// The head's gradient over rows of a record, computed once more: the logits of a chunk aren't kept, and the record's clip
  /// factor was not known when they were there. Valid until the next call.
  package func recomputedHeadGradients(
    of batch: Microbatch, rows: Range<Int>, body: (Range<Int>, LinearGradient) -> Void
  ) {
    let headInput = matrix(buffers.headInput, rows: batch.rowCount, columns: configuration.width)
    for chunk in chunks(of: rows) {
      body(chunk, headGradient(headInput, batch, rows: chunk))
    }
  }

  /// Writes losses and logit gradients of some rows.
  private func headGradient(_ headInput: Matrix, _ batch: Microbatch, rows: Range<Int>) -> LinearGradient {
    let logits = logits(headInput, rows: rows)
    RowKernels.crossEntropy(
      logits: logits, targets: UnsafeBufferPointer(rebasing: batch.targets[rows]),
      rowScale: Vector(rebasing: batch.lossScale[rows]),
      losses: UnsafeMutableBufferPointer(rebasing: batch.losses[rows]))
    return head.gradient(input: .stored(headInput.rows(rows)), outputGradient: logits)
  }

  /// Writes the gradient at the head's input, `[R,d]`.
  private func headBackward(_ headInput: Matrix, _ batch: Microbatch, into sink: some GradientSink) -> Matrix {
    let result = matrix(buffers.headInputGradient, rows: batch.rowCount, columns: configuration.width)
    let process = { (rows: Range<Int>) -> LinearGradient in
      let gradient = self.headGradient(headInput, batch, rows: rows)
      self.head.backward(outputGradient: gradient.outputGradient, into: result.rows(rows))
      return gradient
    }
    switch (buffers.options.logits, sink.headChunks) {
    case (.whole, _):
      let gradient = process(0..<batch.rowCount)
      gatherGradientsAtTokens(gradient.outputGradient, batch, rows: 0..<batch.rowCount)
      sink.receive(gradient)
    case (.chunks, .ofRows):
      for (index, rows) in chunks(of: 0..<batch.rowCount).enumerated() {
        sink.receiveHeadChunk(
          process(rows), HeadChunkPosition(example: 0, isFirst: index == 0, isLast: rows.upperBound == batch.rowCount))
      }
    case (.chunks, .withinRecords):
      for (example, record) in batch.records.enumerated() {
        for rows in chunks(of: record) {
          let gradient = process(rows)
          gatherGradientsAtTokens(gradient.outputGradient, batch, rows: rows)
          sink.receiveHeadChunk(
            gradient,
            HeadChunkPosition(
              example: example, isFirst: rows.lowerBound == record.lowerBound,
              isLast: rows.upperBound == record.upperBound))
        }
      }
    }
    return result
  }

  /// Returns the gradient at the embedding's output, `[R,d]`.
  ///
  /// - Parameter lastBlockIsThere: whether shared activations are still the last block's, as the forward pass left them.
  private func blocksBackward(
    headInputGradient: Matrix, _ batch: Microbatch, lastBlockIsThere: Bool, into sink: some GradientSink
  ) -> Matrix {
    let (rows, d) = (batch.rowCount, configuration.width)
    let normalized = matrix(buffers.finalNormalized, rows: rows, columns: d)
    var gradient = matrix(buffers.firstResidualGradient, rows: rows, columns: d)
    sink.receive(finalNorm.gradient(normalized: normalized, outputGradient: headInputGradient))
    RowKernels.fill(gradient.elements, with: 0)
    finalNorm.backward(
      outputGradient: headInputGradient, normalized: normalized, rstd: vector(buffers.finalRstd, count: rows),
      residualIn: gradient, residualOut: gradient)
    for l in blocks.indices.reversed() {
      let (block, at) = (blocks[l], buffers.blocks[l])
      if buffers.recomputesBlocks && !(lastBlockIsThere && l == blocks.count - 1) {
        recomputeActivations(of: block, at, batch)
      }
      gradient = feedForwardBackward(block, at, gradient, rows: rows, into: sink)
      gradient = attentionBackward(block, at, gradient, batch, into: sink)
    }
    return gradient
  }

  /// Makes a block's activations from its input, as the forward pass did. The residual stream between the block's halves is
  /// made where the inner layer's gradient will be.
  private func recomputeActivations(of block: Block, _ at: TransformerBuffers.Block, _ batch: Microbatch) {
    let (rows, d) = (batch.rowCount, configuration.width)
    let residual = matrix(buffers.wide, rows: rows, columns: d)
    _ = residual.elements.update(fromContentsOf: matrix(at.input, rows: rows, columns: d).elements)
    _ = makeActivations(of: block, at.activations, residual, batch)
  }

  /// From the gradient behind the block to the one between its two halves. `inner` becomes its own gradient, in place.
  private func feedForwardBackward(
    _ block: Block, _ at: TransformerBuffers.Block, _ gradient: Matrix, rows: Int, into sink: some GradientSink
  ) -> Matrix {
    let (d, width) = (configuration.width, configuration.innerWidth)
    let made = at.activations
    let inner = matrix(made.inner, rows: rows, columns: width)
    let activatedGradient = matrix(buffers.wide, rows: rows, columns: width)
    let normalized = matrix(made.normalized2, rows: rows, columns: d)
    let normGradient = matrix(at.normGradient2, rows: rows, columns: d)
    let result = matrix(at.residualGradient2, rows: rows, columns: d)

    sink.receive(
      block.outer.gradient(input: .stored(matrix(made.activated, rows: rows, columns: width)), outputGradient: gradient))
    block.outer.backward(outputGradient: gradient, into: activatedGradient)
    RowKernels.geluBackward(
      input: inner.elements, outputGradient: activatedGradient.elements, into: inner.elements)
    sink.receive(
      block.inner.gradient(
        input: .normalized(normalized, gain: block.norm2.gain, bias: block.norm2.bias), outputGradient: inner))
    block.inner.backward(outputGradient: inner, into: normGradient)
    sink.receive(block.norm2.gradient(normalized: normalized, outputGradient: normGradient))
    block.norm2.backward(
      outputGradient: normGradient, normalized: normalized, rstd: vector(made.rstd2, count: rows), residualIn: gradient,
      residualOut: result)
    return result
  }

  /// From the gradient between the block's halves to the one before it. `qkv` becomes its own gradient, in place.
  private func attentionBackward(
    _ block: Block, _ at: TransformerBuffers.Block, _ gradient: Matrix, _ batch: Microbatch,
    into sink: some GradientSink
  ) -> Matrix {
    let (rows, d) = (batch.rowCount, configuration.width)
    let made = at.activations
    let attended = matrix(made.attended, rows: rows, columns: d)
    let attendedGradient = matrix(buffers.wide, rows: rows, columns: d)
    let qkv = matrix(made.qkv, rows: rows, columns: 3 * d)
    let normalized = matrix(made.normalized1, rows: rows, columns: d)
    let normGradient = matrix(at.normGradient1, rows: rows, columns: d)
    let result = matrix(at.residualGradient1, rows: rows, columns: d)

    sink.receive(block.projection.gradient(input: .stored(attended), outputGradient: gradient))
    block.projection.backward(outputGradient: gradient, into: attendedGradient)
    attention.backward(
      qkv: qkv, records: batch.records, output: attended,
      logSumExp: matrix(made.logSumExp, rows: rows, columns: configuration.heads), outputGradient: attendedGradient,
      workspace: attentionWorkspace)
    sink.receive(
      block.qkv.gradient(
        input: .normalized(normalized, gain: block.norm1.gain, bias: block.norm1.bias), outputGradient: qkv))
    block.qkv.backward(outputGradient: qkv, into: normGradient)
    sink.receive(block.norm1.gradient(normalized: normalized, outputGradient: normGradient))
    block.norm1.backward(
      outputGradient: normGradient, normalized: normalized, rstd: vector(made.rstd1, count: rows), residualIn: gradient,
      residualOut: result)
    return result
  }

  private func gradientAtTokens(_ batch: Microbatch) -> Matrix {
    matrix(buffers.gradientAtTokens, rows: batch.rowCount, columns: batch.capacity.positions)
  }

  /// Keeps, of each row's logit gradients, those at the tokens of the row's own record: all that the tied norm's cross term
  /// needs.
  private func gatherGradientsAtTokens(_ logitGradients: Matrix, _ batch: Microbatch, rows: Range<Int>) {
    guard buffers.options.tiedCrossTerm else { return }
    let gathered = gradientAtTokens(batch)
    for record in batch.records where record.overlaps(rows) {
      let tokens = batch.tokens[record]
      for row in record.clamped(to: rows) {
        let source = logitGradients.base + (row - rows.lowerBound) * logitGradients.stride
        let target = gathered.base + row * gathered.stride
        for (t, token) in tokens.enumerated() { target[t] = source[Int(token)] }
      }
    }
  }
}
