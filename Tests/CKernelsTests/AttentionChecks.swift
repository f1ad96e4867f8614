import CKernels
import TestSupport

extension KernelCheck {
  /// A block of queries against keys before them: `columns` stands for the queries that came earlier, `gap` for masked columns
  /// beyond the block's end.
  private static let blocks: [(first: Int, gap: Int)] = [(0, 0), (5, 0), (0, 20), (16, 3)]

  static let attention: [KernelCheck] = [
    KernelCheck("ck_causal_softmax, ck_causal_probabilities") { shape, random, findings in
      for (before, gap) in blocks {
        let first = before + shape.columns
        let block = Shape(rows: shape.rows, columns: first + shape.rows + gap)
        var scores = random.floats(block.count, spread: 30)
        // What is masked may be anything.
        for m in 0..<block.rows { for j in (first + m + 1)..<block.columns { scores[m * block.columns + j] = .nan } }
        let expected = NaiveKernels.causalSoftmax(
          scores.doubles, rows: block.rows, columns: block.columns, first: first, scale: 0.125)

        let probabilities = block.spread(scores)
        let logSumExp = GuardedFloats(repeating: .nan, count: block.rows * 2)
        ck_causal_softmax(
          block.rows, block.columns, first, 0.125, probabilities.base, block.stride, logSumExp.base, 2)
        let lse = (0..<block.rows).map { logSumExp.values[2 * $0] }
        findings.expect(
          probabilities, shape: block, expected.probabilities, relative: 2e-6, absolute: 1e-9, "p after \(before), gap \(gap)")
        findings.compare(lse, expected.logSumExp, relative: 2e-7, absolute: 5e-7, "log_sum_exp")
        if !logSumExp.sentinelsAreIntact { findings.compare([0.0], [1.0], relative: 0, absolute: 0.1, "around log_sum_exp") }

        let again = block.spread(scores)
        ck_causal_probabilities(block.rows, block.columns, first, 0.125, again.base, block.stride, logSumExp.base, 2)
        findings.expect(
          again, shape: block, expected.probabilities, relative: 2e-6, absolute: 1e-9, "p from log_sum_exp, gap \(gap)")
      }
    },
    KernelCheck("ck_causal_softmax_backward") { shape, random, findings in
      for (before, gap) in blocks {
        let first = before + shape.columns
        let block = Shape(rows: shape.rows, columns: first + shape.rows + gap)
        let p = random.floats(block.count), delta = random.floats(block.rows)
        var dp = random.floats(block.count)
        for m in 0..<block.rows { for j in (first + m + 1)..<block.columns { dp[m * block.columns + j] = .nan } }
        let probabilities = block.spread(p), gradient = block.spread(dp), centre = GuardedFloats(delta)
        ck_causal_softmax_backward(
          block.rows, block.columns, first, 0.25, probabilities.base, block.stride, gradient.base, block.stride,
          centre.base, 1)
        let expected = NaiveKernels.causalSoftmaxBackward(
          probabilities: p.doubles, gradient: dp.doubles, delta: delta.doubles, rows: block.rows, columns: block.columns,
          first: first, scale: 0.25)
        findings.expect(gradient, shape: block, expected, absolute: 3e-7, "ds after \(before), gap \(gap)")
      }
    },
    KernelCheck("attention without a mask") { shape, random, findings in
      // Every query sees every key, however many of each there are.
      guard shape.columns > 0 else { return }
      let (rows, columns) = (shape.rows, shape.columns)
      let scores = random.floats(shape.count, spread: 30)
      let expected = NaiveKernels.causalSoftmax(scores.doubles, rows: rows, columns: columns, first: columns, scale: 0.125)
      let probabilities = shape.spread(scores), again = shape.spread(scores)
      let logSumExp = GuardedFloats(repeating: .nan, count: rows)
      ck_causal_softmax(rows, columns, columns, 0.125, probabilities.base, shape.stride, logSumExp.base, 1)
      findings.expect(probabilities, shape: shape, expected.probabilities, relative: 2e-6, absolute: 1e-9, "p")
      findings.expect(logSumExp, expected.logSumExp, relative: 2e-7, absolute: 5e-7, "log_sum_exp")
      ck_causal_probabilities(rows, columns, columns, 0.125, again.base, shape.stride, logSumExp.base, 1)
      findings.expect(again, shape: shape, expected.probabilities, relative: 2e-6, absolute: 1e-9, "p from log_sum_exp")

      let p = random.floats(shape.count), dp = random.floats(shape.count), delta = random.floats(rows)
      let factors = shape.spread(p), gradient = shape.spread(dp), centre = GuardedFloats(delta)
      ck_causal_softmax_backward(
        rows, columns, columns, 0.25, factors.base, shape.stride, gradient.base, shape.stride, centre.base, 1)
      let gradients = NaiveKernels.causalSoftmaxBackward(
        probabilities: p.doubles, gradient: dp.doubles, delta: delta.doubles, rows: rows, columns: columns, first: columns, scale: 0.25)
      findings.expect(gradient, shape: shape, gradients, absolute: 3e-7, "ds")
    },
    KernelCheck("ck_head_dots") { shape, random, findings in
      for heads in [1, 3] {
        let wide = Shape(rows: shape.rows, columns: heads * shape.columns)
        let a = random.floats(wide.count), b = random.floats(wide.count)
        let x = wide.spread(a), y = wide.spread(b)
        let out = Shape(rows: shape.rows, columns: heads)
        let delta = out.spread([Float](repeating: .nan, count: out.count))
        ck_head_dots(
          shape.rows, heads, shape.columns, x.base, wide.stride, y.base, wide.stride, delta.base, out.stride)
        let expected = NaiveKernels.headDots(a.doubles, b.doubles, rows: shape.rows, heads: heads, width: shape.columns)
        findings.expect(delta, shape: out, expected, absolute: 2e-6, "delta of \(heads) heads")
      }
    },
  ]
}
