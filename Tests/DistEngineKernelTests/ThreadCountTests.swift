import DistEngine
import TestSupport
import Testing

/// The number of threads is a way to compute, not part of what is computed: every kernel gives what it gives with one thread, exactly where
/// the order of sums is the same.
@Suite("Kernels by number of threads")
struct ThreadCountTests {
  static let sizes = [0, 1, 15, 16, 17, 1003]
  /// Small ones are one thread's; those with 1003 are large enough for four.
  static let shapes: [(rows: Int, columns: Int)] =
    sizes.flatMap { rows in sizes.map { (rows, $0) } } + [(3, 50_257), (2500, 48), (130, 1025)]
  static let teams = (1...4).map { ThreadTeam(count: $0) }

  /// Runs `kernel` with one thread and with 1 to 4, on fresh copies of `output`.
  private func expectSame(
    _ output: [Float], absolute: Double = 0, _ what: String, _ kernel: (Vector) -> Void
  ) {
    let expected = GuardedFloats(output)
    kernel(expected.elements)
    for team in Self.teams {
      let actual = GuardedFloats(output)
      team.use { kernel(actual.elements) }
      let mismatch = Mismatch.between(
        actual.values, expected.values.doubles, relative: absolute, absolute: absolute, of: what)
      #expect(mismatch == nil, "\(team.count) threads: \(mismatch!)")
      #expect(actual.sentinelsAreIntact, "\(what) by \(team.count) threads wrote outside of its output")
    }
  }

  private func matrix(_ vector: Vector, _ shape: (rows: Int, columns: Int)) -> Matrix {
    Matrix(vector.baseAddress!, rows: shape.rows, columns: shape.columns)
  }

  @Test(arguments: shapes) func rows(shape: (rows: Int, columns: Int)) {
    let (rows, columns) = shape
    var random = TestRandom(seed: UInt64(rows * 100_003 + columns))
    let x = GuardedFloats(random.floats(rows * columns)), dy = GuardedFloats(random.floats(rows * columns))
    let gain = GuardedFloats(random.floats(columns)), bias = GuardedFloats(random.floats(columns))
    let weights = GuardedFloats(random.floats(rows)), before = random.floats(rows * columns)
    let (input, gradient) = (matrix(x.elements, shape), matrix(dy.elements, shape))
    let rstd = GuardedFloats(repeating: 0, count: rows)

    expectSame(before, "layer norm") {
      RowKernels.layerNorm(input, epsilon: 1e-5, normalized: matrix($0, shape), rstd: rstd.elements)
    }
    expectSame(before, "scale, shift") {
      RowKernels.scaleShift(input, gain: gain.elements, bias: bias.elements, rowScale: weights.elements, into: matrix($0, shape))
    }
    expectSame(before, "layer norm backward") {
      RowKernels.layerNormBackward(
        outputGradient: gradient, normalized: input, rstd: weights.elements, gain: gain.elements,
        residualIn: matrix($0, shape), residualOut: matrix($0, shape))
    }
    expectSame(random.floats(2 * columns), "layer norm gradient") {
      RowKernels.layerNormGradient(
        outputGradient: gradient, normalized: input, gainWeights: weights.elements,
        gainGradient: Vector(rebasing: $0[..<columns]), biasGradient: Vector(rebasing: $0[columns...]))
    }
    expectSame(before, "filled rows") { RowKernels.fillRows(matrix($0, shape), with: bias.elements) }
    expectSame(before, "added rows") { RowKernels.addRows(matrix($0, shape), bias.elements) }
    expectSame(before, "scaled rows") { RowKernels.scaleRows(input, by: weights.elements, into: matrix($0, shape)) }
    expectSame(random.floats(columns), "column sums") {
      RowKernels.addColumnSums(of: input, weights: weights.elements, to: $0)
    }
    let index = random.indices(rows, below: 7), positions = random.indices(rows, below: 5)
    let table = GuardedFloats(random.floats(7 * columns))
    index.withUnsafeBufferPointer { index in
      expectSame(random.floats(7 * columns), "scattered rows") {
        RowKernels.scatterAdd(input, at: index, weights: weights.elements, to: matrix($0, (7, columns)))
      }
      positions.withUnsafeBufferPointer { positions in
        expectSame(before, "embedded rows") {
          RowKernels.embed(
            tokens: index, positions: positions, tokenTable: matrix(table.elements, (7, columns)),
            positionTable: matrix(table.elements, (7, columns)), into: matrix($0, shape))
        }
      }
    }
    guard columns > 0 else { return }
    expectSame([Float](repeating: 0, count: rows), "head dots") {
      RowKernels.headDots(input, gradient, heads: 1, into: matrix($0, (rows, 1)))
    }
    let targets = random.indices(rows, below: columns)
    targets.withUnsafeBufferPointer { targets in
      // Behind the gradients stand the losses of both kernels.
      expectSame(before + [Float](repeating: 0, count: 2 * rows), "cross-entropy") { output in
        let logits = matrix(output, shape)
        for first in [shape.rows * columns, shape.rows * (columns + 1)] {
          withUnsafeTemporaryAllocation(of: Double.self, capacity: rows) { losses in
            if first == shape.rows * columns {
              RowKernels.crossEntropyLosses(logits: logits, targets: targets, losses: losses)
            } else {
              RowKernels.crossEntropy(logits: logits, targets: targets, rowScale: weights.elements, losses: losses)
            }
            for row in 0..<rows { output[first + row] = Float(losses[row]) }
          }
        }
      }
    }
  }

