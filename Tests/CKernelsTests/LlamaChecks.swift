import CKernels
import Foundation
import TestSupport

extension KernelCheck {
  static let llama: [KernelCheck] = [
    KernelCheck("ck_rms_norm") { shape, random, findings in
      for offset: Float in [0, 1000] {
        let x = random.floats(shape.count, spread: 2).map { $0 + offset }
        let input = shape.spread(x)
        let normalized = GuardedFloats(repeating: .nan, count: shape.count), rstd = GuardedFloats(repeating: .nan, count: shape.rows)
        ck_rms_norm(shape.rows, shape.columns, input.base, shape.stride, 1e-5, normalized.base, rstd.base)
        let expected = NaiveKernels.rmsNorm(x.doubles, rows: shape.rows, d: shape.columns, epsilon: Double(Float(1e-5)))
        findings.expect(normalized, expected.normalized, "normalized at offset \(offset)")
        findings.expect(rstd, expected.rstd, "rstd at offset \(offset)")
      }
    },
    KernelCheck("ck_scale_shift without a bias") { shape, random, findings in
      let x = random.floats(shape.count), gain = GuardedFloats(random.floats(shape.columns))
      for weights in [nil, shape.weights(&random)] {
        let scale = weights.map(GuardedFloats.init)
        let input = GuardedFloats(weights.map { shape.poisoned(x, $0) } ?? x), y = GuardedFloats(repeating: .nan, count: shape.count)
        ck_scale_shift(shape.rows, shape.columns, input.base, gain.base, nil, scale?.base, y.base)
        let expected = NaiveKernels.scaleShift(
          input.values.doubles, rows: shape.rows, d: shape.columns, gain: gain.values.doubles,
          bias: [Double](repeating: 0, count: shape.columns), rowScale: weights?.doubles)
        findings.expect(y, expected, weights == nil ? "y" : "y with row scales")
      }
    },
    KernelCheck("ck_rms_norm_backward") { shape, random, findings in
      let dy = random.floats(shape.count), normalized = random.floats(shape.count, spread: 2)
      let residual = random.floats(shape.count), rstd = random.floats(shape.rows), gain = random.floats(shape.columns)
      let expected = NaiveKernels.rmsNormBackward(
        dy: dy.doubles, normalized: normalized.doubles, rstd: rstd.doubles, gain: gain.doubles, residual: residual.doubles,
        rows: shape.rows, d: shape.columns)
      let buffers = [dy, normalized, rstd, gain].map(GuardedFloats.init)
      let input = GuardedFloats(residual), out = GuardedFloats(repeating: .nan, count: shape.count)
      for (from, to, what) in [(input, out, "residual_out"), (input, input, "residual in place")] {
        ck_rms_norm_backward(
          shape.rows, shape.columns, buffers[0].base, buffers[1].base, buffers[2].base, buffers[3].base, from.base, to.base)
        findings.expect(to, expected, what)
      }
    },
    KernelCheck("ck_rotate") { shape, random, findings in
      let half = min(shape.columns, 129)
      for heads in [1, 3] {
        let wide = Shape(rows: shape.rows, columns: 2 * half * heads)
        let positions = random.indices(shape.rows, below: 40)
        let angles = random.floats(40 * half, spread: 4)
        let table = GuardedFloats(
          (0..<40).flatMap { t -> [Float] in
            let own = angles[t * half..<(t + 1) * half]
            return own.map { cosf($0) } + own.map { sinf($0) }
          })
        let x = random.floats(wide.count)
        let rotated = wide.spread(x), back = wide.spread(x)
        ck_rotate(wide.rows, heads, 2 * half, positions, table.base, 1, rotated.base, wide.stride)
        ck_rotate(wide.rows, heads, 2 * half, positions, table.base, -1, back.base, wide.stride)
        for (buffer, direction) in [(rotated, 1.0), (back, -1.0)] {
          let expected = NaiveKernels.rotated(
            x.doubles, rows: wide.rows, heads: heads, width: 2 * half, positions: positions, table: table.values.doubles, direction: direction)
          findings.expect(buffer, shape: wide, expected, "\(heads) heads, direction \(direction)")
        }
      }
    },
    KernelCheck("ck_silu_gate") { shape, random, findings in
      let gate = random.floats(shape.count, spread: 20), up = random.floats(shape.count)
      let g = GuardedFloats(gate), u = GuardedFloats(up), y = GuardedFloats(repeating: .nan, count: shape.count)
      let expected = zip(gate.doubles, up.doubles).map { NaiveKernels.silu($0) * $1 }
      ck_silu_gate(shape.count, g.base, u.base, y.base)
      findings.expect(y, expected, relative: 1e-6, absolute: 1e-27, "y")
      ck_silu_gate(shape.count, g.base, u.base, u.base)
      findings.expect(u, expected, relative: 1e-6, absolute: 1e-27, "y in place")
    },
    KernelCheck("ck_silu_gate_backward") { shape, random, findings in
      let gate = random.floats(shape.count, spread: 20), up = random.floats(shape.count), dy = random.floats(shape.count)
      let g = GuardedFloats(gate), u = GuardedFloats(up), d = GuardedFloats(dy)
      ck_silu_gate_backward(shape.count, d.base, g.base, u.base)
      let products = zip(dy.doubles, up.doubles).map { $0 * $1 }
      findings.expect(g, zip(gate.doubles, products).map { NaiveKernels.siluDerivative($0) * $1 }, absolute: 1e-6, "gate's gradient")
      findings.expect(
        u, zip(gate.doubles, dy.doubles).map { NaiveKernels.silu($0) * $1 }, relative: 1e-6, absolute: 1e-27, "up's gradient")
    },
    KernelCheck("attention without a mask") { shape, random, findings in
      let scores = random.floats(shape.count, spread: 30), dp = random.floats(shape.count), delta = random.floats(shape.rows)
      guard shape.columns > 0 else { return }
      for first in [shape.columns, shape.columns + 7] {
        // As the last query of so many sees all of the keys.
        let expected = (0..<shape.rows).map { m in
          NaiveKernels.causalSoftmax(
            Array(scores.doubles[m * shape.columns..<(m + 1) * shape.columns]), rows: 1, columns: shape.columns, first: shape.columns - 1,
            scale: 0.125)
        }
        let p = shape.spread(scores), again = shape.spread(scores), ds = shape.spread(dp)
        let logSumExp = GuardedFloats(repeating: .nan, count: shape.rows)
        ck_causal_softmax(shape.rows, shape.columns, first, 0.125, p.base, shape.stride, logSumExp.base, 1)
        ck_causal_probabilities(shape.rows, shape.columns, first, 0.125, again.base, shape.stride, logSumExp.base, 1)
        let probabilities = expected.flatMap(\.probabilities)
        for (buffer, what) in [(p, "p"), (again, "p from log_sum_exp")] {
          findings.expect(buffer, shape: shape, probabilities, relative: 2e-6, absolute: 1e-9, what)
        }
        findings.expect(logSumExp, expected.flatMap(\.logSumExp), "log_sum_exp")
        ck_causal_softmax_backward(shape.rows, shape.columns, first, 0.25, p.base, shape.stride, ds.base, shape.stride, delta, 1)
        let gradient = probabilities.indices.map { probabilities[$0] * (Double(dp[$0]) - Double(delta[$0 / shape.columns])) * 0.25 }
        findings.expect(ds, shape: shape, gradient, absolute: 3e-7, "ds")
      }
    },
    KernelCheck("ck_embed without positions") { shape, random, findings in
      let table = random.floats(7 * shape.columns), tokens = random.indices(shape.rows, below: 7)
      let x = GuardedFloats(repeating: .nan, count: shape.count)
      ck_embed(shape.rows, shape.columns, tokens, tokens, table, nil, x.base)
      findings.expect(x, tokens.flatMap { table.doubles[Int($0) * shape.columns..<(Int($0) + 1) * shape.columns] }, relative: 0, absolute: 0x1p-149, "x")
    },
  ]
}
