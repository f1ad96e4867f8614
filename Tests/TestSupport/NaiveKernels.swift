import Foundation

/// What the kernels compute, in double, one formula at a time: their twins in the tests. Matrices are row-major without gaps.
public enum NaiveKernels {
  // MARK: Layer normalisation

  public static func layerNorm(_ x: [Double], rows: Int, d: Int, epsilon: Double) -> (normalized: [Double], rstd: [Double]) {
    var normalized = x
    var rstd = [Double](repeating: 0, count: rows)
    for r in 0..<rows {
      let row = x[(r * d)..<((r + 1) * d)]
      let mean = d == 0 ? 0 : row.reduce(0, +) / Double(d)
      let variance = d == 0 ? 0 : row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(d)
      rstd[r] = 1 / (variance + epsilon).squareRoot()
      for j in 0..<d { normalized[r * d + j] = (x[r * d + j] - mean) * rstd[r] }
    }
    return (normalized, rstd)
  }

  public static func scaleShift(
    _ normalized: [Double], rows: Int, d: Int, gain: [Double], bias: [Double], rowScale: [Double]?
  ) -> [Double] {
    elements(rows, d) { r, j in weighted(rowScale?[r], gain[j] * normalized[r * d + j] + bias[j]) }
  }

  public static func layerNormBackward(
    dy: [Double], normalized: [Double], rstd: [Double], gain: [Double], residual: [Double], rows: Int, d: Int
  ) -> [Double] {
    var out = residual
    for r in 0..<rows {
      let h = (0..<d).map { dy[r * d + $0] * gain[$0] }
      let mean = h.reduce(0, +) / Double(d)
      let meanProduct = (0..<d).reduce(0.0) { $0 + h[$1] * normalized[r * d + $1] } / Double(d)
      for j in 0..<d { out[r * d + j] += rstd[r] * (h[j] - mean - normalized[r * d + j] * meanProduct) }
    }
    return out
  }

  /// Sums to be added to the gradients of gain and bias.
  public static func layerNormGradient(
    dy: [Double], normalized: [Double], gainWeights: [Double]?, biasWeights: [Double]?, rows: Int, d: Int
  ) -> (gain: [Double], bias: [Double]) {
    (
      columnSums(zip(dy, normalized).map { $0 * $1 }, weights: gainWeights, rows: rows, columns: d),
      columnSums(dy, weights: biasWeights, rows: rows, columns: d)
    )
  }

  // MARK: Llama

  public static func rmsNorm(_ x: [Double], rows: Int, d: Int, epsilon: Double) -> (normalized: [Double], rstd: [Double]) {
    let rstd = (0..<rows).map { r in
      1 / ((d == 0 ? 0 : x[r * d..<(r + 1) * d].reduce(0) { $0 + $1 * $1 } / Double(d)) + epsilon).squareRoot()
    }
    return (elements(rows, d) { r, j in x[r * d + j] * rstd[r] }, rstd)
  }

  public static func rmsNormBackward(
    dy: [Double], normalized: [Double], rstd: [Double], gain: [Double], residual: [Double], rows: Int, d: Int
  ) -> [Double] {
    elements(rows, d) { r, j in
      let mean = (0..<d).reduce(0.0) { $0 + dy[r * d + $1] * gain[$1] * normalized[r * d + $1] } / Double(d)
      return residual[r * d + j] + rstd[r] * (dy[r * d + j] * gain[j] - normalized[r * d + j] * mean)
    }
  }

  /// Each head's element i and the one half a head further are a pair; `table`: by position, the cosines, then the sines.
  public static func rotated(
    _ x: [Double], rows: Int, heads: Int, width: Int, positions: [Int32], table: [Double], direction: Double
  ) -> [Double] {
    let half = width / 2
    return elements(rows, heads * width) { r, j in
      let (i, isFirst) = (j % width % max(1, half), j % width < half)
      let own = x[r * heads * width + j], other = x[r * heads * width + (isFirst ? j + half : j - half)]
      let c = table[Int(positions[r]) * width + i], s = direction * table[Int(positions[r]) * width + half + i]
      return own * c + (isFirst ? -other : other) * s
    }
  }

  public static func silu(_ x: Double) -> Double { x / (1 + exp(-x)) }

  public static func siluDerivative(_ x: Double) -> Double {
    let logistic = 1 / (1 + exp(-x))
    return logistic * (1 + x * (1 - logistic))
  }

  // MARK: Rows

  public static func columnSums(_ g: [Double], weights: [Double]?, rows: Int, columns: Int) -> [Double] {
    (0..<columns).map { j in (0..<rows).reduce(0) { $0 + weighted(weights?[$1], g[$1 * columns + j]) } }
  }