  @Test(arguments: sizes + [32_768, 65_537, 100_003]) func elements(count: Int) {
    var random = TestRandom(seed: UInt64(count))
    let x = GuardedFloats(random.floats(count, spread: 4)), y = GuardedFloats(random.floats(count)), before = random.floats(count)
    expectSame(before, "gelu") { RowKernels.gelu(x.elements, into: $0) }
    expectSame(before, "gelu backward") { RowKernels.geluBackward(input: x.elements, outputGradient: $0, into: $0) }
    expectSame(before, "filled") { RowKernels.fill($0, with: 3) }
    expectSame(before, "y + alpha x") { RowKernels.addScaled(x.elements, by: 0.3, to: $0) }
    expectSame(before + before + before.map(abs), "adamw") {
      RowKernels.adamW(
        parameters: Vector(rebasing: $0[..<count]), gradient: x.elements, gradientScale: 2,
        firstMoment: Vector(rebasing: $0[count..<2 * count]), secondMoment: Vector(rebasing: $0[(2 * count)...]),
        learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, c1: 2, c2: 3)
    }
    expectSame(before + before, "sgd") {
      RowKernels.sgd(
        parameters: Vector(rebasing: $0[..<count]), gradient: x.elements, gradientScale: 2,
        velocity: Vector(rebasing: $0[count...]), learningRate: 0.1, momentum: 0.9, weightDecay: 0.1)
    }
    let norm = NaiveKernels.dot(x.values.doubles, x.values.doubles), dot = NaiveKernels.dot(x.values.doubles, y.values.doubles)
    for team in Self.teams {
      team.use {
        #expect(abs(RowKernels.squaredNorm(x.elements) - norm) <= 1e-12 * norm)
        #expect(abs(RowKernels.dot(x.elements, y.elements) - dot) <= 1e-12 * norm)
        #expect(RowKernels.dot(x.elements, y.elements) == RowKernels.dot(x.elements, y.elements), "sums have one order")
      }
    }
  }

  @Test(arguments: [0, 1, 17, 181, 400, 1003]) func symmetricInnerProduct(n: Int) {
    var random = TestRandom(seed: UInt64(n))
    let a = GuardedFloats(random.floats(n * n)), g = GuardedFloats(random.floats(n * n))
    let expected = RowKernels.symmetricInnerProduct(matrix(a.elements, (n, n)), matrix(g.elements, (n, n)))
    for team in Self.teams {
      let actual = team.use { RowKernels.symmetricInnerProduct(matrix(a.elements, (n, n)), matrix(g.elements, (n, n))) }
      #expect(abs(actual - expected) <= 1e-12 * Double(n * n), "\(team.count) threads")
    }
  }

  @Test(arguments: [(1003, 64, 17), (17, 64, 1003), (1003, 33, 1003), (130, 1003, 257), (64, 1003, 64), (16, 15, 17)])
  func products(m: Int, k: Int, n: Int) {
    var random = TestRandom(seed: UInt64(m + k + n))
    let a = GuardedFloats(random.floats(m * k)), b = GuardedFloats(random.floats(k * n))
    let before = random.floats(m * n), tolerance = 1e-7 * Double(k + 3)
    for beta: Float in [0, 1] {
      for (name, left, right) in [
        (
          "a b", MatrixProducts.Operand.plain(matrix(a.elements, (m, k))),
          MatrixProducts.Operand.plain(matrix(b.elements, (k, n)))
        ),
        ("aᵀ b", .transposed(matrix(a.elements, (k, m))), .plain(matrix(b.elements, (k, n)))),
        ("a bᵀ", .plain(matrix(a.elements, (m, k))), .transposed(matrix(b.elements, (n, k)))),
      ] {
        expectSame(before, absolute: tolerance, name) {
          MatrixProducts.multiply(left, right, into: matrix($0, (m, n)), beta: beta)
        }
      }
    }
  }

  @Test(arguments: [(0, 3), (17, 1003), (100, 500), (181, 64), (400, 33), (1003, 17)])
  func gramMatrices(n: Int, k: Int) {
    var random = TestRandom(seed: UInt64(n + k))
    let a = GuardedFloats(random.floats(n * k)), before = random.floats(n * n)
    for beta: Float in [0, 1] {
      // What stands above the diagonal is compared too: it is left alone.
      expectSame(before, absolute: 1e-7 * Double(k + 3), "Gram matrix") {
        MatrixProducts.gram(matrix(a.elements, (n, k)), into: matrix($0, (n, n)), beta: beta)
      }
    }
  }
}
