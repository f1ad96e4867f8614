import DistEngine
import TestSupport
import Testing

/// The kernels themselves are tested where they are; here, that the typed face hands every argument to its place.
@Suite("The typed face of the kernels")
struct RowKernelsTests {
  private let rows = 5, d = 19
  private var random = TestRandom(seed: 4)

  private func expect(_ actual: [Float], _ expected: [Double], _ name: String, absolute: Double = 1e-6) {
    let mismatch = Mismatch.between(actual, expected, relative: 1e-6, absolute: absolute, of: name)
    #expect(mismatch == nil, "\(mismatch!)")
  }

  private func matrix(_ memory: GuardedFloats) -> Matrix { Matrix(memory.base, rows: memory.count / d, columns: d) }

  @Test mutating func layerNormalisation() {
    let x = GuardedFloats(random.floats(rows * d)), dy = GuardedFloats(random.floats(rows * d))
    let gain = GuardedFloats(random.floats(d)), bias = GuardedFloats(random.floats(d)), scale = GuardedFloats(random.floats(rows))
    let normalized = GuardedFloats(repeating: 0, count: rows * d), rstd = GuardedFloats(repeating: 0, count: rows)
    let y = GuardedFloats(repeating: 0, count: rows * d), dx = GuardedFloats(repeating: 0, count: rows * d)
    let twin = NaiveKernels.layerNorm(x.values.doubles, rows: rows, d: d, epsilon: Double(Float(1e-5)))

    RowKernels.layerNorm(matrix(x), epsilon: 1e-5, normalized: matrix(normalized), rstd: rstd.elements)
    expect(normalized.values, twin.normalized, "normalized")
    expect(rstd.values, twin.rstd, "rstd")

    RowKernels.scaleShift(
      matrix(normalized), gain: gain.elements, bias: bias.elements, rowScale: scale.elements, into: matrix(y))
    expect(
      y.values,
      NaiveKernels.scaleShift(
        twin.normalized, rows: rows, d: d, gain: gain.values.doubles, bias: bias.values.doubles,
        rowScale: scale.values.doubles), "y")

    RowKernels.layerNormBackward(
      outputGradient: matrix(dy), normalized: matrix(normalized), rstd: rstd.elements, gain: gain.elements,
      residualIn: matrix(x), residualOut: matrix(dx))
    expect(
      dx.values,
      NaiveKernels.layerNormBackward(
        dy: dy.values.doubles, normalized: twin.normalized, rstd: twin.rstd, gain: gain.values.doubles,
        residual: x.values.doubles, rows: rows, d: d), "residual")

    let dgain = GuardedFloats(repeating: 1, count: d), dbias = GuardedFloats(repeating: 2, count: d)
    let other = GuardedFloats(random.floats(rows))
    RowKernels.layerNormGradient(
      outputGradient: matrix(dy), normalized: matrix(normalized), gainWeights: scale.elements, biasWeights: other.elements,
      gainGradient: dgain.elements, biasGradient: dbias.elements)
    let sums = NaiveKernels.layerNormGradient(
      dy: dy.values.doubles, normalized: twin.normalized, gainWeights: scale.values.doubles,
      biasWeights: other.values.doubles, rows: rows, d: d)
    expect(dgain.values, sums.gain.map { $0 + 1 }, "gain")
    expect(dbias.values, sums.bias.map { $0 + 2 }, "bias")
  }

  @Test mutating func rowsAndElements() {
    let x = GuardedFloats(random.floats(rows * d)), y = GuardedFloats(repeating: .nan, count: rows * d)
    let bias = GuardedFloats(random.floats(d)), weights = GuardedFloats(random.floats(rows))
    RowKernels.fillRows(matrix(y), with: bias.elements)
    expect(y.values, (0..<(rows * d)).map { Double(bias.base[$0 % d]) }, "filled")
    RowKernels.addRows(matrix(y), bias.elements)
    expect(y.values, (0..<(rows * d)).map { 2 * Double(bias.base[$0 % d]) }, "added")
    RowKernels.scaleRows(matrix(x), by: weights.elements, into: matrix(y))
    expect(
      y.values, NaiveKernels.scaleRows(x.values.doubles, weights: weights.values.doubles, rows: rows, columns: d), "scaled")
    let sums = GuardedFloats(repeating: 3, count: d)
    RowKernels.addColumnSums(of: matrix(x), weights: weights.elements, to: sums.elements)
    expect(
      sums.values,
      NaiveKernels.columnSums(x.values.doubles, weights: weights.values.doubles, rows: rows, columns: d).map { $0 + 3 }, "sums")
    RowKernels.gelu(x.elements, into: y.elements)
    expect(y.values, x.values.doubles.map(NaiveKernels.gelu), "gelu")
    let dy = GuardedFloats(random.floats(rows * d))
    let expected = zip(x.values.doubles, dy.values.doubles).map { NaiveKernels.geluDerivative($0) * $1 }
    RowKernels.geluBackward(input: x.elements, outputGradient: dy.elements, into: dy.elements)
    expect(dy.values, expected, "gelu backward")
  }

