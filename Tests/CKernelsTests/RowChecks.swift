import CKernels
import Foundation
import TestSupport

extension KernelCheck {
  static let layerNormalisation: [KernelCheck] = [
    KernelCheck("ck_layer_norm") { shape, random, findings in
      for offset: Float in [0, 1000] {
        let x = random.floats(shape.count, spread: 2).map { $0 + offset }
        let input = shape.spread(x)
        let normalized = GuardedFloats(repeating: .nan, count: shape.count)
        let rstd = GuardedFloats(repeating: .nan, count: shape.rows)
        ck_layer_norm(shape.rows, shape.columns, input.base, shape.stride, 1e-5, normalized.base, rstd.base)
        let expected = NaiveKernels.layerNorm(x.doubles, rows: shape.rows, d: shape.columns, epsilon: Double(Float(1e-5)))
        findings.expect(normalized, expected.normalized, "normalized at offset \(offset)")
        findings.expect(rstd, expected.rstd, "rstd at offset \(offset)")
      }
    },
    KernelCheck("ck_scale_shift") { shape, random, findings in
      let x = random.floats(shape.count)
      let gain = GuardedFloats(random.floats(shape.columns)), bias = GuardedFloats(random.floats(shape.columns))
      for weights in [nil, shape.weights(&random)] {
        let scale = weights.map(GuardedFloats.init)
        let input = GuardedFloats(weights.map { shape.poisoned(x, $0) } ?? x)
        let y = GuardedFloats(repeating: .nan, count: shape.count)
        ck_scale_shift(shape.rows, shape.columns, input.base, gain.base, bias.base, scale?.base, y.base)
        let expected = NaiveKernels.scaleShift(
          input.values.doubles, rows: shape.rows, d: shape.columns, gain: gain.values.doubles, bias: bias.values.doubles,
          rowScale: weights?.doubles)
        findings.expect(y, expected, weights == nil ? "y" : "y with row scales")
      }
    },
    KernelCheck("ck_layer_norm_backward") { shape, random, findings in
      let dy = random.floats(shape.count), normalized = random.floats(shape.count, spread: 2)
      let residual = random.floats(shape.count), rstd = random.floats(shape.rows), gain = random.floats(shape.columns)
      let expected = NaiveKernels.layerNormBackward(
        dy: dy.doubles, normalized: normalized.doubles, rstd: rstd.doubles, gain: gain.doubles, residual: residual.doubles,
        rows: shape.rows, d: shape.columns)
      let buffers = [dy, normalized, rstd, gain].map(GuardedFloats.init)
      let input = GuardedFloats(residual), out = GuardedFloats(repeating: .nan, count: shape.count)
      ck_layer_norm_backward(
        shape.rows, shape.columns, buffers[0].base, buffers[1].base, buffers[2].base, buffers[3].base, input.base, out.base)
      findings.expect(out, expected, "residual_out")
      ck_layer_norm_backward(
        shape.rows, shape.columns, buffers[0].base, buffers[1].base, buffers[2].base, buffers[3].base, input.base, input.base)
      findings.expect(input, expected, "residual in place")
      let alone = NaiveKernels.layerNormBackward(
        dy: dy.doubles, normalized: normalized.doubles, rstd: rstd.doubles, gain: gain.doubles,
        residual: [Double](repeating: 0, count: shape.count), rows: shape.rows, d: shape.columns)
      ck_layer_norm_backward(
        shape.rows, shape.columns, buffers[0].base, buffers[1].base, buffers[2].base, buffers[3].base, nil, buffers[0].base)
      findings.expect(buffers[0], alone, "in place of dy, without a residual")
    },
    KernelCheck("ck_layer_norm_gradient") { shape, random, findings in
      let before = random.floats(shape.columns)
      for weights in [nil, shape.weights(&random)] {
        let dy = random.floats(shape.count), normalized = random.floats(shape.count)
        let input = GuardedFloats(weights.map { shape.poisoned(dy, $0) } ?? dy), x = GuardedFloats(normalized)
        let gainWeights = weights.map(GuardedFloats.init)
        let biasWeights = weights.map { GuardedFloats($0.map { 2 * $0 }) }
        let dgain = GuardedFloats(before), dbias = GuardedFloats(before)
        ck_layer_norm_gradient(
          shape.rows, shape.columns, input.base, x.base, shape.columns, gainWeights?.base, biasWeights?.base, dgain.base, dbias.base)
        let sums = NaiveKernels.layerNormGradient(
          dy: input.values.doubles, normalized: normalized.doubles, gainWeights: weights?.doubles,
          biasWeights: weights?.doubles.map { 2 * $0 }, rows: shape.rows, d: shape.columns)
        let which = weights == nil ? "" : " with weights"
        findings.expect(dgain, zip(before.doubles, sums.gain).map { $0 + $1 }, absolute: 5e-6, "dgain" + which)
        findings.expect(dbias, zip(before.doubles, sums.bias).map { $0 + $1 }, absolute: 5e-6, "dbias" + which)
      }
    },
  ]

