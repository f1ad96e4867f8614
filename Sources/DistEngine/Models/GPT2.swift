/// GPT-2 (Radford et al. 2019): pre-norm blocks, learned positions, gelu_new, biases, the head tied to the token embedding or not.
/// Names and shapes are those of Hugging Face's `GPT2LMHeadModel`; matrices of blocks are stored `[in, out]` (its `Conv1D`).
enum GPT2: ModelFamily {
  static let architectures: [(modelType: String, language: String?, classifier: String)] = [
    ("gpt2", "GPT2LMHeadModel", "GPT2ForSequenceClassification")
  ]
  static let isEncoder = false
  static let storesInputByOutput = true
  static let keys = ConfigurationKeys(
    positions: "n_positions", width: "n_embd", layers: "n_layer", heads: "n_head", innerWidth: "n_inner", normEpsilon: "layer_norm_epsilon")
  static let names = [own]
  private static let own = TensorNames(prefix: "transformer.", tokenTable: "transformer.wte.weight") { name in
    // Masks that older files store with each block.
    name.hasSuffix(".attn.bias") || name.hasSuffix(".attn.masked_bias")
  }

  /// `vocab_size`, `n_embd`, `n_layer`, `n_head` and `n_positions` (or the older `n_ctx`) are needed.
  static func configuration(_ settings: ConfigurationSettings, modelType: String) throws(ModelConfigurationError) -> ModelConfiguration {
    try settings.require("activation_function", oneOf: ["gelu_new", "gelu_pytorch_tanh"], default: "gelu_new")
    try settings.require("scale_attn_weights", true, default: true)
    try settings.require("scale_attn_by_inverse_layer_idx", false, default: false)
    try settings.require("add_cross_attention", false, default: false)
    let older = try settings.integer("n_ctx")
    guard let positions = try settings.integer("n_positions") ?? older else { throw .missing(key: "n_positions") }
    return try ModelConfiguration(
      modelType: modelType, vocabularySize: settings.neededInteger("vocab_size"), positions: positions,
      width: settings.neededInteger("n_embd"), layers: settings.neededInteger("n_layer"), heads: settings.neededInteger("n_head"),
      innerWidth: settings.integer("n_inner"), normEpsilon: settings.number("layer_norm_epsilon") ?? 1e-5,
      tiedEmbeddings: settings.boolean("tie_word_embeddings") ?? true, initializerRange: settings.number("initializer_range") ?? 0.02,
      bosTokenID: settings.integer("bos_token_id"), eosTokenIDs: settings.integers("eos_token_id"),
      padTokenID: settings.integer("pad_token_id"), labels: settings.labels())
  }

  static func settings(of c: ModelConfiguration) -> [String: JSONValue] {
    [
      "activation_function": .string("gelu_new"), "add_cross_attention": .boolean(false), "attn_pdrop": .number(0),
      "embd_pdrop": .number(0), "resid_pdrop": .number(0), "n_ctx": .integer(c.positions),
      "n_inner": c.innerWidth == 4 * c.width ? .null : .integer(c.innerWidth), "reorder_and_upcast_attn": .boolean(false),
      "scale_attn_by_inverse_layer_idx": .boolean(false), "scale_attn_weights": .boolean(true), "use_cache": .boolean(true),
    ]
  }

  static func declare(_ c: ModelConfiguration, in d: inout ModelDeclaration) -> Model {
    let (width, vocabulary) = (c.width, c.vocabularySize)
    let fresh = FreshValues.normal(deviation: c.initializerRange)
    // What adds to the residual stream: s²/2L (Hugging Face's `_init_weights`).
    let residual = FreshValues.normal(deviation: c.initializerRange / Double(2 * c.layers).squareRoot())
    let table = d.parameter(
      own.tokenTable, [vocabulary, width], role: c.tiesHead ? .head : .table, group: d.newGroup(), fresh: fresh)
    let embeddings = Embeddings(
      tokens: table, vocabulary: vocabulary, positions: .init(name: "transformer.wpe.weight", count: c.positions), width: width, fresh: fresh, in: &d)
    let blocks = d.blocks("transformer.h") { d -> [any Layer] in
      let norm1 = Norm("ln_1", label: "ln_1", width: width, epsilon: c.normEpsilon, in: &d)
      let attention = Attention(
        Residual(preNorm: norm1, label: "attention", width: width, in: &d),
        .init(input: .fused("attn.c_attn"), output: "attn.c_proj", layout: .inputByOutput, fresh: fresh, outputFresh: residual),
        width: width, attention: SelfAttention(heads: c.heads, headWidth: c.headWidth), in: &d)
      let norm2 = Norm("ln_2", label: "ln_2", width: width, epsilon: c.normEpsilon, in: &d)
      let feedForward = FeedForward(
        Residual(preNorm: norm2, label: "mlp", width: width, in: &d),
        .init(inner: .plain("mlp.c_fc", .geluNew), outer: "mlp.c_proj", layout: .inputByOutput, fresh: fresh, outerFresh: residual),
        width: width, innerWidth: c.innerWidth, in: &d)
      return [attention, feedForward]
    }
    let (finalNorm, head) = d.head { d in
      let norm = Norm("transformer.ln_f", label: "ln_f", width: width, epsilon: c.normEpsilon, in: &d)
      return (norm, c.decoderHead(own.head, table: table, in: &d))
    }
    return Model(embeddings: embeddings, blocks: blocks, finalNorm: finalNorm, head: head, width: width, in: &d)
  }
}
