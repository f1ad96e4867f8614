import COpenBLAS
import DistEngine
import Foundation

/// Every matrix product of a model at its own shape, layout and strides, beside the best square product of the same run.
struct ProductBenchmark {
  /// Whether a line is wanted, by its name.
  let isWanted: (String) -> Bool

  func run() {
    // 512 rows are what `auto` fills a microbatch with; 128 a short record alone.
    let cases = [("seed-medium", ModelPreset.seedMedium), ("small", .small)].flatMap { name, preset in
      [512, 128].map { (title: "product, \(name), \($0) rows", shape: preset.configuration, rows: $0) }
    }
    for (title, shape, rows) in cases {
      let products = Self.products(of: shape, rows: rows).filter { isWanted("\(title): \($0.name)") }
      if products.isEmpty { continue }
      let best = Self.bestSquare()
      print(column("\(title): square, the best", 62), String(format: "%7.1f GFLOP/s", best.rate / 1e9), "n \(best.size)")
      for product in products {
        let rate = product.flops / seconds(product.call)
        print(
          column("\(title): \(product.name)", 62),
          String(format: "%7.1f GFLOP/s, %.2f of the best square", rate / 1e9, rate / best.rate))
      }
    }
    stored()
    short()
  }

  /// Products with a short side beside sgemm's: an adapter's of rank 8 and 16, over 512 rows and over one record's, and those of a short record's
  /// attention.
  private func short() {
    openblas_set_num_threads(1)
    typealias Sizes = (m: Int, n: Int, k: Int, turnsA: Bool, turnsB: Bool)
    var shapes: [Sizes] = []
    for (width, rank) in [(384, 8), (1536, 8), (1536, 16)] {
      shapes.append((512, rank, width, false, true))
      for rows in [512, 24] { shapes += [(width, rank, rows, true, false), (rank, width, rows, true, false)] }
    }
    shapes += [(13, 13, 32, false, true), (13, 32, 13, false, false), (13, 32, 13, true, false), (16, 384, 384, false, true)]
    for shape in shapes {
      let title = "short side, \(shape.m) x \(shape.n), \(shape.k) terms: \(shape.turnsA ? "aᵀ" : "a") \(shape.turnsB ? "bᵀ" : "b")"
      if !isWanted(title) { continue }
      let (aMemory, bMemory, cMemory) = (random(shape.m * shape.k), random(shape.k * shape.n), random(shape.m * shape.n))
      func operand(_ memory: AlignedBuffer<Float>, _ rows: Int, _ columns: Int, isTurned: Bool) -> MatrixProducts.Operand {
        isTurned ? .transposed(Matrix(memory.base, rows: columns, columns: rows)) : .plain(Matrix(memory.base, rows: rows, columns: columns))
      }
      let a = operand(aMemory, shape.m, shape.k, isTurned: shape.turnsA), b = operand(bMemory, shape.k, shape.n, isTurned: shape.turnsB)
      let c = Matrix(cMemory.base, rows: shape.m, columns: shape.n)
      // A microsecond is too short to be timed.
      let calls = max(1, 10_000_000 / (shape.m * shape.n * shape.k))
      let own = seconds { for _ in 0..<calls { MatrixProducts.multiply(a, b, into: c) } } / Double(calls)
      let library = seconds {
        for _ in 0..<calls {
          cblas_sgemm(
            CblasRowMajor, shape.turnsA ? CblasTrans : CblasNoTrans, shape.turnsB ? CblasTrans : CblasNoTrans, blasint(shape.m), blasint(shape.n),
            blasint(shape.k), 1, aMemory.base, blasint(shape.turnsA ? shape.m : shape.k), bMemory.base,
            blasint(shape.turnsB ? shape.k : shape.n), 0, cMemory.base, blasint(shape.n))
        }
      } / Double(calls)
      print(column(title, 62), String(format: "%8.2f us, sgemm %8.2f us: %.2f x", own * 1e6, library * 1e6, library / own))
    }
  }

  /// A block's products of Llama 7B with matrices as its files have them, beside those with the same numbers as floats: 128 rows and 512.
  private func stored() {
    let shapes = [("attention", 4096, 4096), ("mlp up", 4096, 11008), ("mlp down", 11008, 4096)]
    for rows in [128, 512] {
      for (name, inputs, outputs) in shapes {
        for (layout, isTransposed) in [("[out,in]", true), ("[in,out]", false)] {
          for (element, type) in [("BF16", NarrowFloat.bfloat16), ("F16", .float16)] {
            let title = "stored product, llama-7b, \(rows) rows: \(name) \(layout) \(element)"
            if isWanted(title) { compare(title, rows: rows, inputs: inputs, outputs: outputs, isTransposed: isTransposed, type: type) }
          }
        }
      }
    }
  }