  @Test mutating func sumsOfSquares() {
    let x = GuardedFloats(random.floats(d * d)), y = GuardedFloats(random.floats(d * d))
    #expect(abs(RowKernels.squaredNorm(x.elements) - NaiveKernels.dot(x.values.doubles, x.values.doubles)) < 1e-10)
    #expect(abs(RowKernels.dot(x.elements, y.elements) - NaiveKernels.dot(x.values.doubles, y.values.doubles)) < 1e-10)
    var expected = 0.0
    for t in 0..<d { for s in 0...t { expected += (s == t ? 1 : 2) * Double(x.base[t * d + s]) * Double(y.base[t * d + s]) } }
    #expect(abs(RowKernels.symmetricInnerProduct(matrix(x), matrix(y)) - expected) < 1e-10)
    let sum = zip(x.values, y.values).map { 0.5 * Double($0) + Double($1) }
    RowKernels.addScaled(x.elements, by: 0.5, to: y.elements)
    expect(y.values, sum, "x / 2 + y")
  }

  @Test mutating func embeddings() {
    let tokens: [Int32] = [3, 0, 3, 1, 6], positions: [Int32] = [0, 1, 2, 0, 1]
    let tokenTable = GuardedFloats(random.floats(7 * d)), positionTable = GuardedFloats(random.floats(3 * d))
    let x = GuardedFloats(repeating: 0, count: rows * d)
    tokens.withUnsafeBufferPointer { tokens in
      positions.withUnsafeBufferPointer { positions in
        RowKernels.embed(
          tokens: tokens, positions: positions, tokenTable: matrix(tokenTable), positionTable: matrix(positionTable),
          into: matrix(x))
      }
    }
    expect(
      x.values,
      (0..<(rows * d)).map {
        Double(tokenTable.base[Int(tokens[$0 / d]) * d + $0 % d])
          + Double(positionTable.base[Int(positions[$0 / d]) * d + $0 % d])
      }, "x")
    let weights = GuardedFloats([1, 2, 0, 1, 1]), table = GuardedFloats(repeating: 0, count: 7 * d)
    tokens.withUnsafeBufferPointer { RowKernels.scatterAdd(matrix(x), at: $0, weights: weights.elements, to: matrix(table)) }
    var sums = [Double](repeating: 0, count: 7 * d)
    for i in 0..<(rows * d) { sums[Int(tokens[i / d]) * d + i % d] += Double(weights.base[i / d]) * Double(x.base[i]) }
    expect(table.values, sums, "table")
  }

  @Test mutating func losses() {
    let logits = GuardedFloats(random.floats(rows * d, spread: 4)), scale = GuardedFloats(random.floats(rows))
    let targets = random.indices(rows, below: d)
    let twin = NaiveKernels.crossEntropy(
      logits.values.doubles, targets: targets, rowScale: scale.values.doubles, rows: rows, vocabulary: d)
    var losses = [Double](repeating: 0, count: rows)
    targets.withUnsafeBufferPointer { targets in
      losses.withUnsafeMutableBufferPointer { losses in
        RowKernels.crossEntropyLosses(logits: matrix(logits), targets: targets, losses: losses)
        expect(losses.map(Float.init), twin.losses, "losses alone")
        RowKernels.crossEntropy(logits: matrix(logits), targets: targets, rowScale: scale.elements, losses: losses)
        expect(losses.map(Float.init), twin.losses, "losses")
      }
    }
    expect(logits.values, twin.gradient, "gradient")
  }

