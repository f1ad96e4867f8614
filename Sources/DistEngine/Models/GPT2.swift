/// GPT-2 (Radford et al. 2019): pre-norm blocks, learned positions, gelu_new, biases, the head tied to the token embedding or not.
/// Names and shapes are those of Hugging Face's `GPT2LMHeadModel`; matrices of blocks are stored `[in, out]` (its `Conv1D`).
package enum GPT2 {
  static func declare(_ c: ModelConfiguration, in d: inout ModelDeclaration) -> Model {
    let (width, inner, vocabulary) = (c.width, c.innerWidth, c.vocabularySize)
    let fresh = FreshValues.normal(deviation: c.initializerRange)
    // What adds to the residual stream: s²/2L (Hugging Face's `_init_weights`).
    let residual = FreshValues.normal(deviation: c.initializerRange / Double(2 * c.layers).squareRoot())
    let table = d.parameter(
      "transformer.wte.weight", [vocabulary, width], role: c.tiedEmbeddings ? .head : .table, group: d.newGroup(), fresh: fresh)
    let embeddings = Embeddings(
      tokens: table, vocabulary: vocabulary, positions: ("transformer.wpe.weight", c.positions), width: width, fresh: fresh, in: &d)
    let blocks = d.blocks("transformer.h") { d -> [any Layer] in
      let norm1 = LayerNorm("ln_1", label: "ln_1", width: width, epsilon: c.layerNormEpsilon, in: &d)
      let attention = Attention(
        norm: norm1, qkv: ("attn.c_attn", fresh), projection: ("attn.c_proj", residual), width: width, heads: c.heads, layout: .inputByOutput,
        in: &d)
      let norm2 = LayerNorm("ln_2", label: "ln_2", width: width, epsilon: c.layerNormEpsilon, in: &d)
      let feedForward = FeedForward(
        norm: norm2, inner: ("mlp.c_fc", fresh), outer: ("mlp.c_proj", residual), width: width, innerWidth: inner, layout: .inputByOutput,
        in: &d)
      return [attention, feedForward]
    }
    let (finalNorm, head) = d.head { d in
      let norm = LayerNorm("transformer.ln_f", label: "ln_f", width: width, epsilon: c.layerNormEpsilon, in: &d)
      let weight: ParameterID
      if c.tiedEmbeddings {
        d.use(table)
        weight = table
      } else {
        weight = d.parameter("lm_head.weight", [vocabulary, width], role: .head, group: d.newGroup(), fresh: fresh)
      }
      return (norm, LanguageHead(weight: weight, vocabulary: vocabulary, width: width, in: &d))
    }
    return Model(embeddings: embeddings, blocks: blocks, finalNorm: finalNorm, head: head, width: width, in: &d)
  }
}
