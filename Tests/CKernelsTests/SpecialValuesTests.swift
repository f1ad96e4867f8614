import CKernels
import Foundation
import TestSupport
import Testing

@Suite("Values that aren't ordinary")
struct SpecialValuesTests {
  @Test func geluHasItsLimits() {
    let tiny = 1000 * Float.leastNonzeroMagnitude
    let x: [Float] = [0, -0.0, 1e30, -1e30, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .infinity, tiny, -tiny, 20, -20]
    var y = x
    ck_gelu(x.count, x, &y)
    #expect(y[...1].allSatisfy { $0 == 0 })
    #expect(y[2] == 1e30 && y[3] == 0 && y[4] == .greatestFiniteMagnitude && y[5] == 0 && y[6] == .infinity)
    #expect(y[7] == tiny / 2 && y[8] == -tiny / 2 && y[9] == 20 && y[10] == 0)

    var slope = [Float](repeating: 1, count: x.count)
    ck_gelu_backward(x.count, x, slope, &slope)
    for (i, limit) in [0.5, 0.5, 1, 0, 1, 0, 1, 0.5, 0.5, 1, 0].enumerated() {
      #expect(abs(slope[i] - Float(limit)) < 1e-6, "gelu' at \(x[i])")
    }
  }

  @Test func geluByTheErrorFunctionHasItsLimits() {
    let x: [Float] = [0, -0.0, 1e30, -1e30, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .infinity, 20, -20, .nan]
    var y = x
    ck_gelu_erf(x.count, x, &y)
    #expect(Array(y.dropLast()) == [0, 0, 1e30, 0, .greatestFiniteMagnitude, 0, .infinity, 20, 0] && y[9].isNaN)

    var slope = [Float](repeating: 1, count: x.count)
    ck_gelu_erf_backward(x.count, x, slope, &slope)
    for (i, limit) in [0.5, 0.5, 1, 0, 1, 0].enumerated() { #expect(abs(slope[i] - Float(limit)) < 1e-6, "gelu' at \(x[i])") }
    #expect(slope[7] == 1 && slope[8] == 0 && slope[9].isNaN)
  }

  @Test func activationsOfPooledRowsHaveTheirLimits() {
    let x: [Float] = [-.infinity, -0.0, 1e-30, 30, .infinity, .nan]
    var y = x
    ck_tanh(x.count, x, &y)
    #expect(Array(y.dropLast()) == [-1, 0, 1e-30, 1, 1] && y[5].isNaN)
    ck_relu(x.count, x, &y)
    #expect(Array(y.dropLast()) == [0, 0, 1e-30, 30, .infinity] && y[5].isNaN)
    var dx = [Float](repeating: .nan, count: 6)
    ck_relu_backward(6, y, dx, &dx)
    #expect(dx[0] == 0 && dx[1] == 0 && dx[2...].allSatisfy(\.isNaN), "what isn't finite is not hidden where it passes")
  }

  @Test(arguments: 0..<40) func nanPassesGeluWithoutNeighbours(place: Int) {
    var x = [Float](repeating: 1, count: 40)
    x[place] = .nan
    var y = x, dx = [Float](repeating: 1, count: 40)
    ck_gelu(40, x, &y)
    ck_gelu_backward(40, x, dx, &dx)
    for i in 0..<40 {
      #expect(y[i].isNaN == (i == place))
      #expect(dx[i].isNaN == (i == place))
    }
  }

  /// Of products with a short side: a row's of `a`, a column's of `b`, whatever lanes and tiles they share with others.
  @Test(arguments: [3, 8, 16]) func nanStaysInItsRowOfAShortProduct(short: Int) {
    let (rows, inner) = (19, 37)
    for place in 0..<rows {
      var long = [Float](repeating: 1, count: rows * inner)
      long[place * inner + 5] = .nan
      let narrow = [Float](repeating: 1, count: inner * short)
      var c = [Float](repeating: 7, count: rows * short)
      ck_few_columns(rows, short, inner, 1, long, inner, narrow, short, 1, 0, &c, short, 1)
      for i in 0..<rows * short { #expect(c[i].isNaN == (i / short == place)) }

      // Column `place` of b [inner, rows].
      var turned = [Float](repeating: 1, count: inner * rows)
      turned[5 * rows + place] = .nan
      ck_few_rows(short, rows, inner, 1, narrow, short, 1, turned, rows, 0, &c, 1, short)
      for i in 0..<rows * short { #expect(c[i].isNaN == (i / short == place)) }
    }
  }

  @Test func siluHasItsLimits() {
    let x: [Float] = [0, -0.0, 1e30, -1e30, .infinity, 20, -100], ones = [Float](repeating: 1, count: 7)
    var y = x
    ck_silu_gate(x.count, x, ones, &y)
    #expect(y[0] == 0 && y[1] == 0 && y[2] == 1e30 && y[3] == 0 && y[4] == .infinity && abs(y[5] - 20) < 1e-6 && y[6] == 0)
    var (gate, up) = (x, ones)
    ck_silu_gate_backward(x.count, ones, &gate, &up)
    #expect(gate[0] == 0.5 && gate[1] == 0.5 && gate[2] == 1 && gate[3] == 0 && gate[6] == 0)
  }

  @Test(arguments: 0..<20) func nanPassesSiluWithoutNeighbours(place: Int) {
    var gate = [Float](repeating: 1, count: 20), up = gate
    gate[place] = .nan
    var y = gate
    ck_silu_gate(20, gate, up, &y)
    ck_silu_gate_backward(20, [Float](repeating: 1, count: 20), &gate, &up)
    for i in 0..<20 { #expect([y, gate, up].allSatisfy { $0[i].isNaN == (i == place) }) }
  }

  /// A row that isn't finite stays alone: the next example must not notice.
  @Test(arguments: [Float.nan, .infinity], [0, 7, 16, 36])
  func aRowThatIsNotFiniteStaysAlone(value: Float, place: Int) {
    let (rows, d) = (3, 37)
    var random = TestRandom(seed: 3)
    var x = random.floats(rows * d)
    x[d + place] = value

    var normalized = x, rstd = [Float](repeating: 0, count: rows)
    ck_layer_norm(rows, d, x, d, 1e-5, &normalized, &rstd)
    expectOnlyRowOneIsBad(normalized, d)

    var back = random.floats(rows * d)
    ck_layer_norm_backward(rows, d, x, random.floats(rows * d), random.floats(rows), random.floats(d), back, &back)
    expectOnlyRowOneIsBad(back, d)

    var logits = x, losses = [Double](repeating: 0, count: rows)
    ck_cross_entropy(rows, d, &logits, d, [0, 1, 2], [1, 1, 1], &losses)
    expectOnlyRowOneIsBad(logits, d)
    #expect(losses[0].isFinite && !losses[1].isFinite && losses[2].isFinite)
    ck_cross_entropy_losses(rows, d, x, d, [0, 1, 2], &losses)
    #expect(losses[0].isFinite && !losses[1].isFinite && losses[2].isFinite)

    var scores = x, logSumExp = rstd
    ck_causal_softmax(rows, d, d - rows, 1, &scores, d, &logSumExp, 1)
    if place <= d - rows + 1 {
      #expect(logSumExp[0].isFinite && !logSumExp[1].isFinite && logSumExp[2].isFinite)
      #expect(scores[d..<(d + d - 1)].contains { !$0.isFinite })
    }
    #expect((scores[..<d] + scores[(2 * d)...]).allSatisfy { $0.isFinite })
  }

  private func expectOnlyRowOneIsBad(_ values: [Float], _ d: Int) {
    for r in 0..<3 {
      let row = values[(r * d)..<((r + 1) * d)]
      if r == 1 { #expect(row.contains { !$0.isFinite }) } else { #expect(row.allSatisfy { $0.isFinite }) }
    }
  }

  @Test func hugeLogitsGiveFiniteLosses() {
    var logits: [Float] = [3e38, -3e38, 1e30, 0], losses = [0.0]
    ck_cross_entropy(1, 4, &logits, 4, [0], [1], &losses)
    #expect(losses == [0] && logits == [0, 0, 0, 0])
    logits = [3e38, -3e38, 1e30, 0]
    ck_cross_entropy(1, 4, &logits, 4, [1], [1], &losses)
    #expect(abs(losses[0] / 6e38 - 1) < 1e-6 && logits == [1, -1, 0, 0])
  }

  @Test func minusInfinityIsAMaskedLogit() {
    var logits: [Float] = [-.infinity, 1, 1, -.infinity], losses = [0.0]
    ck_cross_entropy(1, 4, &logits, 4, [1], [2], &losses)
    #expect(abs(losses[0] - log(2)) < 1e-7 && logits == [0, -1, 1, 0])
  }

  @Test func noProbabilityIsSubnormal() {
    var scores = (0..<300).map { Float(-$0) }, logSumExp: [Float] = [0]
    ck_causal_softmax(1, 300, 299, 1, &scores, 300, &logSumExp, 1)
    #expect(scores.allSatisfy { $0 == 0 || $0.isNormal })
    #expect(scores[299] == 0 && scores[65] == 0 && scores[60] > 0)
  }

  /// The squares of floats overflow floats, not doubles.
  @Test func squaresAreAddedInDouble() {
    let large = [Float](repeating: 1e30, count: 100)
    #expect(abs(ck_squared_norm(100, large) / 1e62 - 1) < 1e-6)
    // 16777217 ones: single precision stops at 2^24.
    let ones = [Float](repeating: 1, count: 16_777_217)
    #expect(ck_squared_norm(ones.count, ones) == 16_777_217)
  }

  @Test func longColumnSumsStayExact() {
    let rows = 20_000
    let g = [Float](repeating: 0.1, count: rows)
    var sum: [Float] = [0]
    ck_column_sums(rows, 1, g, 1, nil, &sum)
    #expect(abs(Double(sum[0]) / (Double(rows) * Double(Float(0.1))) - 1) < 1.2e-7)
  }
}
