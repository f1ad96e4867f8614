import Foundation

/// A GPT-2 model's loss on one record, in Double, one loop a formula: what `Transformer` is compared with.
package struct NaiveTransformer: NaiveModel {
  package let layers, width, heads, innerWidth, vocabularySize: Int
  package let epsilon: Double
  package let isTied: Bool
  /// Tensors by Hugging Face's names, row-major.
  package var tensors: [String: [Double]]

  package init(
    layers: Int, width: Int, heads: Int, innerWidth: Int, vocabularySize: Int, epsilon: Double, isTied: Bool,
    tensors: [String: [Double]]
  ) {
    self.layers = layers
    self.width = width
    self.heads = heads
    self.innerWidth = innerWidth
    self.vocabularySize = vocabularySize
    self.epsilon = epsilon
    self.isTied = isTied
    self.tensors = tensors
  }

  /// Mean over targets of -log p(target), in nats, for ids[0] … ids[n].
  ///
  /// - Parameter start: the first target that counts.
  package func loss(_ ids: [Int], from start: Int = 0) -> Double {
    let inputs = Array(ids.dropLast())
    var x = inputs.enumerated().map { t, token in
      (0..<width).map { tensor("wte.weight")[token * width + $0] + tensor("wpe.weight")[t * width + $0] }
    }
    for l in 0..<layers {
      let name = "h.\(l)."
      let attended = attention(linear(x.map { layerNorm($0, name + "ln_1") }, name + "attn.c_attn", 3 * width))
      x = sum(x, linear(attended, name + "attn.c_proj", width))
      let inner = linear(x.map { layerNorm($0, name + "ln_2") }, name + "mlp.c_fc", innerWidth).map { $0.map(Self.gelu) }
      x = sum(x, linear(inner, name + "mlp.c_proj", width))
    }
    let head = isTied ? tensor("wte.weight") : tensors["lm_head.weight"]!
    var total = 0.0
    for (t, row) in x.enumerated().dropFirst(start) {
      let h = layerNorm(row, "ln_f")
      let logits = (0..<vocabularySize).map { v in (0..<width).reduce(0) { $0 + h[$1] * head[v * width + $1] } }
      let top = logits.max()!
      total += top + log(logits.reduce(0) { $0 + exp($1 - top) }) - logits[ids[t + 1]]
    }
    return total / Double(inputs.count - start)
  }

  private func tensor(_ name: String) -> [Double] { tensors["transformer." + name]! }

  private func sum(_ a: [[Double]], _ b: [[Double]]) -> [[Double]] {
    zip(a, b).map { zip($0, $1).map { $0 + $1 } }
  }

  private func layerNorm(_ x: [Double], _ name: String) -> [Double] {
    let mean = x.reduce(0, +) / Double(width)
    let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width)
    let (gain, bias) = (tensor(name + ".weight"), tensor(name + ".bias"))
    return x.indices.map { gain[$0] * (x[$0] - mean) / (variance + epsilon).squareRoot() + bias[$0] }
  }

  private func linear(_ x: [[Double]], _ name: String, _ outputs: Int) -> [[Double]] {
    let (weight, bias) = (tensor(name + ".weight"), tensor(name + ".bias"))
    return x.map { row in
      var result = bias
      for (i, value) in row.enumerated() {
        for j in 0..<outputs { result[j] += value * weight[i * outputs + j] }
      }
      return result
    }
  }

  private func attention(_ qkv: [[Double]]) -> [[Double]] {
    let D = width / heads
    return qkv.indices.map { t in
      (0..<heads).flatMap { h -> [Double] in
        let scores = (0...t).map { s in
          (0..<D).reduce(0) { $0 + qkv[t][h * D + $1] * qkv[s][width + h * D + $1] } / Double(D).squareRoot()
        }
        let top = scores.max()!
        let weights = scores.map { exp($0 - top) }
        let total = weights.reduce(0, +)
        return (0..<D).map { j in (0...t).reduce(0) { $0 + weights[$1] / total * qkv[$1][2 * width + h * D + j] } }
      }
    }
  }

  private static func gelu(_ x: Double) -> Double {
    0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
  }
}