  private func compare(_ title: String, rows: Int, inputs: Int, outputs: Int, isTransposed: Bool, type: NarrowFloat) {
    let (x, y) = (random(rows * inputs), AlignedBuffer<Float>(count: rows * outputs))
    let (stored, weight) = (AlignedBuffer<UInt16>(count: inputs * outputs), AlignedBuffer<Float>(count: inputs * outputs))
    // Some number of either format, of either sign.
    for index in 0..<stored.count { stored.elements[index] = UInt16(truncatingIfNeeded: 0x2C00 + index % 0x37D | index << 15) }
    let shape = isTransposed ? (outputs, inputs) : (inputs, outputs)
    let narrow = NarrowMatrix(stored.base, type, rows: shape.0, columns: shape.1)
    let floats = Matrix(weight.base, rows: shape.0, columns: shape.1)
    narrow.widen(into: floats)
    let tiles = AlignedBuffer<Float>(count: WideningTiles.count)
    let (input, output) = (Matrix(x.base, rows: rows, columns: inputs), Matrix(y.base, rows: rows, columns: outputs))
    func rate(_ matrix: StoredMatrix) -> Double {
      let time = seconds {
        MatrixProducts.multiply(
          .plain(input), isTransposed ? .transposed(matrix) : .plain(matrix), into: output, tiles: WideningTiles(tiles.elements))
      }
      return 2 * Double(rows) * Double(inputs) * Double(outputs) / time
    }
    let (plain, own) = (rate(.floats(floats)), rate(.narrow(narrow)))
    print(column(title, 68), String(format: "%7.1f GFLOP/s, %.2f of sgemm's %.1f", own / 1e9, own / plain, plain / 1e9))
    withExtendedLifetime((x, y, stored, weight, tiles)) {}
  }

  private struct Product {
    let name: String
    let flops: Double
    let call: () -> Void
  }

  private static func bestSquare() -> (rate: Double, size: Int) {
    let rates = [512, 768, 1024, 1536, 2048].map { n -> (rate: Double, size: Int) in
      let (a, b, c) = (random(n * n), random(n * n), AlignedBuffer<Float>(count: n * n))
      let time = seconds {
        MatrixProducts.multiply(
          .plain(Matrix(a.base, rows: n, columns: n)), .plain(Matrix(b.base, rows: n, columns: n)),
          into: Matrix(c.base, rows: n, columns: n))
      }
      return (2 * pow(Double(n), 3) / time, n)
    }
    return rates.max { $0.rate < $1.rate }!
  }

  private static func products(of shape: ModelConfiguration, rows: Int) -> [Product] {
    let (d, inner) = (shape.width, shape.innerWidth)
    let linear = [("qkv", d, 3 * d), ("attention out", d, d), ("mlp up", d, inner), ("mlp down", inner, d)]
    return linear.flatMap { Self.linear($0.0, rows: rows, inputs: $0.1, outputs: $0.2, isHead: false) }
      + Self.linear("head", rows: rows, inputs: d, outputs: shape.vocabularySize, isHead: true)
      + attention(shape, length: rows)
  }

  /// As `Linear` calls them: the head's weight lies in rows of outputs, the others' in rows of inputs.
  private static func linear(_ name: String, rows: Int, inputs: Int, outputs: Int, isHead: Bool) -> [Product] {
    let (x, weight, y) = (random(rows * inputs), random(inputs * outputs), random(rows * outputs))
    let (input, output) = (Matrix(x.base, rows: rows, columns: inputs), Matrix(y.base, rows: rows, columns: outputs))
    let matrix = Matrix(weight.base, rows: isHead ? outputs : inputs, columns: isHead ? inputs : outputs)
    let flops = 2 * Double(rows) * Double(inputs) * Double(outputs)
    // Closures hold the buffers, not what lies in them.
    let call = { (body: @escaping () -> Void) in { withExtendedLifetime((x, weight, y), body) } }
    return [
      Product(
        name: "\(name), forward", flops: flops,
        call: call {
          MatrixProducts.multiply(
            .plain(input), isHead ? .transposed(matrix) : .plain(matrix), into: output, beta: isHead ? 0 : 1)
        }),
      Product(
        name: "\(name), input gradient", flops: flops,
        call: call { MatrixProducts.multiply(.plain(output), isHead ? .plain(matrix) : .transposed(matrix), into: input) }),
      Product(
        name: "\(name), weight gradient", flops: flops,
        call: call {
          let (left, right) = isHead ? (output, input) : (input, output)
          MatrixProducts.multiply(.transposed(left), .plain(right), into: matrix, beta: 1)
        }),
    ]
  }

  /// The last block of queries of one record and head, which sees all keys: operands are slices of wide rows.
  private static func attention(_ shape: ModelConfiguration, length: Int) -> [Product] {
    let (d, width) = (shape.width, shape.width / shape.heads)
    let (packed, attended) = (random(length * 3 * d), random(length * d))
    let block = min(SelfAttention.queryBlock, length)
    let weights = random(block * length)
    let qkv = Matrix(packed.base, rows: length, columns: 3 * d)
    let queries = qkv.columns(0..<width).rows(length - block..<length)
    let (keys, values) = (qkv.columns(d..<d + width), qkv.columns(2 * d..<2 * d + width))
    let scores = Matrix(weights.base, rows: block, columns: length)
    let result = Matrix(attended.base, rows: length, columns: d).columns(0..<width).rows(length - block..<length)
    let gathered = AlignedBuffer<Float>(count: length * width)
    let gradient = Matrix(gathered.base, rows: length, columns: width)
    let flops = 2 * Double(block) * Double(length) * Double(width)
    let call = { (body: @escaping () -> Void) in { withExtendedLifetime((packed, attended, weights, gathered), body) } }
    return [
      Product(
        name: "attention scores, forward", flops: flops,
        call: call { MatrixProducts.multiply(.plain(queries), .transposed(keys), into: scores) }),
      Product(
        name: "attention values, forward", flops: flops,
        call: call { MatrixProducts.multiply(.plain(scores), .plain(values), into: result) }),
      Product(
        name: "attention keys' gradient", flops: flops,
        call: call { MatrixProducts.multiply(.transposed(scores), .plain(queries), into: gradient, beta: 1) }),
    ]
  }
}
