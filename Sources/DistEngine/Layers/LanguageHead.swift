/// Logits over the vocabulary and their cross entropy, whole or in chunks of rows; the weight `[V,d]` is the token table's where it is
/// tied.
package struct LanguageHead: Sendable {
  package let linear: Linear
  private let width: Int
  private let vocabulary: Int
  /// Whether the weight's norm needs the cross term with the token table's other use.
  private let needsCrossTerm: Bool
  private let logits, gradientAtTokens: PassBufferID
  /// Of the gradient at the head's input.
  private var inputGradient: PassBufferID?

  /// Declares the weight, or uses the token table.
  init(_ name: String, tiedTo table: ParameterID?, vocabulary: Int, width: Int, fresh: FreshValues, in d: inout ModelDeclaration) {
    if let table { d.use(table) }
    let weight = table ?? d.parameter(name, [vocabulary, width], role: .head, group: d.newGroup(), fresh: fresh)
    linear = Linear(weight: weight, LinearShape(inputs: width, outputs: vocabulary), in: &d)
    self.width = width
    self.vocabulary = vocabulary
    needsCrossTerm = d.policy.takesGhostNorms && d.useCount(weight) > 1 && d.isTrained(weight)
    let rows = d.capacity.rows
    switch d.policy.logits {
    case .whole:
      logits = d.buffer("logits", .activations, count: rows * vocabulary)
      d.keep(logits, until: d.lastRead(weight))
    case .chunks(let chunk):
      logits = d.buffer("logits of a chunk", .workspace, count: min(chunk, rows) * vocabulary)
      // Made again for the weighted sum where factors weren't known the first time, and where there are several units: of one
      // the gradient itself is kept.
      if d.capacity.units > 1 { d.keep(logits, until: d.lastRead(weight)) }
    }
    gradientAtTokens = d.buffer("logit gradients at tokens", .bookKeeping, count: needsCrossTerm ? rows * d.capacity.unitRows : 0)
    if needsCrossTerm { d.keep(gradientAtTokens, until: d.timeline.backward(0)) }
  }

  /// - Parameter input: `[R,d]`, the head's.
  /// - Returns: the gradient at it.
  mutating func declareBackward(input: PassBufferID, in d: inout ModelDeclaration) -> PassBufferID {
    d.keep(input, until: d.lastRead(linear.weight))
    if needsCrossTerm { d.keep(input, until: d.timeline.backward(0)) }
    d.rowScratch(columns: min(width, vocabulary))
    let gradient = d.gradient("head input gradient", columns: width)
    inputGradient = gradient
    return gradient
  }

  // MARK: Forward

  /// Writes `batch.losses`, in nats a row.
  func losses(_ input: Matrix, in pass: Pass) {
    for rows in chunks(of: 0..<pass.rows, pass) {
      RowKernels.crossEntropyLosses(
        logits: logits(input, rows: rows, in: pass), targets: UnsafeBufferPointer(rebasing: pass.batch.targets[rows]),
        losses: UnsafeMutableBufferPointer(rebasing: pass.batch.losses[rows]))
    }
  }

  /// Writes the logits of some rows to the logits buffer: at their own place where all are held, else at its start.
  func logits(_ input: Matrix, rows: Range<Int>, in pass: Pass) -> Matrix {
    let logits =
      switch pass.memory.policy.logits {
      case .whole: pass.matrix(logits, columns: vocabulary).rows(rows)
      case .chunks: pass.matrix(logits, rows: rows.count, columns: vocabulary)
      }
    linear.forward(input.rows(rows), into: logits, in: pass)
    return logits
  }

  /// Ranges of rows whose logits the buffer holds at a time.
  private func chunks(of rows: Range<Int>, _ pass: Pass) -> [Range<Int>] {
    switch pass.memory.policy.logits {
    case .whole: return rows.isEmpty ? [] : [rows]
    case .chunks(let size):
      return stride(from: rows.lowerBound, to: rows.upperBound, by: size).map { $0..<min($0 + size, rows.upperBound) }
    }
  }

  // MARK: Backward

  /// Writes losses, hands over the head's gradient and returns that at its input, `[R,d]`.
  func lossesAndGradient(_ input: Matrix, in pass: Pass, into sink: any GradientSink) -> Matrix {
    let result = pass.matrix(inputGradient!, columns: width)
    func process(_ rows: Range<Int>) -> LinearGradient {
      let gradient = gradient(input, rows: rows, in: pass)
      if pass.memory.gradientGoesBelowHead {
        linear.backward(outputGradient: gradient.outputGradient, into: result.rows(rows), in: pass)
      }
      return gradient
    }
    switch (pass.memory.policy.logits, sink.headChunks) {
    case (.whole, _):
      let gradient = process(0..<pass.rows)
      gatherGradientsAtTokens(gradient.outputGradient, rows: 0..<pass.rows, in: pass)
      sink.receive(gradient, in: pass)
    case (.chunks, .ofRows):
      for (index, rows) in chunks(of: 0..<pass.rows, pass).enumerated() {
        hand(process(rows), HeadChunkPosition(unit: 0, units: pass.batch.unitRows, isFirst: index == 0, isLast: rows.upperBound == pass.rows), to: sink)
      }
    case (.chunks, .withinUnits):
      for (unit, unitRows) in pass.batch.unitRows.enumerated() {
        for rows in chunks(of: unitRows, pass) {
          let gradient = process(rows)
          gatherGradientsAtTokens(gradient.outputGradient, rows: rows, in: pass)
          hand(
            gradient,
            HeadChunkPosition(
              unit: unit, units: pass.batch.unitRows, isFirst: rows.lowerBound == unitRows.lowerBound, isLast: rows.upperBound == unitRows.upperBound), to: sink)
        }
      }
    }
    return result
  }

  private func hand(_ gradient: LinearGradient, _ position: HeadChunkPosition, to sink: any GradientSink) {
    if gradient.primary != nil { sink.receiveHeadChunk(gradient, position) }
  }

  /// The head's gradient over rows of a unit, computed once more: the logits of a chunk aren't kept, and the unit's clip factor was not
  /// known when they were there. Valid until the next call.
  func repeatGradients(_ input: Matrix, rows: Range<Int>, in pass: Pass, body: (Range<Int>, LinearGradient) -> Void) {
    for chunk in chunks(of: rows, pass) { body(chunk, gradient(input, rows: chunk, in: pass)) }
  }

  /// What the norm of the tied table needs of this layer; nil where it isn't tied.
  func tied(_ input: Matrix, in pass: Pass) -> TiedHead? {
    needsCrossTerm ? TiedHead(input: input, gradientAtTokens: gradientAtTokens(pass)) : nil
  }

  /// Writes losses and logit gradients of some rows.
  private func gradient(_ input: Matrix, rows: Range<Int>, in pass: Pass) -> LinearGradient {
    let logits = logits(input, rows: rows, in: pass)
    RowKernels.crossEntropy(
      logits: logits, targets: UnsafeBufferPointer(rebasing: pass.batch.targets[rows]),
      rowScale: Vector(rebasing: pass.batch.lossScale[rows]),
      losses: UnsafeMutableBufferPointer(rebasing: pass.batch.losses[rows]))
    return linear.gradient(input: .stored(input.rows(rows)), outputGradient: logits, in: pass)
  }

  private func gradientAtTokens(_ pass: Pass) -> Matrix { pass.matrix(gradientAtTokens, columns: pass.batch.capacity.unitRows) }

  /// Keeps, of each row's logit gradients, those at the tokens of the row's own unit: all that the tied norm's cross term needs.
  private func gatherGradientsAtTokens(_ logitGradients: Matrix, rows: Range<Int>, in pass: Pass) {
    guard needsCrossTerm else { return }
    let gathered = gradientAtTokens(pass)
    for unit in pass.batch.unitRows where unit.overlaps(rows) {
      let tokens = pass.batch.tokens[unit]
      for row in unit.clamped(to: rows) {
        let source = logitGradients.base + (row - rows.lowerBound) * logitGradients.stride
        let target = gathered.base + row * gathered.stride
        for (t, token) in tokens.enumerated() { target[t] = source[Int(token)] }
      }
    }
  }
}
