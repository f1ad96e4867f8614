/// Llama (Touvron et al. 2023, arXiv 2302.13971) and those built alike, Mistral and Qwen2: pre-norm blocks of root mean square norms,
/// rotary positions, gated feed-forward layers, and keys and values that query heads share. Names and shapes are those of Hugging Face's
/// `LlamaForCausalLM`.
enum Llama: ModelFamily {
  static let architectures: [(modelType: String, language: String?, classifier: String)] = [
    ("llama", "LlamaForCausalLM", "LlamaForSequenceClassification"), ("mistral", "MistralForCausalLM", "MistralForSequenceClassification"),
    ("qwen2", "Qwen2ForCausalLM", "Qwen2ForSequenceClassification"),
  ]
  static let isEncoder = false
  static let keys = ConfigurationKeys(normEpsilon: "rms_norm_eps")
  static let names = [own]
  private static let own = TensorNames(prefix: "model.", tokenTable: "model.embed_tokens.weight") { name in
    // Frequencies that older files store with each block.
    name.hasSuffix(".rotary_emb.inv_freq")
  }

  static func declare(_ c: ModelConfiguration, in d: inout ModelDeclaration) -> Model {
    let (width, vocabulary) = (c.width, c.vocabularySize)
    let fresh = FreshValues.normal(deviation: c.initializerRange)
    let table = d.parameter(
      own.tokenTable, [vocabulary, width], role: c.tiesHead ? .head : .table, group: d.newGroup(), fresh: fresh)
    let embeddings = Embeddings(tokens: table, vocabulary: vocabulary, width: width, fresh: fresh, in: &d)
    let blocks = d.blocks("model.layers") { d -> [any Layer] in
      let norm1 = Norm("input_layernorm", kind: .rms, label: "ln_1", width: width, epsilon: c.normEpsilon, in: &d)
      let attention = Attention(
        Residual(preNorm: norm1, label: "attention", width: width, in: &d),
        .init(
          input: .separate(queries: "self_attn.q_proj", keys: "self_attn.k_proj", values: "self_attn.v_proj"), output: "self_attn.o_proj",
          layout: .outputByInput, inputHasBias: c.biases.attentionInput, outputHasBias: c.biases.attentionOutput, fresh: fresh,
          outputFresh: fresh),
        width: width, attention: SelfAttention(heads: c.heads, keyHeads: c.keyHeads, headWidth: c.headWidth), rotary: c.rotary, in: &d)
      let norm2 = Norm("post_attention_layernorm", kind: .rms, label: "ln_2", width: width, epsilon: c.normEpsilon, in: &d)
      let feedForward = FeedForward(
        Residual(preNorm: norm2, label: "mlp", width: width, in: &d),
        .init(
          inner: .gated(gate: "mlp.gate_proj", up: "mlp.up_proj"), outer: "mlp.down_proj", layout: .outputByInput,
          hasBias: c.biases.feedForward, fresh: fresh, outerFresh: fresh),
        width: width, innerWidth: c.innerWidth, in: &d)
      return [attention, feedForward]
    }
    let (finalNorm, head) = d.head { d in
      let norm = Norm("model.norm", kind: .rms, label: "final norm", width: width, epsilon: c.normEpsilon, in: &d)
      return (norm, c.decoderHead(own.head, table: table, in: &d))
    }
    return Model(embeddings: embeddings, blocks: blocks, finalNorm: finalNorm, head: head, width: width, in: &d)
  }
}