  public static func scaleRows(_ x: [Double], weights: [Double], rows: Int, columns: Int) -> [Double] {
    elements(rows, columns) { r, j in weighted(weights[r], x[r * columns + j]) }
  }

  public static func gelu(_ x: Double) -> Double {
    // 1 + tanh loses all digits far to the left: the same function by the logistic one.
    x / (1 + exp(-2 * (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
  }

  public static func geluDerivative(_ x: Double) -> Double {
    let c = (2 / Double.pi).squareRoot()
    let t = tanh(c * (x + 0.044715 * x * x * x))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
  }

  public static func geluErf(_ x: Double) -> Double { x * normalDistribution(x) }

  public static func geluErfDerivative(_ x: Double) -> Double {
    normalDistribution(x) + x * exp(-x * x / 2) / (2 * Double.pi).squareRoot()
  }

  private static func normalDistribution(_ x: Double) -> Double { erfc(-x / 2.0.squareRoot()) / 2 }

  // MARK: Attention

  /// Row m sees columns 0...first+m, as far as there are any.
  public static func causalSoftmax(
    _ scores: [Double], rows: Int, columns: Int, first: Int, scale: Double
  ) -> (probabilities: [Double], logSumExp: [Double]) {
    var out = [Double](repeating: 0, count: rows * columns)
    var logSumExp = [Double](repeating: 0, count: rows)
    for m in 0..<rows {
      let visible = (0...min(first + m, columns - 1)).map { scale * scores[m * columns + $0] }
      let top = visible.max()!
      let sum = visible.reduce(0) { $0 + exp($1 - top) }
      logSumExp[m] = top + log(sum)
      for (j, s) in visible.enumerated() { out[m * columns + j] = exp(s - top) / sum }
    }
    return (out, logSumExp)
  }

  /// The gradient at the raw scores, from that at the probabilities, delta = Σ p·dp.
  public static func causalSoftmaxBackward(
    probabilities p: [Double], gradient dp: [Double], delta: [Double], rows: Int, columns: Int, first: Int, scale: Double
  ) -> [Double] {
    elements(rows, columns) { m, j in j <= first + m ? p[m * columns + j] * (dp[m * columns + j] - delta[m]) * scale : 0 }
  }

  public static func headDots(_ a: [Double], _ b: [Double], rows: Int, heads: Int, width: Int) -> [Double] {
    elements(rows, heads) { r, h in
      (0..<width).reduce(0) { $0 + a[(r * heads + h) * width + $1] * b[(r * heads + h) * width + $1] }
    }
  }

  // MARK: Cross-entropy

  public static func crossEntropy(
    _ logits: [Double], targets: [Int32], rowScale: [Double], rows: Int, vocabulary: Int
  ) -> (losses: [Double], gradient: [Double]) {
    var gradient = logits
    var losses = [Double](repeating: 0, count: rows)
    for r in 0..<rows {
      let row = logits[(r * vocabulary)..<((r + 1) * vocabulary)]
      let target = Int(targets[r])
      let top = row.max()!
      let sum = row.reduce(0) { $0 + exp($1 - top) }
      losses[r] = log(sum) + top - logits[r * vocabulary + target]
      for j in 0..<vocabulary {
        gradient[r * vocabulary + j] = rowScale[r] * (exp(logits[r * vocabulary + j] - top) / sum - (j == target ? 1 : 0))
      }
    }
    return (losses, gradient)
  }

  // MARK: Products and sums

  public static func multiply(_ a: [Double], _ b: [Double], m: Int, k: Int, n: Int) -> [Double] {
    elements(m, n) { i, j in (0..<k).reduce(0) { $0 + a[i * k + $1] * b[$1 * n + j] } }
  }

  public static func transposed(_ a: [Double], rows: Int, columns: Int) -> [Double] {
    elements(columns, rows) { i, j in a[j * columns + i] }
  }

  public static func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }

  // MARK: Optimizers

  public struct AdamW {
    public var parameters: [Double], m: [Double], v: [Double]

    public init(parameters: [Double], m: [Double], v: [Double]) {
      self.parameters = parameters
      self.m = m
      self.v = v
    }

    /// Loshchilov & Hutter 2019, algorithm 2; `step` counts from 1.
    public mutating func update(
      gradient: [Double], learningRate lr: Double, beta1: Double, beta2: Double, epsilon: Double, decay: Double, step: Int
    ) {
      for i in parameters.indices {
        m[i] = beta1 * m[i] + (1 - beta1) * gradient[i]
        v[i] = beta2 * v[i] + (1 - beta2) * gradient[i] * gradient[i]
        let first = m[i] / (1 - pow(beta1, Double(step)))
        let second = v[i] / (1 - pow(beta2, Double(step)))
        parameters[i] -= lr * decay * parameters[i]
        parameters[i] -= lr * first / (second.squareRoot() + epsilon)
      }
    }
  }

  // MARK: Gaussians

  /// The Box–Muller pair of two words, by the library's functions.
  public static func gaussianPair(_ first: UInt64, _ second: UInt64) -> (Double, Double) {
    // ln u from the side where u has digits: near 1, 1 - u is what counts.
    let logarithm =
      first < 1 << 63
      ? log((Double(first) + 0.5) * 0x1p-64) : log1p(-(Double(~first) + 0.5) * 0x1p-64)
    let radius = (-2 * logarithm).squareRoot()
    let angle = 2 * Double.pi * (Double(second) * 0x1p-64)
    return (radius * cos(angle), radius * sin(angle))
  }

  /// The pair as `ck_gaussians` computes it, operation by operation.
  /// - Parameter productSum: a·b + c.
  public static func roundedGaussianPair(
    _ first: UInt64, _ second: UInt64, productSum: (Double, Double, Double) -> Double = { $0 * $1 + $2 }
  ) -> (Double, Double) {
    func fraction(_ word: UInt64) -> (high: Double, low: Double) { (Double(word >> 32) * 0x1p-32, Double(word & 0xFFFF_FFFF) * 0x1p-64) }
    /// c[0] + c[1] x + … + c[5] x⁵.
    func polynomial(_ c: [Double], _ x: Double, _ x2: Double, _ x4: Double) -> Double {
      let (even, middle, odd) = (productSum(c[1], x, c[0]), productSum(c[3], x, c[2]), productSum(c[5], x, c[4]))
      return productSum(odd, x4, productSum(middle, x2, even))
    }

    let upper = first >= 1 << 63
    let parts = fraction(upper ? ~first : first)
    let distance = (parts.high - 0x1p-12) + (0x1p-12 + parts.low) + 0x1p-65
    let u = upper ? 1 - distance : distance
    // m in [√½, √2) as the kernel has it, by the bits.
    let k = (Int64(bitPattern: u.bitPattern) - 0x3FE6_A09E_667F_3BCD) >> 52
    let m = Double(bitPattern: UInt64(bitPattern: Int64(bitPattern: u.bitPattern) - k << 52))
    let f = k == 0 ? distance : 1 - m
    let s = f / (2 - f), x = s * s, x2 = x * x
    let logarithm: [Double] = [
      0x1.55555555553b8p+0, 0x1.9999999b86b7cp-1, 0x1.2492462aa8c89p-1, 0x1.c71fcd1ced0aep-2, 0x1.7382d06f0c1dep-2, 0x1.546adfbbda333p-2,
    ]
    let lead = productSum(-Double(k), 0x1.62e42fefa39efp+0, s * 4)
    let radius = productSum(s * x, polynomial(logarithm, x, x2, x2 * x2), lead).squareRoot()

    let rounded = second &+ 1 << 61
    let angle = fraction(rounded << 2)
    let y = (angle.high - (0x1p-12 + 0.5)) + (0x1p-12 + angle.low)
    let t = y * y, t2 = t * t, t4 = t2 * t2
    let sineSeries: [Double] = [
      -0x1.4abbce625be41p-1, 0x1.466bc677587f8p-4, -0x1.32d2cce2e5b19p-8, 0x1.50782fda12d96p-13, -0x1.e30071afc3e59p-19, 0x1.e3f38399551bfp-25,
    ]
    let cosineSeries: [Double] = [
      -0x1.3bd3cc9be45dbp+0, 0x1.03c1f081b4b74p-2, -0x1.55d3c7e10153fp-6, 0x1.e1f50093e4c8fp-11, -0x1.a6cc32d07dc98p-16, 0x1.f4b536b457d9ep-22,
    ]
    let sine = radius * productSum(y * t, polynomial(sineSeries, t, t2, t4), y * 0x1.921fb54442d18p+0)
    let cosine = radius * productSum(t, polynomial(cosineSeries, t, t2, t4), 1)
    switch rounded >> 62 {
    case 0: return (cosine, sine)
    case 1: return (-sine, cosine)
    case 2: return (-cosine, -sine)
    default: return (sine, -cosine)
    }
  }

  private static func elements(_ rows: Int, _ columns: Int, _ value: (Int, Int) -> Double) -> [Double] {
    var out: [Double] = []
    out.reserveCapacity(rows * columns)
    for r in 0..<rows { for j in 0..<columns { out.append(value(r, j)) } }
    return out
  }

  /// A weight of 0 leaves a row out, whatever it holds.
  private static func weighted(_ weight: Double?, _ x: Double) -> Double {
    guard let weight else { return x }
    return weight == 0 ? 0 : weight * x
  }
}
