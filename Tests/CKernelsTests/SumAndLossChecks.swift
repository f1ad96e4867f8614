import CKernels
import TestSupport

extension KernelCheck {
  static let sums: [KernelCheck] = [
    KernelCheck("ck_squared_norm, ck_dot") { shape, random, findings in
      let x = random.floats(shape.count), y = random.floats(shape.count)
      let a = GuardedFloats(x), b = GuardedFloats(y)
      let square = ck_squared_norm(shape.count, a.base), product = ck_dot(shape.count, a.base, b.base)
      findings.compare([square], [NaiveKernels.dot(x.doubles, x.doubles)], relative: 1e-13, absolute: 0x1p-1000, "squared norm")
      findings.compare([product], [NaiveKernels.dot(x.doubles, y.doubles)], relative: 1e-13, absolute: 1e-12, "dot product")
    },
    KernelCheck("ck_symmetric_inner_product") { shape, random, findings in
      let n = min(shape.columns, 101)
      let square = Shape(rows: n, columns: n)
      var a = random.floats(n * n), g = random.floats(n * n)
      var expected = 0.0
      for t in 0..<n {
        for s in 0..<n {
          let (low, high) = (min(s, t), max(s, t))
          expected += Double(a[high * n + low]) * Double(g[high * n + low])
        }
      }
      for t in 0..<n {
        for s in (t + 1)..<max(n, t + 1) {
          a[t * n + s] = .nan
          g[t * n + s] = .nan
        }
      }
      let left = square.spread(a), right = square.spread(g)
      let product = ck_symmetric_inner_product(n, left.base, square.stride, right.base, square.stride)
      findings.compare([product], [expected], relative: 1e-13, absolute: 1e-11, "inner product")
    },
    KernelCheck("ck_add_scaled") { shape, random, findings in
      let x = random.floats(shape.count), y = random.floats(shape.count)
      let from = GuardedFloats(x), to = GuardedFloats(y)
      ck_add_scaled(shape.count, -0.37, from.base, to.base)
      findings.expect(to, zip(x, y).map { Double(Float(-0.37)) * Double($0) + Double($1) }, "y")
    },
  ]

  static let losses: [KernelCheck] = [
    KernelCheck("ck_cross_entropy, ck_cross_entropy_losses") { shape, random, findings in
      guard shape.columns > 0 else { return }
      for spread: Float in [3, 300] {
        let values = random.floats(shape.count, spread: spread)
        let targets = random.indices(shape.rows, below: shape.columns), scale = random.floats(shape.rows)
        let logits = shape.spread(values)
        var losses = [Double](repeating: .nan, count: shape.rows), gradientLosses = losses
        ck_cross_entropy_losses(shape.rows, shape.columns, logits.base, shape.stride, targets, &losses)
        ck_cross_entropy(shape.rows, shape.columns, logits.base, shape.stride, targets, scale, &gradientLosses)
        let expected = NaiveKernels.crossEntropy(
          values.doubles, targets: targets, rowScale: scale.doubles, rows: shape.rows, vocabulary: shape.columns)
        findings.compare(losses, expected.losses, relative: 2e-7, absolute: 2e-7, "losses alone, logits to \(spread)")
        findings.compare(gradientLosses, expected.losses, relative: 2e-7, absolute: 2e-7, "losses, logits to \(spread)")
        findings.expect(
          logits, shape: shape, expected.gradient, relative: 1e-6, absolute: 1e-7, "dlogits, logits to \(spread)")
      }
    },
    KernelCheck("ck_cross_entropy, ck_cross_entropy_losses: rows without a target that counts") { shape, random, findings in
      guard shape.columns > 0 else { return }
      var values = random.floats(shape.count, spread: 3), targets = random.indices(shape.rows, below: shape.columns)
      let scale = random.floats(shape.rows)
      var expected = NaiveKernels.crossEntropy(
        values.doubles, targets: targets, rowScale: scale.doubles, rows: shape.rows, vocabulary: shape.columns)
      for row in stride(from: 0, to: shape.rows, by: 2) {
        (targets[row], expected.losses[row]) = (-1, 0)
        for column in 0..<shape.columns {
          expected.gradient[row * shape.columns + column] = 0
          values[row * shape.columns + column] = [.nan, .infinity, 3e38][column % 3]
        }
      }
      let logits = shape.spread(values)
      var losses = [Double](repeating: .nan, count: shape.rows), gradientLosses = losses
      ck_cross_entropy_losses(shape.rows, shape.columns, logits.base, shape.stride, targets, &losses)
      ck_cross_entropy(shape.rows, shape.columns, logits.base, shape.stride, targets, scale, &gradientLosses)
      findings.compare(losses, expected.losses, relative: 2e-7, absolute: 2e-7, "losses alone")
      findings.compare(gradientLosses, expected.losses, relative: 2e-7, absolute: 2e-7, "losses")
      findings.expect(logits, shape: shape, expected.gradient, relative: 1e-6, absolute: 1e-7, "dlogits")
    },
  ]

  static let optimizers: [KernelCheck] = [
    KernelCheck("ck_adamw") { shape, random, findings in
      let lr: Float = 0.01, beta1: Float = 0.9, beta2: Float = 0.999, epsilon: Float = 1e-8, decay: Float = 0.1
      let w = GuardedFloats(random.floats(shape.count))
      let m = GuardedFloats(repeating: 0, count: shape.count), v = GuardedFloats(repeating: 0, count: shape.count)
      var twin = NaiveKernels.AdamW(parameters: w.values.doubles, m: m.values.doubles, v: v.values.doubles)
      for step in 1...3 {
        let gradient = random.floats(shape.count)
        let c1 = 1 / (1 - (0..<step).reduce(1.0) { product, _ in product * Double(beta1) })
        let c2 = 1 / (1 - (0..<step).reduce(1.0) { product, _ in product * Double(beta2) })
        ck_adamw(
          shape.count, w.base, gradient, 0.5, m.base, v.base, lr, beta1, beta2, epsilon, decay, Float(c1), Float(c2))
        twin.update(
          gradient: gradient.map { Double($0) * 0.5 }, learningRate: Double(lr), beta1: Double(beta1), beta2: Double(beta2),
          epsilon: Double(epsilon), decay: Double(decay), step: step)
      }
      findings.expect(w, twin.parameters, absolute: 1e-6, "parameters")
      findings.expect(m, twin.m, absolute: 1e-7, "first moment")
      findings.expect(v, twin.v, absolute: 1e-9, "second moment")
    },
    KernelCheck("ck_sgd") { shape, random, findings in
      for momentum: Float in [0, 0.9] {
        let w = GuardedFloats(random.floats(shape.count)), u = GuardedFloats(repeating: 0, count: shape.count)
        var parameters = w.values.doubles, velocity = u.values.doubles
        for _ in 1...3 {
          let gradient = random.floats(shape.count)
          ck_sgd(shape.count, w.base, gradient, 0.5, momentum == 0 ? nil : u.base, 0.1, momentum, 0.01)
          for i in parameters.indices {
            velocity[i] = Double(momentum) * velocity[i] + 0.5 * Double(gradient[i]) + Double(Float(0.01)) * parameters[i]
            parameters[i] -= Double(Float(0.1)) * velocity[i]
          }
        }
        findings.expect(w, parameters, "parameters, momentum \(momentum)")
        if momentum > 0 { findings.expect(u, velocity, "velocity") }
      }
    },
  ]
}
