/// The attention half of a block: what is added to the stream is `output(attention(rotated(input(x))))`, x the stream as ``Residual`` has it.
package struct Attention: Layer {
  /// Where queries, keys and values come from, and where the result goes.
  package struct Projections: Sendable {
    package enum Input: Sendable {
      /// One product for all three.
      case fused(String)
      case separate(queries: String, keys: String, values: String)
    }
    let input: Input
    let output: String
    let layout: Linear.WeightLayout
    var inputHasBias = true
    var outputHasBias = true
    let fresh: FreshValues
    /// Of the product that adds to the residual stream.
    let outputFresh: FreshValues
  }

  private var residual: Residual
  private let input: [(projection: Projection, columns: Range<Int>)]
  private let output: Projection
  private let attention: SelfAttention
  private let width: Int
  private let rotation: Rotation?
  /// `[R,(H+2K)D]`: queries, keys (both rotated) and values, then their own gradient; `[R,HD]`; `[R,H]`.
  private let projected, attended, logSumExp: PassBufferID
  /// `[T, 2KD]`: keys (rotated) and values of the positions so far, where they are kept from pass to pass.
  private let cache: PassBufferID?
  private let wide: PassBufferID
  private let scratch: Scratch

  private struct Scratch {
    let threads: Int
    let scores, scoreGradients, keyGradient, valueGradient, delta: PassBufferID
  }

  private struct Rotation {
    /// `[T, D]`
    let table: PassBufferID
    let positions: Int
  }

  init(
    _ residual: Residual, _ projections: Projections, width: Int, attention: SelfAttention, rotary: RotaryPositions? = nil, in d: inout ModelDeclaration
  ) {
    self.residual = residual
    self.width = width
    self.attention = attention
    let (heads, headWidth) = (attention.heads, attention.headWidth)
    func project(_ name: String, _ columns: Range<Int>, in d: inout ModelDeclaration) -> (Projection, Range<Int>) {
      let shape = LinearShape(inputs: width, outputs: columns.count)
      return (Projection(name, shape, layout: projections.layout, hasBias: projections.inputHasBias, fresh: projections.fresh, in: &d), columns)
    }
    switch projections.input {
    case .fused(let name): input = [project(name, 0..<attention.columns, in: &d)]
    case .separate(let queries, let keys, let values):
      input = [
        project(queries, attention.queryColumns, in: &d), project(keys, attention.keyColumns, in: &d),
        project(values, attention.valueColumns, in: &d),
      ]
    }
    output = Projection(
      projections.output, LinearShape(inputs: heads * headWidth, outputs: width), layout: projections.layout,
      hasBias: projections.outputHasBias, fresh: projections.outputFresh, in: &d)
    projected = d.activation("qkv", columns: attention.columns)
    attended = d.activation("attended", columns: heads * headWidth)
    logSumExp = d.activation("log-sum-exp", columns: heads)
    wide = d.wideScratch(columns: max(width, heads * headWidth))
    let (threads, T) = (d.policy.threads, d.capacity.positions)
    let block = min(SelfAttention.queryBlock, T)
    scratch = Scratch(
      threads: threads, scores: d.blockScratch("attention scores", count: threads * block * T),
      scoreGradients: d.blockScratch("attention score gradients", count: threads * block * T, backwardOnly: true),
      keyGradient: d.blockScratch("key gradient", count: threads * T * headWidth, backwardOnly: true),
      valueGradient: d.blockScratch("value gradient", count: threads * T * headWidth, backwardOnly: true),
      delta: d.blockScratch("attention delta", count: d.capacity.rows * heads, backwardOnly: true))
    rotation = rotary.map { rotary in
      let table = d.constant("rotary table", count: T * headWidth) { elements in
        rotary.fill(Matrix(elements.baseAddress!, rows: T, columns: headWidth))
      }
      return Rotation(table: table, positions: T)
    }
    cache = d.policy.cachesKeys ? d.persistent("keys and values", count: T * 2 * attention.keyColumns.count) : nil
  }

  private func workspace(_ pass: Pass) -> SelfAttention.Workspace {
    let memory = pass.memory
    return SelfAttention.Workspace(
      threads: scratch.threads, scores: memory.elements(scratch.scores), scoreGradients: memory.elements(scratch.scoreGradients),
      keyGradient: memory.elements(scratch.keyGradient), valueGradient: memory.elements(scratch.valueGradient),
      delta: memory.elements(scratch.delta))
  }

  package func forward(_ stream: Matrix, needsResult: Bool, in pass: Pass) {
    let projected = pass.matrix(projected, columns: attention.columns)
    let attended = pass.matrix(attended, columns: output.shape.inputs)
    let logSumExp = pass.matrix(logSumExp, columns: attention.heads)
    let x = residual.input(stream, in: pass)
    for (projection, columns) in input { projection.forward(x, into: projected.columns(columns), in: pass) }
    rotate(projected, .forward, in: pass)
    if let cache, let first = pass.batch.positions.first.map({ Int($0) }) {
      let cached = pass.matrix(cache, rows: pass.batch.capacity.positions, columns: 2 * attention.keyColumns.count)
      cached.rows(first..<first + pass.rows).update(
        from: projected.columns(attention.keyColumns.lowerBound..<attention.valueColumns.upperBound))
      attention.forward(
        queries: projected.columns(attention.queryColumns), cache: cached, first: first, output: attended, logSumExp: logSumExp,
        workspace: workspace(pass))
    } else {
      attention.forward(
        qkv: projected, sequences: pass.batch.sequences, output: attended, logSumExp: logSumExp, workspace: workspace(pass))
    }
    output.lower(attended, in: pass)
    residual.finish(stream, needsResult: needsResult, in: pass) { output.forwardAdding(attended, to: $0, in: pass) }
  }

  /// Queries and keys, which lie side by side.
  private func rotate(_ projected: Matrix, _ direction: RowKernels.Rotation, in pass: Pass) {
    guard let rotation else { return }
    RowKernels.rotate(
      projected.columns(0..<attention.keyColumns.upperBound),
      by: pass.matrix(rotation.table, rows: rotation.positions, columns: attention.headWidth),
      positions: pass.batch.positions, headWidth: attention.headWidth, direction)
  }

  package mutating func declareBackward(_ gradient: PassBufferID, in d: inout ModelDeclaration) -> PassBufferID {
    output.declareGradient(input: attended, outputGradient: residual.declareOutputGradient(gradient, in: &d), in: &d)
    d.keepUntilBackward(attended)
    d.keepUntilBackward(logSumExp)
    d.keepUntilBackward(projected)
    for (projection, _) in input { residual.declareGradient(of: projection, outputGradient: projected, in: &d) }
    return residual.declareInputGradient(in: &d)
  }

  /// `projected` becomes its own gradient, in place.
  package func backward(_ gradient: Matrix, goesOn: Bool, in pass: Pass, into sink: any GradientSink) -> Matrix {
    let attended = pass.matrix(attended, columns: output.shape.inputs)
    let attendedGradient = pass.matrix(wide, columns: output.shape.inputs)
    let projected = pass.matrix(projected, columns: attention.columns)
    let gradient = residual.outputGradient(gradient, in: pass, into: sink)

    output.backward(input: .stored(attended), outputGradient: gradient, into: attendedGradient, in: pass, handingTo: sink)
    attention.backward(
      qkv: projected, sequences: pass.batch.sequences, output: attended, logSumExp: pass.matrix(logSumExp, columns: attention.heads),
      outputGradient: attendedGradient, workspace: workspace(pass))
    rotate(projected, .backward, in: pass)
    let (place, isBegun) = residual.inputGradient(gradient, goesOn: goesOn, in: pass)
    for (index, (projection, columns)) in input.enumerated() {
      projection.backward(
        input: residual.input(in: pass), outputGradient: projected.columns(columns), into: place, adding: isBegun || index > 0, in: pass,
        handingTo: sink)
    }
    return residual.finishBackward(outputGradient: gradient, inputGradient: place, in: pass, into: sink)
  }
}
