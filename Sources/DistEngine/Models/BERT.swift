/// BERT (Devlin et al. 2019) with a classifier: post-norm blocks without a mask, learned positions, token types, a norm behind the embeddings,
/// GELU by the error function, and behind the first position a dense layer with tanh (the pooler). No dropout.
/// Names and shapes are those of Hugging Face's `BertForSequenceClassification`.
enum BERT: ModelFamily {
  static let architectures: [(modelType: String, language: String?, classifier: String)] = [("bert", nil, "BertForSequenceClassification")]
  static let isEncoder = true
  static let keys = ConfigurationKeys(normEpsilon: "layer_norm_eps")
  static let names = [TensorNames(encoder: "bert.", isUnused: ["cls."])]

  static func declare(_ c: ModelConfiguration, in d: inout ModelDeclaration) -> Model {
    EncoderDeclaration(
      prefix: "bert.", blocks: "encoder.layer", types: "token_type_embeddings", block: .bert,
      dense: ("bert.pooler.dense", .tanh), output: "classifier"
    ).declare(c, in: &d)
  }
}

/// RoBERTa (Liu et al. 2019, arXiv 1907.11692): BERT's blocks, positions that begin behind the padding's id, and a classifier of its own.
/// Names and shapes are those of `RobertaForSequenceClassification`.
enum RoBERTa: ModelFamily {
  static let architectures: [(modelType: String, language: String?, classifier: String)] = [
    ("roberta", nil, "RobertaForSequenceClassification")
  ]
  static let isEncoder = true
  static let keys = ConfigurationKeys(normEpsilon: "layer_norm_eps")
  static let names = [TensorNames(encoder: "roberta.", isUnused: ["lm_head.", "roberta.pooler.", "pooler."])]

  static func declare(_ c: ModelConfiguration, in d: inout ModelDeclaration) -> Model {
    EncoderDeclaration(
      prefix: "roberta.", blocks: "encoder.layer", types: "token_type_embeddings", block: .bert,
      dense: ("classifier.dense", .tanh), output: "classifier.out_proj"
    ).declare(c, in: &d)
  }
}

/// DistilBERT (Sanh et al. 2019, arXiv 1910.01108): BERT's blocks without token types, and a classifier with ReLU.
/// Names and shapes are those of `DistilBertForSequenceClassification`.
enum DistilBERT: ModelFamily {
  static let architectures: [(modelType: String, language: String?, classifier: String)] = [
    ("distilbert", nil, "DistilBertForSequenceClassification")
  ]
  static let isEncoder = true
  static let keys = ConfigurationKeys(
    width: "dim", layers: "n_layers", heads: "n_heads", innerWidth: "hidden_dim", normEpsilon: "layer_norm_eps")
  static let names = [TensorNames(encoder: "distilbert.", isUnused: ["vocab_transform.", "vocab_layer_norm.", "vocab_projector."])]

  static func declare(_ c: ModelConfiguration, in d: inout ModelDeclaration) -> Model {
    EncoderDeclaration(
      prefix: "distilbert.", blocks: "transformer.layer", types: nil, block: .distilbert, dense: ("pre_classifier", .relu),
      output: "classifier"
    ).declare(c, in: &d)
  }
}

/// What the encoders share, and the names that tell them apart.
private struct EncoderDeclaration {
  let prefix: String
  let blocks: String
  /// The table of token types; nil: none.
  let types: String?
  let block: BlockNames
  let dense: (name: String, activation: ClassifierHead.Activation)
  let output: String

  struct BlockNames {
    let queries, keys, values, attention, attentionNorm, inner, outer, outputNorm: String

    static let bert = BlockNames(
      queries: "attention.self.query", keys: "attention.self.key", values: "attention.self.value", attention: "attention.output.dense",
      attentionNorm: "attention.output.LayerNorm", inner: "intermediate.dense", outer: "output.dense", outputNorm: "output.LayerNorm")
    static let distilbert = BlockNames(
      queries: "attention.q_lin", keys: "attention.k_lin", values: "attention.v_lin", attention: "attention.out_lin",
      attentionNorm: "sa_layer_norm", inner: "ffn.lin1", outer: "ffn.lin2", outputNorm: "output_layer_norm")
  }

  func declare(_ c: ModelConfiguration, in d: inout ModelDeclaration) -> Model {
    let width = c.width
    let fresh = FreshValues.normal(deviation: c.initializerRange)
    func norm(_ name: String, _ label: String, in d: inout ModelDeclaration) -> Norm {
      Norm(name, label: label, width: width, epsilon: c.normEpsilon, in: &d)
    }
    let embeddings = "\(prefix)embeddings."
    let table = d.parameter("\(embeddings)word_embeddings.weight", [c.vocabularySize, width], role: .table, group: d.newGroup(), fresh: fresh)
    var before = norm("\(embeddings)LayerNorm", "embedding norm", in: &d)
    let first = Embeddings(
      tokens: table, vocabulary: c.vocabularySize,
      positions: .init(name: "\(embeddings)position_embeddings.weight", count: c.positionRows, first: c.firstPosition),
      types: types.map { ("\(embeddings)\($0).weight", c.tokenTypes) }, norm: before, width: width, fresh: fresh, in: &d)
    let blocks = d.blocks(prefix + blocks) { d -> [any Layer] in
      let attentionNorm = norm(block.attentionNorm, "attention norm", in: &d)
      let attention = Attention(
        Residual(postNorm: attentionNorm, behind: d.streamOfBlock(behind: before, columns: width), label: "attention", width: width, in: &d),
        .init(
          input: .separate(queries: block.queries, keys: block.keys, values: block.values), output: block.attention, layout: .outputByInput,
          fresh: fresh, outputFresh: fresh),
        width: width, attention: SelfAttention(heads: c.heads, headWidth: c.headWidth, mask: .none), in: &d)
      let outputNorm = norm(block.outputNorm, "output norm", in: &d)
      let feedForward = FeedForward(
        Residual(postNorm: outputNorm, behind: .norm(attentionNorm), label: "mlp", width: width, in: &d),
        .init(
          inner: .plain(block.inner, c.activation), outer: block.outer, layout: .outputByInput, fresh: fresh, outerFresh: fresh),
        width: width, innerWidth: c.innerWidth, in: &d)
      before = outputNorm
      return [attention, feedForward]
    }
    let head = d.head {
      ClassifierHead(dense: dense, output: output, pooling: .first, width: width, labels: c.labelCount, fresh: fresh, in: &$0)
    }
    return Model(embeddings: first, blocks: blocks, finalNorm: nil, head: .classifier(head), width: width, in: &d)
  }
}
