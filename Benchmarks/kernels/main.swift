// What the kernels reach, beside what the machine gives: memory bandwidth (copy, triad) and single-precision matrix products,
// measured in the same run. `swift run -c release kernel-benchmarks [word in the name …]`

import CKernels
import DistEngine
import Foundation

/// Processor seconds of the fastest of many calls: what the machine can do, not what else it was doing.
func seconds(_ body: () -> Void) -> Double {
  func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
  var best = Double.infinity, spent = 0.0, calls = 0
  body()
  while spent < 0.3 || calls < 5 {
    let start = now()
    body()
    let elapsed = now() - start
    best = min(best, elapsed)
    spent += elapsed
    calls += 1
  }
  return best
}

func column(_ text: String, _ width: Int) -> String {
  text.count >= width ? text : text + String(repeating: " ", count: width - text.count)
}

let wanted = CommandLine.arguments.dropFirst()

/// A line: nanoseconds an element, and GB/s of the bytes that a call must move.
func report(_ name: String, elements: Int, bytesPerElement: Int, _ body: () -> Void) {
  guard wanted.isEmpty || wanted.contains(where: name.contains) else { return }
  let time = seconds(body)
  let nanoseconds = String(format: "%7.3f ns/element", time / Double(elements) * 1e9)
  let rate = bytesPerElement == 0 ? "" : String(format: "%7.1f GB/s", Double(elements * bytesPerElement) / time / 1e9)
  print(column(name, 44), nanoseconds, rate)
}

func random(_ count: Int, spread: Float = 1) -> AlignedBuffer<Float> {
  let buffer = AlignedBuffer<Float>(count: count)
  var generator = SystemRandomNumberGenerator()
  for i in 0..<count { buffer.base[i] = Float.random(in: -spread...spread, using: &generator) }
  return buffer
}

// MARK: The machine

let large = 16 << 20
let a = random(large), b = random(large), c = random(large), d = random(large)
report("memory: copy", elements: large, bytesPerElement: 8) { memcpy(b.base, a.base, large * 4) }
report("memory: triad (y += alpha x)", elements: large, bytesPerElement: 12) { ck_add_scaled(large, 1e-9, a.base, b.base) }
do {
  let n = 768
  let time = seconds {
    MatrixProducts.multiply(
      .plain(Matrix(a.base, rows: n, columns: n)), .plain(Matrix(b.base, rows: n, columns: n)),
      into: Matrix(c.base, rows: n, columns: n))
  }
  print(
    column("sgemm \(n)", 44), String(format: "%7.1f GFLOP/s, one thread, ", 2 * pow(Double(n), 3) / time / 1e9),
    MatrixProducts.kernelFamily)
}

let words = Array(wanted)
ProductBenchmark(isWanted: { name in words.isEmpty || words.contains(where: name.contains) }).run()

// MARK: Rows: once in the second-level cache, once from memory

let width = 768
let ones = random(width), bias = random(width)
for (place, rows) in [("cache", 128), ("memory", 16384)] {
  let count = rows * width
  let rstd = random(rows)
  report("layer norm (\(place))", elements: count, bytesPerElement: 8) {
    ck_layer_norm(rows, width, a.base, width, 1e-5, b.base, rstd.base)
  }
  report("scale, shift (\(place))", elements: count, bytesPerElement: 8) {
    ck_scale_shift(rows, width, a.base, ones.base, bias.base, nil, b.base)
  }
  report("layer norm backward (\(place))", elements: count, bytesPerElement: 16) {
    ck_layer_norm_backward(rows, width, a.base, d.base, rstd.base, ones.base, c.base, c.base)
  }
  report("layer norm gradient (\(place))", elements: count, bytesPerElement: 8) {
    ck_layer_norm_gradient(rows, width, a.base, d.base, width, rstd.base, rstd.base, ones.base, bias.base)
  }
  report("column sums (\(place))", elements: count, bytesPerElement: 4) {
    ck_column_sums(rows, width, a.base, width, rstd.base, bias.base)
  }
  report("scale rows (\(place))", elements: count, bytesPerElement: 8) {
    ck_scale_rows(rows, width, rstd.base, a.base, width, b.base, width)
  }
  report("fill rows (\(place))", elements: count, bytesPerElement: 4) { ck_fill_rows(rows, width, bias.base, b.base, width) }
  report("gelu (\(place))", elements: count, bytesPerElement: 8) { ck_gelu(count, a.base, b.base) }
  report("gelu backward (\(place))", elements: count, bytesPerElement: 12) {
    ck_gelu_backward(count, a.base, d.base, c.base)
  }
  report("squared norm (\(place))", elements: count, bytesPerElement: 4) { _ = ck_squared_norm(count, a.base) }
  report("dot product (\(place))", elements: count, bytesPerElement: 8) { _ = ck_dot(count, a.base, d.base) }
  let index = (0..<rows).map { _ in Int32.random(in: 0..<1024) }
  report("scatter add (\(place))", elements: count, bytesPerElement: 12) {
    ck_scatter_add(rows, width, index, nil, a.base, 0, rows, c.base, width)
  }
  report("head dots, D 64 (\(place))", elements: count, bytesPerElement: 8) {
    ck_head_dots(rows, 12, 64, a.base, width, d.base, width, c.base, 12)
  }
}
do {
  let n = 512
  report("symmetric inner product, n \(n)", elements: n * (n + 1) / 2, bytesPerElement: 8) {
    _ = ck_symmetric_inner_product(n, a.base, n, b.base, n)
  }
}

