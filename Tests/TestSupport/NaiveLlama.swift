import Foundation

/// A model's loss on one record, in Double.
package protocol NaiveModel {
  /// Tensors by Hugging Face's names, row-major.
  var tensors: [String: [Double]] { get set }
  /// Mean over targets from `start` on of -log p(target), in nats, for ids[0] … ids[n].
  func loss(_ ids: [Int], from start: Int) -> Double
}

extension NaiveModel {
  package func loss(_ ids: [Int]) -> Double { loss(ids, from: 0) }
}

/// A model of Llama's family, one loop a formula.
package struct NaiveLlama: NaiveModel {
  package let layers, width, heads, keyHeads, headWidth, innerWidth, vocabularySize: Int
  package let epsilon: Double
  /// Radians a position, of pair i.
  package let frequency: @Sendable (Int) -> Double
  package var tensors: [String: [Double]]

  package init(
    layers: Int, width: Int, heads: Int, keyHeads: Int, headWidth: Int, innerWidth: Int, vocabularySize: Int, epsilon: Double,
    frequency: @escaping @Sendable (Int) -> Double, tensors: [String: [Double]]
  ) {
    self.layers = layers
    self.width = width
    self.heads = heads
    self.keyHeads = keyHeads
    self.headWidth = headWidth
    self.innerWidth = innerWidth
    self.vocabularySize = vocabularySize
    self.epsilon = epsilon
    self.frequency = frequency
    self.tensors = tensors
  }

  package func loss(_ ids: [Int], from start: Int) -> Double {
    let inputs = Array(ids.dropLast())
    let rows = logits(inputs)
    let total = rows.enumerated().dropFirst(start).reduce(0.0) { total, entry in
      let (t, logits) = entry
      let top = logits.max()!
      return total + top + log(logits.reduce(0) { $0 + exp($1 - top) }) - logits[ids[t + 1]]
    }
    return total / Double(inputs.count - start)
  }

  /// Behind each of the inputs, `[V]`.
  package func logits(_ inputs: [Int]) -> [[Double]] {
    let table = tensors["model.embed_tokens.weight"]!
    var x = inputs.map { Array(table[$0 * width..<($0 + 1) * width]) }
    for l in 0..<layers {
      let name = "model.layers.\(l)."
      let normed = x.map { norm($0, name + "input_layernorm") }
      let queries = linear(normed, name + "self_attn.q_proj", heads * headWidth)
      let keys = linear(normed, name + "self_attn.k_proj", keyHeads * headWidth)
      let values = linear(normed, name + "self_attn.v_proj", keyHeads * headWidth)
      x = sum(x, linear(attention(queries.enumerated().map(rotated), keys.enumerated().map(rotated), values), name + "self_attn.o_proj", width))
      let second = x.map { norm($0, name + "post_attention_layernorm") }
      let gate = linear(second, name + "mlp.gate_proj", innerWidth).map { $0.map { $0 / (1 + exp(-$0)) } }
      let up = linear(second, name + "mlp.up_proj", innerWidth)
      x = sum(x, linear(zip(gate, up).map { zip($0, $1).map { $0 * $1 } }, name + "mlp.down_proj", width))
    }
    return linear(x.map { norm($0, "model.norm") }, tensors["lm_head.weight"] == nil ? "model.embed_tokens" : "lm_head", vocabularySize)
  }

  private func sum(_ a: [[Double]], _ b: [[Double]]) -> [[Double]] { zip(a, b).map { zip($0, $1).map { $0 + $1 } } }

  private func norm(_ x: [Double], _ name: String) -> [Double] {
    let scale = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(width) + epsilon).squareRoot()
    return zip(x, tensors[name + ".weight"]!).map { $0 * scale * $1 }
  }

  private func linear(_ x: [[Double]], _ name: String, _ outputs: Int) -> [[Double]] {
    let (weight, bias) = (tensors[name + ".weight"]!, tensors[name + ".bias"])
    return x.map { row in
      (0..<outputs).map { j -> Double in
        var sum = bias?[j] ?? 0
        for (i, value) in row.enumerated() { sum += value * weight[j * row.count + i] }
        return sum
      }
    }
  }

  /// A row of heads, by its position.
  private func rotated(_ position: Int, _ x: [Double]) -> [Double] {
    var y = x
    for first in stride(from: 0, to: x.count, by: headWidth) {
      for i in 0..<headWidth / 2 {
        let (a, b, angle) = (x[first + i], x[first + i + headWidth / 2], Double(position) * frequency(i))
        y[first + i] = a * cos(angle) - b * sin(angle)
        y[first + i + headWidth / 2] = b * cos(angle) + a * sin(angle)
      }
    }
    return y
  }

  private func attention(_ queries: [[Double]], _ keys: [[Double]], _ values: [[Double]]) -> [[Double]] {
    queries.indices.map { t in
      (0..<heads).flatMap { h -> [Double] in
        let shared = h / (heads / keyHeads) * headWidth
        let scores = (0...t).map { s -> Double in
          var dot = 0.0
          for j in 0..<headWidth { dot += queries[t][h * headWidth + j] * keys[s][shared + j] }
          return dot / Double(headWidth).squareRoot()
        }
        let top = scores.max()!
        let weights = scores.map { exp($0 - top) }
        let total = weights.reduce(0, +)
        return (0..<headWidth).map { j in (0...t).reduce(0) { $0 + weights[$1] / total * values[$1][shared + j] } }
      }
    }
  }
}
