import CKernels

/// What stands between products, element by element.
extension RowKernels {
  /// Writes `y = gelu_new(x)`.
  package static func gelu(_ x: Vector, into y: Vector) {
    precondition(x.count == y.count)
    splitElements(x.count) { i in ck_gelu(i.count, x.element(i), y.element(i)) }
  }

  /// Writes `dx = dy · gelu_new'(x)`; `dx` may be `x` or `dy`.
  package static func geluBackward(input x: Vector, outputGradient dy: Vector, into dx: Vector) {
    precondition(x.count == dy.count && x.count == dx.count)
    splitElements(x.count) { i in ck_gelu_backward(i.count, x.element(i), dy.element(i), dx.element(i)) }
  }

  /// Writes `y = gelu(x)`, by the error function.
  package static func geluErf(_ x: Vector, into y: Vector) {
    precondition(x.count == y.count)
    splitElements(x.count) { i in ck_gelu_erf(i.count, x.element(i), y.element(i)) }
  }

  /// Writes `dx = dy · gelu'(x)`; `dx` may be `x` or `dy`.
  package static func geluErfBackward(input x: Vector, outputGradient dy: Vector, into dx: Vector) {
    precondition(x.count == dy.count && x.count == dx.count)
    splitElements(x.count) { i in ck_gelu_erf_backward(i.count, x.element(i), dy.element(i), dx.element(i)) }
  }

  /// Writes `y = tanh(x)`; in place where both are the same.
  package static func tanh(_ x: Vector, into y: Vector) {
    precondition(x.count == y.count)
    splitElements(x.count) { i in ck_tanh(i.count, x.element(i), y.element(i)) }
  }

  /// Writes `dx = dy · (1 - y²)`, `y` the result; `dx` may be `y` or `dy`.
  package static func tanhBackward(result y: Vector, outputGradient dy: Vector, into dx: Vector) {
    precondition(y.count == dy.count && y.count == dx.count)
    splitElements(y.count) { i in ck_tanh_backward(i.count, y.element(i), dy.element(i), dx.element(i)) }
  }

  /// Writes `y = max(x, 0)`; in place where both are the same.
  package static func relu(_ x: Vector, into y: Vector) {
    precondition(x.count == y.count)
    splitElements(x.count) { i in ck_relu(i.count, x.element(i), y.element(i)) }
  }

  /// Writes `dx = dy` where the result `y` is above 0, else 0; `dx` may be `y` or `dy`.
  package static func reluBackward(result y: Vector, outputGradient dy: Vector, into dx: Vector) {
    precondition(y.count == dy.count && y.count == dx.count)
    splitElements(y.count) { i in ck_relu_backward(i.count, y.element(i), dy.element(i), dx.element(i)) }
  }
}
