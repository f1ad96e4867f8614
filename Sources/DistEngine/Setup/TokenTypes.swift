extension Tokenizer {
  /// This tokenizer with token types as a model has them.
  ///
  /// - Throws: where it gives types that the model has no row for.
  func typed(for model: ModelConfiguration) throws -> any Tokenizer {
    guard let file = self as? FileTokenizer else { return self }
    guard model.takesTokenTypes, file.isOfTypes else { return file.withoutTypes() }
    // Types are the post-processor's, whatever the texts.
    var (ids, types): ([Int32], [Int32]) = ([], [])
    let text = Array("a".utf8)[...]
    for second in [nil, text] { _ = file.encodeWithSpecialTokens(text, second, limit: .max, ids: &ids, types: &types) }
    guard types.allSatisfy({ (0..<Int32(model.tokenTypes)).contains($0) }) else {
      throw TrainingError.tokenTypesTooMany(file: file.name, types: types.max() ?? 0, model: model.tokenTypes)
    }
    return file
  }
}

extension ModelConfiguration {
  /// Whether the model is given token types: BERT is. Those built alike have at most a table of them, of which the first row alone is used.
  fileprivate var takesTokenTypes: Bool { modelType == "bert" && tokenTypes > 1 }
}

extension FileTokenizer {
  /// Whether the tokenizer gives models the types that its post-processor makes: where the `tokenizer_config.json` beside it says so, by
  /// `model_input_names` or by the class of BERT's. A `tokenizer.json` alone gives none, as `PreTrainedTokenizerFast(tokenizer_file=…)`.
  fileprivate var isOfTypes: Bool {
    guard let bytes = files.first(where: { $0.name == "tokenizer_config.json" })?.bytes,
      let fields = try? JSONScanner.parse(file: bytes).object
    else { return false }
    if let names = fields["model_input_names"]?.array { return names.contains(.string("token_type_ids")) }
    return ["BertTokenizer", "BertTokenizerFast"].contains(fields["tokenizer_class"]?.string)
  }
}
