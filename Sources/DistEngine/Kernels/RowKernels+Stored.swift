extension RowKernels {
  /// Writes `x[R,d] = tokenTable[tokens] + positionTable[positions]`, or without the latter, whatever the table of tokens is stored as. The indices
  /// are the caller's to check.
  package static func embed(
    tokens: UnsafeBufferPointer<Int32>, positions: UnsafeBufferPointer<Int32>, tokenTable: StoredMatrix, positionTable: Matrix?, into x: Matrix
  ) {
    switch tokenTable {
    case .floats(let table):
      embed(tokens: tokens, positions: positions, tokenTable: table, positionTable: positionTable, into: x)
    case .narrow(let table):
      precondition(tokens.count == x.rows && positions.count == x.rows && table.columns == x.columns)
      splitRows(of: x) { r in
        for row in r {
          let token = Int(tokens[row])
          table.block(token..<token + 1, 0..<table.columns).widen(into: x.rows(row..<row + 1))
        }
      }
      if let positionTable { addGatheredRows(of: positionTable, at: positions, to: x) }
    }
  }
}
