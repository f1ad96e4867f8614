import CKernels

/// What blocks without layer norms, position tables and plain activations are made of.
extension RowKernels {
  /// Writes `normalized[R,d]` and `rstd[R]`.
  package static func rmsNorm(_ x: Matrix, epsilon: Float, normalized: Matrix, rstd: Vector) {
    precondition(normalized.rows == x.rows && normalized.columns == x.columns && normalized.isContiguous)
    precondition(rstd.count >= x.rows)
    splitRows(of: x) { r in ck_rms_norm(r.count, x.columns, x.row(r), x.stride, epsilon, normalized.row(r), rstd.element(r)) }
  }

  /// Writes `residualOut[R,d] = residualIn +` the gradient at the norm's input; in place where both are the same.
  package static func rmsNormBackward(
    outputGradient dy: Matrix, normalized: Matrix, rstd: Vector, gain: Vector, residualIn: Matrix, residualOut: Matrix
  ) {
    for m in [normalized, residualIn, residualOut] {
      precondition(m.rows == dy.rows && m.columns == dy.columns && m.isContiguous)
    }
    precondition(dy.isContiguous && rstd.count >= dy.rows && gain.count == dy.columns)
    splitRows(of: dy) { r in
      ck_rms_norm_backward(
        r.count, dy.columns, dy.row(r), normalized.row(r), rstd.element(r), gain.baseAddress, residualIn.row(r), residualOut.row(r))
    }
  }

  /// Which way ``rotate(_:by:positions:headWidth:_:)`` goes.
  package enum Rotation: Float {
    case forward = 1
    /// The transpose: from a result's gradient to the input's.
    case backward = -1
  }

  /// In place: rotates each head's pairs in `x[R, heads · headWidth]` by their row's angles. The positions are the caller's to check.
  ///
  /// - Parameter table: `[T, headWidth]`: a position's cosines, then its sines.
  package static func rotate(
    _ x: Matrix, by table: Matrix, positions: UnsafeBufferPointer<Int32>, headWidth: Int, _ rotation: Rotation
  ) {
    precondition(headWidth > 0 && headWidth % 2 == 0 && x.columns % headWidth == 0 && positions.count == x.rows)
    precondition(table.columns == headWidth && table.isContiguous)
    splitRows(of: x) { r in
      ck_rotate(
        r.count, x.columns / headWidth, headWidth, positions.element(r), table.base, rotation.rawValue, x.row(r), x.stride)
    }
  }

  /// Writes `y = silu(gate) ⊙ up`.
  package static func siluGate(_ gate: Vector, _ up: Vector, into y: Vector) {
    precondition(gate.count == y.count && up.count == y.count)
    splitElements(y.count) { i in ck_silu_gate(i.count, gate.element(i), up.element(i), y.element(i)) }
  }

  /// In place: `gate` and `up` become their own gradients.
  package static func siluGateBackward(outputGradient dy: Vector, gate: Vector, up: Vector) {
    precondition(gate.count == dy.count && up.count == dy.count)
    splitElements(dy.count) { i in ck_silu_gate_backward(i.count, dy.element(i), gate.element(i), up.element(i)) }
  }
}