  @Test mutating func attention() {
    let (queries, first) = (4, d - 6)
    let scores = GuardedFloats(random.floats(queries * d, spread: 5)), gradient = GuardedFloats(random.floats(queries * d))
    let logSumExp = GuardedFloats(repeating: 0, count: queries), again = GuardedFloats(scores.values)
    let column = Matrix(logSumExp.base, rows: queries, columns: 1)
    let twin = NaiveKernels.causalSoftmax(scores.values.doubles, rows: queries, columns: d, first: first, scale: 0.3)
    RowKernels.causalSoftmax(scores: matrix(scores), first: first, scale: 0.3, logSumExp: column)
    expect(scores.values, twin.probabilities, "probabilities")
    expect(logSumExp.values, twin.logSumExp, "log sum exp")
    RowKernels.causalProbabilities(scores: matrix(again), first: first, scale: 0.3, logSumExp: column)
    expect(again.values, twin.probabilities, "probabilities again")

    let delta = GuardedFloats(random.floats(queries))
    let expected = NaiveKernels.causalSoftmaxBackward(
      probabilities: twin.probabilities, gradient: gradient.values.doubles, delta: delta.values.doubles, rows: queries,
      columns: d, first: first, scale: 0.3)
    RowKernels.causalSoftmaxBackward(
      probabilities: matrix(scores), gradient: matrix(gradient), first: first, scale: 0.3,
      delta: Matrix(delta.base, rows: queries, columns: 1))
    expect(gradient.values, expected, "gradient")

    let a = GuardedFloats(random.floats(rows * 12)), b = GuardedFloats(random.floats(rows * 12))
    let dots = GuardedFloats(repeating: 0, count: rows * 3)
    RowKernels.headDots(
      Matrix(a.base, rows: rows, columns: 12), Matrix(b.base, rows: rows, columns: 12), heads: 3,
      into: Matrix(dots.base, rows: rows, columns: 3))
    expect(
      dots.values, NaiveKernels.headDots(a.values.doubles, b.values.doubles, rows: rows, heads: 3, width: 4), "delta")
  }

  @Test mutating func optimizersAndNoise() {
    let w = GuardedFloats(random.floats(d)), g = GuardedFloats(random.floats(d))
    let m = GuardedFloats(random.floats(d)), v = GuardedFloats(repeating: 0.5, count: d)
    var twin = NaiveKernels.AdamW(parameters: w.values.doubles, m: m.values.doubles, v: v.values.doubles)
    twin.update(
      gradient: g.values.map { 2 * Double($0) }, learningRate: Double(Float(0.1)), beta1: Double(Float(0.9)),
      beta2: Double(Float(0.99)), epsilon: Double(Float(0.001)), decay: Double(Float(0.2)), step: 1)
    RowKernels.adamW(
      parameters: w.elements, gradient: g.elements, gradientScale: 2, firstMoment: m.elements, secondMoment: v.elements,
      learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 0.001, weightDecay: 0.2, c1: 1 / (1 - 0.9), c2: 1 / (1 - 0.99))
    expect(w.values, twin.parameters, "parameters", absolute: 3e-6)
    expect(m.values, twin.m, "first moment")
    expect(v.values, twin.v, "second moment")

    let before = w.values
    RowKernels.sgd(
      parameters: w.elements, gradient: g.elements, gradientScale: 2, velocity: nil, learningRate: 0.1, momentum: 0,
      weightDecay: 0.2)
    let after: [Double] = zip(before.doubles, g.values.doubles).map { w, g in
      let step: Double = 2 * g + 0.2 * w
      return w - 0.1 * step
    }
    expect(w.values, after, "after SGD")

    let words = (0..<20).map { _ in random.next() }
    let y = GuardedFloats(repeating: 1, count: d)
    words.withUnsafeBufferPointer { RowKernels.addGaussians(words: $0, scale: 3, to: y.elements) }
    let normals = stride(from: 0, to: 20, by: 2).flatMap { i in
      let pair = NaiveKernels.gaussianPair(words[i], words[i + 1])
      return [pair.0, pair.1]
    }
    expect(y.values, normals.prefix(d).map { 1 + 3 * $0 }, "noise")
  }
}
