import Foundation

/// BERT, RoBERTa and DistilBERT with their classifiers: the logits of one sequence, in Double, one loop a formula. What the encoders are
/// compared with. Formulas and names are those of `transformers`' `BertForSequenceClassification` and its relatives.
package struct NaiveEncoder {
  package enum Family: Sendable, CaseIterable { case bert, roberta, distilbert }

  package let family: Family
  package let layers, width, heads, innerWidth, labels: Int
  package let epsilon: Double
  /// Tensors by Hugging Face's names, row-major.
  package var tensors: [String: [Double]]

  package init(
    family: Family, layers: Int, width: Int, heads: Int, innerWidth: Int, labels: Int, epsilon: Double, tensors: [String: [Double]]
  ) {
    self.family = family
    self.layers = layers
    self.width = width
    self.heads = heads
    self.innerWidth = innerWidth
    self.labels = labels
    self.epsilon = epsilon
    self.tensors = tensors
  }

  /// -log p(label), in nats.
  package func loss(_ ids: [Int], types: [Int]? = nil, label: Int) -> Double {
    let logits = logits(ids, types: types)
    let top = logits.max()!
    return top + log(logits.reduce(0) { $0 + exp($1 - top) }) - logits[label]
  }

  package func logits(_ ids: [Int], types: [Int]? = nil) -> [Double] {
    var x = embedded(ids, types)
    for l in 0..<layers {
      let name = names(ofBlock: l)
      let attended = attention(x, name.queries, name.keys, name.values)
      x = sum(x, x.indices.map { linear(attended[$0], name.attentionOutput, width) }).map { layerNorm($0, name.attentionNorm) }
      let inner = x.map { linear($0, name.inner, innerWidth).map(NaiveKernels.geluErf) }
      x = sum(x, inner.map { linear($0, name.outer, width) }).map { layerNorm($0, name.outputNorm) }
    }
    switch family {
    case .bert: return linear(linear(x[0], "bert.pooler.dense", width).map { tanh($0) }, "classifier", labels)
    case .roberta: return linear(linear(x[0], "classifier.dense", width).map { tanh($0) }, "classifier.out_proj", labels)
    case .distilbert: return linear(linear(x[0], "pre_classifier", width).map { max(0, $0) }, "classifier", labels)
    }
  }

  private var prefix: String {
    switch family {
    case .bert: "bert."
    case .roberta: "roberta."
    case .distilbert: "distilbert."
    }
  }

  private func embedded(_ ids: [Int], _ types: [Int]?) -> [[Double]] {
    ids.enumerated().map { t, id in
      var row = Array(lookUp("word_embeddings", id))
      row = zip(row, lookUp("position_embeddings", family == .roberta ? t + 2 : t)).map { $0 + $1 }
      if family != .distilbert { row = zip(row, lookUp("token_type_embeddings", types?[t] ?? 0)).map { $0 + $1 } }
      return layerNorm(row, "\(prefix)embeddings.LayerNorm")
    }
  }

  private func lookUp(_ table: String, _ index: Int) -> ArraySlice<Double> {
    tensors["\(prefix)embeddings.\(table).weight"]![index * width..<(index + 1) * width]
  }

  private struct BlockNames {
    let queries, keys, values, attentionOutput, attentionNorm, inner, outer, outputNorm: String
  }

  private func names(ofBlock l: Int) -> BlockNames {
    if family == .distilbert {
      let block = "distilbert.transformer.layer.\(l)."
      return BlockNames(
        queries: block + "attention.q_lin", keys: block + "attention.k_lin", values: block + "attention.v_lin",
        attentionOutput: block + "attention.out_lin", attentionNorm: block + "sa_layer_norm", inner: block + "ffn.lin1",
        outer: block + "ffn.lin2", outputNorm: block + "output_layer_norm")
    }
    let block = "\(prefix)encoder.layer.\(l)."
    return BlockNames(
      queries: block + "attention.self.query", keys: block + "attention.self.key", values: block + "attention.self.value",
      attentionOutput: block + "attention.output.dense", attentionNorm: block + "attention.output.LayerNorm",
      inner: block + "intermediate.dense", outer: block + "output.dense", outputNorm: block + "output.LayerNorm")
  }

  private func sum(_ a: [[Double]], _ b: [[Double]]) -> [[Double]] { zip(a, b).map { zip($0, $1).map { $0 + $1 } } }

  private func layerNorm(_ x: [Double], _ name: String) -> [Double] {
    let mean = x.reduce(0, +) / Double(width)
    let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width)
    let (gain, bias) = (tensors[name + ".weight"]!, tensors[name + ".bias"]!)
    return x.indices.map { gain[$0] * (x[$0] - mean) / (variance + epsilon).squareRoot() + bias[$0] }
  }

  /// `W x + b`, `W [outputs, inputs]`.
  private func linear(_ x: [Double], _ name: String, _ outputs: Int) -> [Double] {
    let (weight, bias) = (tensors[name + ".weight"]!, tensors[name + ".bias"]!)
    return (0..<outputs).map { j in x.indices.reduce(bias[j]) { $0 + x[$1] * weight[j * x.count + $1] } }
  }

  /// Every position sees every position.
  private func attention(_ x: [[Double]], _ queries: String, _ keys: String, _ values: String) -> [[Double]] {
    let D = width / heads
    let (q, k, v) = (x.map { linear($0, queries, width) }, x.map { linear($0, keys, width) }, x.map { linear($0, values, width) })
    return x.indices.map { t in
      (0..<heads).flatMap { h -> [Double] in
        let scores = x.indices.map { s in (0..<D).reduce(0) { $0 + q[t][h * D + $1] * k[s][h * D + $1] } / Double(D).squareRoot() }
        let top = scores.max()!
        let weights = scores.map { exp($0 - top) }
        let total = weights.reduce(0, +)
        return (0..<D).map { j in x.indices.reduce(0) { $0 + weights[$1] / total * v[$1][h * D + j] } }
      }
    }
  }
}
