/// Token embeddings, with learned positions or without: `x[r] = tokens[token_r] + positions[position_r]`. The first stage.
package struct Embeddings: Sendable {
  package let tokens: ParameterID
  /// nil: none.
  private let positions: ParameterID?
  private let width: Int

  /// Declares the position table, if there is one.
  ///
  /// - Parameter tokens: `[V,d]`.
  init(
    tokens: ParameterID, vocabulary: Int, positions: (name: String, count: Int)? = nil, width: Int, fresh: FreshValues, in d: inout ModelDeclaration
  ) {
    self.tokens = tokens
    self.positions = positions.map { d.parameter($0.name, [$0.count, width], role: .table, group: d.newGroup(), fresh: fresh) }
    self.width = width
    d.needsColumnSums(width)
    d.needsPlaces(forRows: max(vocabulary, positions?.count ?? 0))
  }

  /// - Parameter gradient: of the stream behind the embeddings.
  func declareBackward(_ gradient: PassBufferID, in d: inout ModelDeclaration) {
    d.keepUntilBackward(gradient)
    d.keep(gradient, until: d.lastRead(tokens))
    d.keep(gradient, until: positions.flatMap { d.lastRead($0) })
  }

  /// Writes `x[R,d]`.
  func forward(into x: Matrix, in pass: Pass) {
    RowKernels.embed(
      tokens: pass.batch.tokens, positions: pass.batch.positions, tokenTable: pass.matrix(tokens),
      positionTable: positions.map { pass.matrix($0) }, into: x)
  }

  /// - Parameter tiedHead: where the head shares the token table and norms are taken without gradients.
  func backward(_ gradient: Matrix, tiedHead: TiedHead?, in pass: Pass, into sink: any GradientSink) {
    sink.receive(
      TableGradient(primary: pass.tensor(tokens), indices: pass.batch.tokens, outputGradient: gradient, tiedHead: tiedHead), in: pass)
    guard let positions else { return }
    sink.receive(
      TableGradient(primary: pass.tensor(positions), indices: pass.batch.positions, outputGradient: gradient, isOfPositions: true), in: pass)
  }
}
