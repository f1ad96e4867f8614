/// Token embeddings, with learned positions and token types or without, and with a norm behind or without:
/// `x[r] = norm(tokens[token_r] + positions[position_r] + types[type_r])`. The first stage.
package struct Embeddings: Sendable {
  package struct Positions: Sendable {
    let name: String
    /// Rows of the table.
    let count: Int
    /// The row of position 0.
    var first = 0
  }

  package let tokens: ParameterID
  /// nil: none.
  private let positions: (table: ParameterID, first: Int)?
  private let types: ParameterID?
  private let norm: Norm?
  private let width: Int
  /// At the sum.
  private var sumGradient: PassBufferID?

  /// Declares the tables of positions and types, if there are any.
  ///
  /// - Parameters:
  ///   - tokens: `[V,d]`.
  ///   - norm: declared in this stage.
  init(
    tokens: ParameterID, vocabulary: Int, positions: Positions? = nil, types: (name: String, count: Int)? = nil, norm: Norm? = nil, width: Int,
    fresh: FreshValues, in d: inout ModelDeclaration
  ) {
    func table(_ name: String, _ count: Int, in d: inout ModelDeclaration) -> ParameterID {
      d.parameter(name, [count, width], role: .table, group: d.newGroup(), fresh: fresh)
    }
    self.tokens = tokens
    self.positions = positions.map { (table($0.name, $0.count, in: &d), $0.first) }
    self.types = types.map { table($0.name, $0.count, in: &d) }
    self.norm = norm
    self.width = width
    d.readsAsStored(tokens)
    d.needsColumnSums(width)
    d.needsPlaces(forRows: max(vocabulary, positions?.count ?? 0, types?.count ?? 0))
  }

  /// - Parameter gradient: of the stream behind the embeddings.
  mutating func declareBackward(_ gradient: PassBufferID, in d: inout ModelDeclaration) {
    var atSum = gradient
    if let norm {
      norm.declareBackward(outputGradient: gradient, continues: true, in: &d)
      atSum = d.successor(of: gradient, "embedding gradient", columns: width)
    }
    d.keepUntilBackward(atSum)
    d.keep(atSum, until: d.lastRead(tokens))
    d.keep(atSum, until: positions.flatMap { d.lastRead($0.table) })
    d.keep(atSum, until: types.flatMap { d.lastRead($0) })
    sumGradient = atSum
  }

  /// Writes `x[R,d]`.
  func forward(into x: Matrix, in pass: Pass) {
    RowKernels.embed(
      tokens: pass.batch.tokens, positions: pass.batch.positions, tokenTable: pass.stored(tokens),
      positionTable: positions.map { positions in
        let table = pass.matrix(positions.table)
        return table.rows(positions.first..<table.rows)
      }, into: x)
    if let types { RowKernels.addGatheredRows(of: pass.matrix(types), at: pass.batch.tokenTypes, to: x) }
    norm?.forward(x, into: x, in: pass)
  }

  /// - Parameter tiedHead: where the head shares the token table and norms are taken without gradients.
  func backward(_ gradient: Matrix, tiedHead: TiedHead?, in pass: Pass, into sink: any GradientSink) {
    var atSum = gradient
    if let norm {
      atSum = pass.matrix(sumGradient!, columns: width)
      sink.receive(norm.gradient(outputGradient: gradient, in: pass), in: pass)
      norm.backward(outputGradient: gradient, residualIn: nil, residualOut: atSum, in: pass)
    }
    sink.receive(
      TableGradient(primary: pass.tensor(tokens), indices: pass.batch.tokens, outputGradient: atSum, tiedHead: tiedHead), in: pass)
    if let positions {
      sink.receive(
        TableGradient(
          primary: pass.tensor(positions.table), indices: pass.batch.positions, outputGradient: atSum, isOfPositions: true,
          firstRow: positions.first), in: pass)
    }
    if let types {
      sink.receive(TableGradient(primary: pass.tensor(types), indices: pass.batch.tokenTypes, outputGradient: atSum), in: pass)
    }
  }
}
