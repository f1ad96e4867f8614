import CKernels
import Foundation
import TestSupport
import Testing

/// Every backward kernel against central differences of the forward twin in double: a formula that is wrong in kernel and
/// twin alike is found here.
@Suite("Backward kernels are the derivatives of the forward ones")
struct GradientTests {
  /// d/dx of `function` at `x`, one element at a time.
  private func differences(_ x: [Double], _ function: ([Double]) -> Double) -> [Double] {
    x.indices.map { i in
      let h = 1e-5
      var up = x, down = x
      up[i] += h
      down[i] -= h
      return (function(up) - function(down)) / (2 * h)
    }
  }

  @Test func gelu() {
    let x = (-60...60).map { Float($0) / 10 }, ones = [Float](repeating: 1, count: 121)
    var dx = ones
    ck_gelu_backward(x.count, x, ones, &dx)
    let expected = x.doubles.map { x in differences([x]) { NaiveKernels.gelu($0[0]) }[0] }
    let mismatch = Mismatch.between(dx, expected, relative: 1e-6, absolute: 1e-6)
    #expect(mismatch == nil, "\(mismatch!)")

    dx = ones
    ck_gelu_erf_backward(x.count, x, ones, &dx)
    let byErf = x.doubles.map { x in differences([x]) { NaiveKernels.geluErf($0[0]) }[0] }
    let other = Mismatch.between(dx, byErf, relative: 1e-6, absolute: 1e-6)
    #expect(other == nil, "\(other!)")
  }

  @Test(arguments: [1, 2, 5, 19]) func layerNormalisation(d: Int) {
    let rows = 3
    var random = TestRandom(seed: UInt64(d))
    let x = random.floats(rows * d, spread: 2), dy = random.floats(rows * d), epsilon = 0.01
    let gain = random.floats(d), bias = random.floats(d), zeros = [Float](repeating: 0, count: rows * d)
    func loss(_ x: [Double], _ gain: [Double], _ bias: [Double]) -> Double {
      let normalized = NaiveKernels.layerNorm(x, rows: rows, d: d, epsilon: Double(Float(epsilon))).normalized
      return NaiveKernels.dot(
        NaiveKernels.scaleShift(normalized, rows: rows, d: d, gain: gain, bias: bias, rowScale: nil), dy.doubles)
    }
    var normalized = x, rstd = [Float](repeating: 0, count: rows), dx = zeros
    ck_layer_norm(rows, d, x, d, Float(epsilon), &normalized, &rstd)
    ck_layer_norm_backward(rows, d, dy, normalized, rstd, gain, zeros, &dx)
    var dgain = [Float](repeating: 0, count: d), dbias = dgain
    ck_layer_norm_gradient(rows, d, dy, normalized, d, nil, nil, &dgain, &dbias)

    for (actual, expected, name) in [
      (dx, differences(x.doubles) { loss($0, gain.doubles, bias.doubles) }, "dx"),
      (dgain, differences(gain.doubles) { loss(x.doubles, $0, bias.doubles) }, "dgain"),
      (dbias, differences(bias.doubles) { loss(x.doubles, gain.doubles, $0) }, "dbias"),
    ] {
      let mismatch = Mismatch.between(actual, expected, relative: 2e-6, absolute: 3e-6, of: name)
      #expect(mismatch == nil, "\(mismatch!)")
    }
  }

  @Test(arguments: [1, 2, 5, 19]) func rootMeanSquareNormalisation(d: Int) {
    let rows = 3
    var random = TestRandom(seed: UInt64(d))
    let x = random.floats(rows * d, spread: 2), dy = random.floats(rows * d), epsilon: Float = 0.01
    let gain = random.floats(d), zeros = [Float](repeating: 0, count: rows * d)
    var normalized = x, rstd = [Float](repeating: 0, count: rows), dx = zeros
    ck_rms_norm(rows, d, x, d, epsilon, &normalized, &rstd)
    ck_rms_norm_backward(rows, d, dy, normalized, rstd, gain, zeros, &dx)
    let expected = differences(x.doubles) { x in
      let normalized = NaiveKernels.rmsNorm(x, rows: rows, d: d, epsilon: Double(epsilon)).normalized
      return normalized.indices.reduce(0) { $0 + normalized[$1] * Double(gain[$1 % d]) * Double(dy[$1]) }
    }
    let mismatch = Mismatch.between(dx, expected, relative: 2e-6, absolute: 3e-6)
    #expect(mismatch == nil, "\(mismatch!)")
  }

  @Test func siluGate() {
    let gate = (-60...60).map { Float($0) / 10 }
    var random = TestRandom(seed: 3)
    let up = random.floats(gate.count), dy = random.floats(gate.count)
    var (dgate, dup) = (gate, up)
    ck_silu_gate_backward(gate.count, dy, &dgate, &dup)
    for (actual, values, loss) in [
      (dgate, gate.doubles, { (i: Int, g: Double) in NaiveKernels.silu(g) * Double(up[i]) }),
      (dup, up.doubles, { (i: Int, u: Double) in NaiveKernels.silu(Double(gate[i])) * u }),
    ] {
      let expected = values.indices.map { i in Double(dy[i]) * differences([values[i]]) { loss(i, $0[0]) }[0] }
      let mismatch = Mismatch.between(actual, expected, relative: 1e-6, absolute: 1e-6)
      #expect(mismatch == nil, "\(mismatch!)")
    }
  }

  @Test(arguments: [(1, 0), (4, 0), (4, 3), (17, 16)]) func causalSoftmax(rows: Int, first: Int) {
    let columns = first + rows, scale = 0.5
    var random = TestRandom(seed: 5)
    let scores = random.floats(rows * columns, spread: 3), dp = random.floats(rows * columns)
    var p = scores, logSumExp = [Float](repeating: 0, count: rows), ds = dp
    ck_causal_softmax(rows, columns, first, Float(scale), &p, columns, &logSumExp, 1)
    let delta = (0..<rows).map { m in (0..<columns).reduce(Float(0)) { $0 + p[m * columns + $1] * dp[m * columns + $1] } }
    ck_causal_softmax_backward(rows, columns, first, Float(scale), p, columns, &ds, columns, delta, 1)
    let expected = differences(scores.doubles) {
      NaiveKernels.dot(
        NaiveKernels.causalSoftmax($0, rows: rows, columns: columns, first: first, scale: scale).probabilities, dp.doubles)
    }
    let mismatch = Mismatch.between(ds, expected, relative: 2e-6, absolute: 1e-6)
    #expect(mismatch == nil, "\(mismatch!)")
  }

  @Test(arguments: [1, 2, 17, 33]) func crossEntropy(vocabulary: Int) {
    let rows = 3
    var random = TestRandom(seed: 9)
    let logits = random.floats(rows * vocabulary, spread: 3), scale = random.floats(rows)
    let targets = random.indices(rows, below: vocabulary)
    var gradient = logits, losses = [Double](repeating: 0, count: rows)
    ck_cross_entropy(rows, vocabulary, &gradient, vocabulary, targets, scale, &losses)
    let expected = differences(logits.doubles) {
      NaiveKernels.dot(
        NaiveKernels.crossEntropy($0, targets: targets, rowScale: scale.doubles, rows: rows, vocabulary: vocabulary).losses,
        scale.doubles)
    }
    let mismatch = Mismatch.between(gradient, expected, relative: 2e-6, absolute: 1e-6)
    #expect(mismatch == nil, "\(mismatch!)")
  }
}
