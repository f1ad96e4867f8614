/// The attention half of a pre-norm block: `stream += projection(attention(qkv(norm(stream))))`, causal, H heads of width D.
package struct Attention: Layer {
  private let norm: LayerNorm
  private let qkv: Linear
  private let projection: Linear
  private let attention: CausalAttention
  private let width: Int
  /// `[R,3d]`: queries, keys and values, then their own gradient; `[R,d]`; `[R,H]`.
  private let projected, attended, logSumExp: PassBufferID
  private let rowScratch, wide: PassBufferID
  private let scratch: Scratch
  /// Gradients at the norm's output and of the stream before this layer.
  private var normGradient, result: PassBufferID?

  private struct Scratch {
    let threads: Int
    let scores, scoreGradients, keyGradient, valueGradient, delta: PassBufferID
  }

  init(
    norm: LayerNorm, qkv: (name: String, fresh: FreshValues), projection: (name: String, fresh: FreshValues), width: Int, heads: Int,
    layout: Linear.WeightLayout, in d: inout ModelDeclaration
  ) {
    self.norm = norm
    self.qkv = Linear(qkv.name, LinearShape(inputs: width, outputs: 3 * width), layout: layout, fresh: qkv.fresh, in: &d)
    self.projection = Linear(projection.name, LinearShape(inputs: width, outputs: width), layout: layout, fresh: projection.fresh, in: &d)
    self.width = width
    attention = CausalAttention(heads: heads, headWidth: width / heads)
    projected = d.activation("qkv", columns: 3 * width)
    attended = d.activation("attended", columns: width)
    logSumExp = d.activation("log-sum-exp", columns: heads)
    rowScratch = d.rowScratch(columns: width)
    wide = d.wideScratch(columns: width)
    let (threads, T) = (d.policy.threads, d.capacity.positions)
    let block = min(CausalAttention.queryBlock, T)
    scratch = Scratch(
      threads: threads, scores: d.blockScratch("attention scores", count: threads * block * T),
      scoreGradients: d.blockScratch("attention score gradients", count: threads * block * T, backwardOnly: true),
      keyGradient: d.blockScratch("key gradient", count: threads * T * (width / heads), backwardOnly: true),
      valueGradient: d.blockScratch("value gradient", count: threads * T * (width / heads), backwardOnly: true),
      delta: d.blockScratch("attention delta", count: d.capacity.rows * heads, backwardOnly: true))
  }

  private func workspace(_ pass: Pass) -> CausalAttention.Workspace {
    let memory = pass.memory
    return CausalAttention.Workspace(
      threads: scratch.threads, scores: memory.elements(scratch.scores), scoreGradients: memory.elements(scratch.scoreGradients),
      keyGradient: memory.elements(scratch.keyGradient), valueGradient: memory.elements(scratch.valueGradient),
      delta: memory.elements(scratch.delta))
  }

  package func forward(_ stream: Matrix, needsResult: Bool, in pass: Pass) {
    let scaled = pass.matrix(rowScratch, columns: width)
    let projected = pass.matrix(projected, columns: 3 * width)
    let attended = pass.matrix(attended, columns: width)
    norm.forward(stream, into: scaled, in: pass)
    qkv.forward(scaled, into: projected, in: pass)
    attention.forward(
      qkv: projected, sequences: pass.batch.sequences, output: attended, logSumExp: pass.matrix(logSumExp, columns: attention.heads),
      workspace: workspace(pass))
    if needsResult { projection.forwardAdding(attended, to: stream, in: pass) }
  }

  package mutating func declareBackward(_ gradient: PassBufferID, in d: inout ModelDeclaration) -> PassBufferID {
    projection.declareGradient(input: attended, outputGradient: gradient, in: &d)
    d.keepUntilBackward(attended)
    d.keepUntilBackward(logSumExp)
    d.keepUntilBackward(projected)
    qkv.declareGradient(input: norm.normalized, inputIsMade: true, outputGradient: projected, in: &d)
    let normGradient = d.normGradient("ln_1 output gradient", of: norm, columns: width)
    norm.declareBackward(outputGradient: normGradient, continues: true, in: &d)
    let result = d.successor(of: gradient, "attention residual gradient", columns: width)
    (self.normGradient, self.result) = (normGradient, result)
    return result
  }

  /// `projected` becomes its own gradient, in place.
  package func backward(_ gradient: Matrix, in pass: Pass, into sink: any GradientSink) -> Matrix {
    let attended = pass.matrix(attended, columns: width)
    let attendedGradient = pass.matrix(wide, columns: width)
    let projected = pass.matrix(projected, columns: 3 * width)
    let normGradient = pass.matrix(normGradient!, columns: width)
    let result = pass.matrix(result!, columns: width)

    sink.receive(projection.gradient(input: .stored(attended), outputGradient: gradient, in: pass), in: pass)
    projection.backward(outputGradient: gradient, into: attendedGradient, in: pass)
    attention.backward(
      qkv: projected, sequences: pass.batch.sequences, output: attended, logSumExp: pass.matrix(logSumExp, columns: attention.heads),
      outputGradient: attendedGradient, workspace: workspace(pass))
    sink.receive(qkv.gradient(input: norm.output(in: pass), outputGradient: projected, in: pass), in: pass)
    qkv.backward(outputGradient: projected, into: normGradient, in: pass)
    sink.receive(norm.gradient(outputGradient: normGradient, in: pass), in: pass)
    norm.backward(outputGradient: normGradient, residualIn: gradient, residualOut: result, in: pass)
    return result
  }
}