  static let rows: [KernelCheck] = [
    KernelCheck("ck_fill_rows, ck_add_rows") { shape, random, findings in
      let bias = GuardedFloats(random.floats(shape.columns)), before = random.floats(shape.count)
      let filled = shape.spread(before), added = shape.spread(before)
      ck_fill_rows(shape.rows, shape.columns, bias.base, filled.base, shape.stride)
      ck_add_rows(shape.rows, shape.columns, bias.base, added.base, shape.stride)
      let repeated = (0..<shape.rows).flatMap { _ in bias.values.doubles }
      findings.expect(filled, shape: shape, repeated, relative: 0, absolute: 0x1p-149, "filled")
      findings.expect(added, shape: shape, zip(before.doubles, repeated).map { $0 + $1 }, "added")
    },
    KernelCheck("ck_scale_rows") { shape, random, findings in
      let weights = shape.weights(&random).enumerated().map { $0 == 1 ? 1 : $1 }
      let x = shape.poisoned(random.floats(shape.count), weights)
      let input = shape.spread(x), out = shape.spread(random.floats(shape.count)), w = GuardedFloats(weights)
      let expected = NaiveKernels.scaleRows(x.doubles, weights: weights.doubles, rows: shape.rows, columns: shape.columns)
      ck_scale_rows(shape.rows, shape.columns, w.base, input.base, shape.stride, out.base, shape.stride)
      findings.expect(out, shape: shape, expected, "y")
      ck_scale_rows(shape.rows, shape.columns, w.base, input.base, shape.stride, input.base, shape.stride)
      findings.expect(input, shape: shape, expected, "y in place")
    },
    KernelCheck("ck_column_sums") { shape, random, findings in
      let before = random.floats(shape.columns)
      for weights in [nil, shape.weights(&random)] {
        let g = random.floats(shape.count)
        let values = weights.map { shape.poisoned(g, $0) } ?? g
        let input = shape.spread(values), sums = GuardedFloats(before), w = weights.map(GuardedFloats.init)
        ck_column_sums(shape.rows, shape.columns, input.base, shape.stride, w?.base, sums.base)
        let expected = NaiveKernels.columnSums(
          values.doubles, weights: weights?.doubles, rows: shape.rows, columns: shape.columns)
        findings.expect(
          sums, zip(before.doubles, expected).map { $0 + $1 }, absolute: 5e-6, weights == nil ? "sums" : "weighted sums")
      }
    },
    KernelCheck("ck_gelu") { shape, random, findings in
      let x = random.floats(shape.count, spread: 6)
      let input = GuardedFloats(x), y = GuardedFloats(repeating: .nan, count: shape.count)
      ck_gelu(shape.count, input.base, y.base)
      findings.expect(y, x.doubles.map(NaiveKernels.gelu), relative: 3e-6, absolute: 1e-9, "y")
      ck_gelu(shape.count, input.base, input.base)
      findings.compare(input.values, y.values.doubles, relative: 0, absolute: 0x1p-149, "y in place")
    },
    KernelCheck("ck_gelu_backward") { shape, random, findings in
      let x = random.floats(shape.count, spread: 6), dy = random.floats(shape.count)
      let expected = zip(x.doubles, dy.doubles).map { NaiveKernels.geluDerivative($0) * $1 }
      let input = GuardedFloats(x), gradient = GuardedFloats(dy)
      let dx = GuardedFloats(repeating: .nan, count: shape.count)
      ck_gelu_backward(shape.count, input.base, gradient.base, dx.base)
      findings.expect(dx, expected, relative: 1e-6, absolute: 3e-7, "dx")
      ck_gelu_backward(shape.count, input.base, gradient.base, gradient.base)
      findings.expect(gradient, expected, relative: 1e-6, absolute: 3e-7, "dx in place of dy")
      let again = GuardedFloats(dy)
      ck_gelu_backward(shape.count, input.base, again.base, input.base)
      findings.expect(input, expected, relative: 1e-6, absolute: 3e-7, "dx in place of x")
    },
    KernelCheck("ck_gelu_erf") { shape, random, findings in
      let x = random.floats(shape.count, spread: 6)
      let input = GuardedFloats(x), y = GuardedFloats(repeating: .nan, count: shape.count)
      ck_gelu_erf(shape.count, input.base, y.base)
      findings.expect(y, x.doubles.map(NaiveKernels.geluErf), relative: 3e-6, absolute: 1e-9, "y")
      ck_gelu_erf(shape.count, input.base, input.base)
      findings.compare(input.values, y.values.doubles, relative: 0, absolute: 0x1p-149, "y in place")
    },
    KernelCheck("ck_gelu_erf_backward") { shape, random, findings in
      let x = random.floats(shape.count, spread: 6), dy = random.floats(shape.count)
      let expected = zip(x.doubles, dy.doubles).map { NaiveKernels.geluErfDerivative($0) * $1 }
      let input = GuardedFloats(x), gradient = GuardedFloats(dy)
      let dx = GuardedFloats(repeating: .nan, count: shape.count)
      ck_gelu_erf_backward(shape.count, input.base, gradient.base, dx.base)
      findings.expect(dx, expected, relative: 1e-6, absolute: 3e-7, "dx")
      ck_gelu_erf_backward(shape.count, input.base, gradient.base, gradient.base)
      findings.expect(gradient, expected, relative: 1e-6, absolute: 3e-7, "dx in place of dy")
      let again = GuardedFloats(dy)
      ck_gelu_erf_backward(shape.count, input.base, again.base, input.base)
      findings.expect(input, expected, relative: 1e-6, absolute: 3e-7, "dx in place of x")
    },
    KernelCheck("ck_tanh, ck_relu and their backward kernels") { shape, random, findings in
      typealias Kernel = (Int, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?) -> Void
      typealias Backward = (Int, UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?) -> Void
      let kernels: [(String, Kernel, Backward, (Double) -> Double, (Double) -> Double)] = [
        ("tanh", ck_tanh, ck_tanh_backward, { tanh($0) }, { 1 - tanh($0) * tanh($0) }),
        ("relu", ck_relu, ck_relu_backward, { max(0, $0) }, { $0 > 0 ? 1 : 0 }),
      ]
      for (name, forward, backward, function, derivative) in kernels {
        let x = random.floats(shape.count, spread: 3), dy = random.floats(shape.count)
        let input = GuardedFloats(x), y = GuardedFloats(repeating: .nan, count: shape.count)
        forward(shape.count, input.base, y.base)
        findings.expect(y, x.doubles.map(function), relative: 2e-7, absolute: 1e-9, name)
        forward(shape.count, input.base, input.base)
        findings.compare(input.values, y.values.doubles, relative: 0, absolute: 0x1p-149, "\(name) in place")
        let expected = zip(x.doubles, dy.doubles).map { derivative($0) * $1 }
        let gradient = GuardedFloats(dy), dx = GuardedFloats(repeating: .nan, count: shape.count)
        backward(shape.count, y.base, gradient.base, dx.base)
        findings.expect(dx, expected, relative: 1e-6, absolute: 3e-7, "\(name) dx")
        backward(shape.count, y.base, gradient.base, gradient.base)
        findings.expect(gradient, expected, relative: 1e-6, absolute: 3e-7, "\(name) dx in place of dy")
      }
    },
    KernelCheck("ck_add_gathered_rows") { shape, random, findings in
      let index = random.indices(shape.rows, below: 11), table = random.floats(11 * shape.columns), before = random.floats(shape.count)
      let added = GuardedFloats(before)
      ck_add_gathered_rows(shape.rows, shape.columns, index, table, added.base)
      let d = shape.columns
      let rows = (0..<shape.count).map { Double(table[Int(index[$0 / d]) * d + $0 % d]) }
      findings.expect(added, zip(before.doubles, rows).map { $0 + $1 }, "added")
    },
    KernelCheck("ck_embed") { shape, random, findings in
      let tokens = random.indices(shape.rows, below: 11), positions = random.indices(shape.rows, below: 7)
      let tokenTable = random.floats(11 * shape.columns), positionTable = random.floats(7 * shape.columns)
      let x = GuardedFloats(repeating: .nan, count: shape.count)
      ck_embed(shape.rows, shape.columns, tokens, positions, tokenTable, positionTable, x.base)
      let d = shape.columns
      let expected = (0..<shape.count).map { i in
        Double(tokenTable[Int(tokens[i / d]) * d + i % d]) + Double(positionTable[Int(positions[i / d]) * d + i % d])
      }
      findings.expect(x, expected, "x")
    },
    KernelCheck("ck_scatter_add") { shape, random, findings in
      let index = random.indices(shape.rows, below: 5), before = random.floats(5 * shape.columns)
      for weights in [nil, shape.weights(&random)] {
        let g = random.floats(shape.count)
        let values = weights.map { shape.poisoned(g, $0) } ?? g
        let table = GuardedFloats(before), w = weights.map(GuardedFloats.init)
        ck_scatter_add(shape.rows, shape.columns, index, w?.base, values, 0, 5, table.base, shape.columns)
        var expected = before.doubles
        for r in 0..<shape.rows where weights?[r] != 0 {
          for j in 0..<shape.columns {
            expected[Int(index[r]) * shape.columns + j] += Double(weights?[r] ?? 1) * Double(values[r * shape.columns + j])
          }
        }
        findings.expect(table, expected, relative: 1e-6, absolute: 2e-5, weights == nil ? "table" : "table with weights")
        // Rows 2 and 3 of the table alone.
        let part = GuardedFloats(Array(before[2 * shape.columns..<4 * shape.columns]))
        ck_scatter_add(shape.rows, shape.columns, index, w?.base, values, 2, 2, part.base, shape.columns)
        findings.expect(
          part, Array(expected[2 * shape.columns..<4 * shape.columns]), relative: 1e-6, absolute: 2e-5, "part of the table")
      }
    },
  ]
}