// MARK: Attention: a block of 128 queries against 512 keys; elements are the visible ones

do {
  let rows = 128, first = 384, columns = 512
  let visible = rows * first + rows * (rows + 1) / 2
  let scores = random(rows * columns, spread: 5), fresh = random(rows * columns, spread: 5), logSumExp = random(rows)
  report("causal: the copy of scores in each of these", elements: visible, bytesPerElement: 0) {
    memcpy(scores.base, fresh.base, rows * columns * 4)
  }
  report("causal softmax", elements: visible, bytesPerElement: 0) {
    memcpy(scores.base, fresh.base, rows * columns * 4)
    ck_causal_softmax(rows, columns, first, 0.125, scores.base, columns, logSumExp.base, 1)
  }
  report("causal probabilities", elements: visible, bytesPerElement: 0) {
    memcpy(scores.base, fresh.base, rows * columns * 4)
    ck_causal_probabilities(rows, columns, first, 0.125, scores.base, columns, logSumExp.base, 1)
  }
  report("causal softmax backward", elements: visible, bytesPerElement: 0) {
    memcpy(scores.base, fresh.base, rows * columns * 4)
    ck_causal_softmax_backward(rows, columns, first, 0.125, fresh.base, columns, scores.base, columns, logSumExp.base, 1)
  }
}

// MARK: Softmax and cross-entropy of 64 rows over GPT-2's vocabulary

do {
  let rows = 64, vocabulary = 50257
  let targets = (0..<rows).map { Int32($0 * 700) }, scale = random(rows)
  var losses = [Double](repeating: 0, count: rows)
  let logits = random(rows * vocabulary, spread: 5)
  // From the second call on the logits are last call's gradients: as much work, other numbers.
  report("cross-entropy and gradient, V \(vocabulary)", elements: rows * vocabulary, bytesPerElement: 8) {
    ck_cross_entropy(rows, vocabulary, logits.base, vocabulary, targets, scale.base, &losses)
  }
  report("cross-entropy losses, V \(vocabulary)", elements: rows * vocabulary, bytesPerElement: 4) {
    ck_cross_entropy_losses(rows, vocabulary, logits.base, vocabulary, targets, &losses)
  }
}

// MARK: Optimizers, noise

report("adamw", elements: large, bytesPerElement: 28) {
  ck_adamw(large, a.base, b.base, 1, c.base, d.base, 1e-9, 0.9, 0.999, 1e-8, 0.01, 1, 1)
}
do {
  // One after the other in turn: what else the machine does meets both.
  let name = "memory: adamw beside a copy, alternating"
  if wanted.isEmpty || wanted.contains(where: name.contains) {
    func once(_ body: () -> Void) -> Double { ContinuousClock().measure(body) / .seconds(1) }
    let pairs = (0..<21).map { _ in
      (
        adamw: once { ck_adamw(large, a.base, b.base, 1, c.base, d.base, 1e-9, 0.9, 0.999, 1e-8, 0.01, 1, 1) } / 28,
        copy: once { memcpy(b.base, a.base, large * 4) } / 8
      )
    }
    let ratios = pairs.map { $0.adamw / $0.copy }.sorted()
    print(column(name, 44), String(format: "%.2f of a copy's time for a byte (median of %d pairs; %.2f to %.2f)", ratios[10], 21, ratios[0], ratios[20]))
  }
}
report("sgd with momentum", elements: large, bytesPerElement: 20) {
  ck_sgd(large, a.base, b.base, 1, c.base, 1e-9, 0.9, 0)
}
do {
  let count = 8192
  let subKey = RandomKey().subKey(for: .noise)
  let generator = CounterRandom(subKey), source = GaussianSource(subKey)
  let words = generator.words(stream: 0, from: 0, count: count)
  var sum: UInt64 = 0
  report("AES-256-CTR words", elements: 1 << 20, bytesPerElement: 8) {
    generator.forEachPiece(stream: 0, from: 0, count: 1 << 20) { words, _ in sum &+= words[0] }
  }
  report("Box-Muller alone", elements: count, bytesPerElement: 0) { ck_add_gaussians(count, words, 1e-9, a.base) }
  for (place, count) in [("cache", 1 << 18), ("memory", large)] {
    report("noise, AES included (\(place))", elements: count, bytesPerElement: 8) {
      source.add(step: 1, elements: 0..<count, scale: 1e-9, to: UnsafeMutableBufferPointer(start: a.base, count: count))
    }
  }
}
