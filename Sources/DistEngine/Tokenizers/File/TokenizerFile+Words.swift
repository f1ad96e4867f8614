extension TokenizerFile {
  /// - Parameter vocabulary: `model.vocab`'s members.
  static func model(
    _ fields: TokenizerFields, vocabulary: [(key: String, value: JSONValue)], isByteLevel: Bool
  ) throws(TokenizerError) -> FileTokenizer.WordModel {
    // Files of before version 0.9 don't say it.
    let kind = try fields.string("type") ?? (fields.has("merges") ? "BPE" : fields.has("max_input_chars_per_word") ? "WordPiece" : nil)
    switch kind {
    case "BPE"?: return .bytePairs(try bytePairs(fields, try table(fields, vocabulary), isByteLevel: isByteLevel))
    case "WordPiece"?:
      guard !isByteLevel else { throw fields.inconsistent("", "is WordPiece behind ByteLevel, which is not supported: must be BPE") }
      return .wordPiece(try wordPiece(fields, try table(fields, vocabulary)))
    default: throw fields.unsupported("type", "BPE or WordPiece")
    }
  }

  private static func table(
    _ fields: TokenizerFields, _ vocabulary: [(key: String, value: JSONValue)]
  ) throws(TokenizerError) -> TokenTable {
    _ = try fields.neededObject("vocab")
    var table = TokenTable(capacity: vocabulary.count)
    for (token, value) in vocabulary {
      let field = "\(fields.name("vocab"))[\(JSONValue.string(token))]"
      guard let id = value.integer else {
        throw .wrongType(path: fields.path, field: field, value: "\(value)", expected: "an integer")
      }
      do { try table.add(token.utf8, id: id) } catch {
        switch error {
        case .tokenTwice: throw .inconsistent(path: fields.path, field: field, reason: "stands there twice")
        case .idTwice: throw .inconsistent(path: fields.path, field: field, reason: "has the id \(id), which another token has")
        case .idBeyondRange:
          throw .inconsistent(path: fields.path, field: field, reason: "has the id \(id): must be 0 to \(TokenTable.mostIDs - 1)")
        }
      }
    }
    return table
  }

  private static func bytePairs(
    _ fields: TokenizerFields, _ tokens: TokenTable, isByteLevel: Bool
  ) throws(TokenizerError) -> BytePairEncoding {
    if let dropout = try fields.number("dropout"), dropout != 0 { throw fields.unsupported("dropout", "null: ids must not be random") }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let text = try fields.string(key), !text.isEmpty { throw fields.unsupported(key, "null") }
    }
    let unknownToken = try fields.string("unk_token")
    let unknown = unknownToken.flatMap { tokens.id(of: Array($0.utf8)) }
    let (merges, mergesOverMarks) = try merges(fields, tokens)
    let model = BytePairEncoding(
      tokens: tokens, merges: merges, unknown: unknown, fusesUnknown: try fields.boolean("fuse_unk") ?? false,
      ignoresMerges: try fields.boolean("ignore_merges") ?? false, fallsBackToBytes: try fields.boolean("byte_fallback") ?? false,
      isByteLevel: isByteLevel, mergesOverMarks: mergesOverMarks)
    // Where all that there is has a token, there is nothing unknown.
    guard unknownToken == nil || unknown != nil || model.isComplete else {
      throw fields.inconsistent("unk_token", "\(JSONValue.string(unknownToken ?? "")) is not in the vocabulary")
    }
    return model
  }

  /// Also whether any of them reaches over the border in front of a ▁.
  private static func merges(_ fields: TokenizerFields, _ tokens: TokenTable) throws(TokenizerError) -> (BytePairMerges, Bool) {
    let entries = try fields.neededArray("merges")
    var merges = BytePairMerges(capacity: entries.count)
    var reachesOverMark = false
    for (index, entry) in entries.enumerated() {
      let field = "merges[\(index)]"
      guard let (first, second) = pair(entry) else {
        throw .wrongType(
          path: fields.path, field: fields.name(field), value: "\(entry)",
          expected: "two tokens, in an array or with one space between them")
      }
      // A comment of merges.txt that was taken over.
      if case .string(let text) = entry, text.utf8.starts(with: "#version".utf8) { continue }
      guard !first.isEmpty, !second.isEmpty, let left = tokens.id(of: first), let right = tokens.id(of: second),
        let result = tokens.id(of: first + second)
      else { throw fields.inconsistent(field, "merges tokens, or makes one, that are not in the vocabulary") }
      merges.add(left, right, makes: result)
      reachesOverMark = reachesOverMark || BytePairEncoding.reachesOverMark(first, second)
    }
    return (merges, reachesOverMark)
  }

  private static func pair(_ entry: JSONValue) -> ([UInt8], [UInt8])? {
    switch entry {
    case .string(let text):
      let parts = text.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
      return parts.count == 2 ? (Array(parts[0]), Array(parts[1])) : nil
    case .array(let values):
      guard values.count == 2, let first = values[0].string, let second = values[1].string else { return nil }
      return (Array(first.utf8), Array(second.utf8))
    default: return nil
    }
  }

  private static func wordPiece(_ fields: TokenizerFields, _ tokens: TokenTable) throws(TokenizerError) -> WordPiece {
    let longest = try fields.neededInteger("max_input_chars_per_word")
    guard (0...WordPiece.mostScalars).contains(longest) else {
      throw fields.unsupported("max_input_chars_per_word", "0 to \(WordPiece.mostScalars)")
    }
    let name = try fields.neededBytes("unk_token")
    guard let unknown = tokens.id(of: name) else { throw fields.inconsistent("unk_token", "is not in the vocabulary") }
    return WordPiece(
      tokens: tokens, unknown: unknown, prefix: try fields.neededBytes("continuing_subword_prefix"), longestWord: longest)
  }

  static func postProcessor(_ fields: TokenizerFields?) throws(TokenizerError) -> PostProcessor {
    guard let fields else { return .none }
    var waiting = [fields]
    var found: PostProcessor?
    var count = 0
    while let next = waiting.popLast() {
      count += 1
      let processor: PostProcessor
      switch try next.neededString("type") {
      case "ByteLevel": continue
      case "Sequence":
        waiting += try next.neededObjects("processors").reversed()
        guard waiting.count + count <= mostSteps else { throw fields.inconsistent("", "has more than \(mostSteps) steps") }
        continue
      case "BertProcessing": processor = .bert(begin: try token(next, "cls"), end: try token(next, "sep"))
      case "RobertaProcessing": processor = .roberta(begin: try token(next, "cls"), end: try token(next, "sep"))
      case "TemplateProcessing": processor = try template(next)
      default:
        throw next.unsupported("type", "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel or Sequence")
      }
      guard found == nil else { throw next.inconsistent("", "is the second that adds special tokens, which is not supported: one must be") }
      found = processor
    }
    return found ?? .none
  }

  /// `["[SEP]", 102]`
  private static func token(_ fields: TokenizerFields, _ key: String) throws(TokenizerError) -> Int32 {
    let values = try fields.neededArray(key)
    guard values.count == 2, values[0].string != nil, let id = values[1].integer, (0..<TokenTable.mostIDs).contains(id) else {
      throw fields.unsupported(key, "a token and its id")
    }
    return Int32(id)
  }

  private static func template(_ fields: TokenizerFields) throws(TokenizerError) -> PostProcessor {
    let tokens = try fields.neededObject("special_tokens")
    func parts(_ key: String) throws(TokenizerError) -> [PostProcessor.Part] {
      var parts: [PostProcessor.Part] = []
      for piece in try fields.neededObjects(key) {
        guard piece.keys.count == 1, let kind = piece.keys.first, let body = try piece.object(kind) else {
          throw piece.inconsistent("", "must be a Sequence or a SpecialToken")
        }
        let type = try body.neededInteger("type_id")
        guard let type = Int32(exactly: type), type >= 0 else { throw body.unsupported("type_id", "0 or more") }
        let id = try body.neededString("id")
        switch (kind, id) {
        case ("Sequence", "A"): parts.append(.first(type: type))
        case ("Sequence", "B"): parts.append(.second(type: type))
        case ("SpecialToken", _): parts.append(.special(try ids(tokens.neededObject(id)), type: type))
        default: throw piece.unsupported(kind, "a Sequence A or B, or a SpecialToken")
        }
      }
      return parts
    }
    let processor = PostProcessor(single: try parts("single"), pair: try parts("pair"))
    func holds(_ parts: [PostProcessor.Part], seconds expected: Int) -> Bool {
      let firsts = parts.count { if case .first = $0 { true } else { false } }
      let seconds = parts.count { if case .second = $0 { true } else { false } }
      return firsts == 1 && seconds == expected
    }
    guard holds(processor.single, seconds: 0) else { throw fields.inconsistent("single", "must hold Sequence A once and no B") }
    guard holds(processor.pair, seconds: 1) else { throw fields.inconsistent("pair", "must hold Sequence A and B once each") }
    return processor
  }

  private static func ids(_ token: TokenizerFields) throws(TokenizerError) -> [Int32] {
    var ids: [Int32] = []
    for value in try token.neededArray("ids") {
      guard let id = value.integer, (0..<TokenTable.mostIDs).contains(id) else { throw token.unsupported("ids", "ids of tokens") }
      ids.append(Int32(id))
    }
    return ids
  }
}
