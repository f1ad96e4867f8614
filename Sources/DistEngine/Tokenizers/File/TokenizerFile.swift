import Crypto
import Foundation

/// Reads `tokenizer.json` as `tokenizers` writes it, versions before 1 too, which named no model.
package enum TokenizerFile {
  /// The steps of a sequence, and sequences in it, are one list.
  static let mostSteps = 64
  /// By which replacements may make a text longer: a space for a mark of three bytes takes 3.
  private static let mostGrowth = 64.0

  package static let name = "tokenizer.json"
  /// What may lie beside it and is of no meaning here.
  private static let companions = ["tokenizer_config.json", "special_tokens_map.json"]

  /// - Parameter path: of the file, or of a directory that holds it.
  /// - Throws: ``TokenizerError`` for what isn't such a file and what isn't read here, ``FileError``.
  package static func read(_ path: String) throws -> FileTokenizer {
    var isDirectory: ObjCBool = false
    let isThere = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
    let file = isThere && isDirectory.boolValue ? "\(path)/\(name)" : path
    let bytes = try FileBytes.read(file)
    var tokenizer = try parse(bytes, path: file)
    tokenizer.files = [(name, bytes)]
    let directory = URL(filePath: file).deletingLastPathComponent().path(percentEncoded: false)
    for companion in companions where FileManager.default.fileExists(atPath: "\(directory)/\(companion)") {
      tokenizer.files.append((companion, try FileBytes.read("\(directory)/\(companion)")))
    }
    return tokenizer
  }

  /// - Parameter path: what refusals call it.
  package static func parse(_ bytes: [UInt8], path: String) throws(TokenizerError) -> FileTokenizer {
    let file: (value: JSONValue, members: [(key: String, value: JSONValue)])
    do { file = try JSONScanner.parse(file: bytes, listing: ["model", "vocab"]) } catch {
      throw .malformed(path: path, reason: error.described(in: bytes))
    }
    guard let object = file.value.object else { throw .malformed(path: path, reason: "must be an object") }
    let fields = TokenizerFields(path: path, object)
    if let version = try fields.string("version"), version != "1.0" { throw fields.unsupported("version", "\"1.0\"") }
    let normalizers = try steps(of: fields.object("normalizer"), in: "normalizers", normalizer)
    let preTokenizers = try steps(of: fields.object("pre_tokenizer"), in: "pretokenizers", preTokenizer)
    let isByteLevel = try checkByteLevel(preTokenizers, fields)
    try checkGrowth(normalizers.joined().map(\.growth), "normalizer", fields)
    try checkMetaspace(preTokenizers.flatMap(\.steps), normalizers, fields)
    let model = try model(fields.neededObject("model"), vocabulary: file.members, isByteLevel: isByteLevel)
    var parts = FileTokenizer.Parts(
      normalizers: normalizers.flatMap { $0 }, preTokenizers: preTokenizers.flatMap(\.steps), model: model)
    parts.postProcessor = try postProcessor(fields.object("post_processor"))
    if let decoder = try fields.object("decoder") {
      let decoders = try steps(of: decoder, in: "decoders", self.decoder)
      try checkGrowth(decoders.map(\.growth), "decoder", fields)
      parts.decoders = decoders
    }
    parts.addedTokens = try addedTokens(fields, model: model.tokens)
    try checkIDs(parts, fields)
    let digest = SHA256.hash(data: bytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    return FileTokenizer(parts, name: path, digest: digest)
  }

  /// The steps that an object describes, itself or the members of its `Sequence`.
  private static func steps<Step>(
    of object: TokenizerFields?, in key: String, _ read: (TokenizerFields) throws(TokenizerError) -> Step
  ) throws(TokenizerError) -> [Step] {
    guard let object else { return [] }
    var waiting = [object]
    var steps: [Step] = []
    while let next = waiting.popLast() {
      guard try next.string("type") == "Sequence" else {
        steps.append(try read(next))
        continue
      }
      waiting += try next.neededObjects(key).reversed()
      guard steps.count + waiting.count <= mostSteps else { throw object.inconsistent("", "has more than \(mostSteps) steps") }
    }
    return steps
  }

  /// A text that is replaced with longer ones again and again would outgrow any memory.
  private static func checkGrowth(_ steps: [Double], _ key: String, _ fields: TokenizerFields) throws(TokenizerError) {
    guard steps.reduce(1, *) <= mostGrowth else { throw fields.inconsistent(key, "can make a text more than \(Int(mostGrowth)) times as long") }
  }

  /// Byte-level words are made of bytes for what comes after: so nothing may.
  private static func checkByteLevel(_ steps: [PreTokenizerStep], _ fields: TokenizerFields) throws(TokenizerError) -> Bool {
    guard let place = steps.firstIndex(where: \.isByteLevel) else { return false }
    guard place == steps.count - 1 else {
      throw fields.inconsistent("pre_tokenizer", "has steps behind ByteLevel, which is not supported: ByteLevel must be the last one")
    }
    return true
  }

  /// Where a piece of a text begins is known for what leaves its first character in its place.
  private static func checkMetaspace(
    _ steps: [PreTokenizer], _ normalizers: [[Normalizer]], _ fields: TokenizerFields
  ) throws(TokenizerError) {
    let marksFirst = steps.firstIndex { if case .metaspace(_, .first) = $0 { true } else { false } }
    guard let marksFirst else { return }
    let keepsPlaces = normalizers.joined().allSatisfy { step in
      guard case .replace(let pattern, let content) = step else { return false }
      return [pattern, content].allSatisfy { $0.count { $0 & 0xC0 != 0x80 } == 1 }
    }
    guard marksFirst == 0, keepsPlaces else {
      throw fields.inconsistent(
        "pre_tokenizer",
        "has Metaspace with prepend_scheme \"first\" behind another step or a normalizer that can move the text's beginning, which is not "
          + "supported")
    }
  }

  /// Every id a text can become is one of the vocabulary's or an added token's.
  private static func checkIDs(_ parts: FileTokenizer.Parts, _ fields: TokenizerFields) throws(TokenizerError) {
    guard parts.model.tokens.idEnd > 0 || !parts.addedTokens.isEmpty else { throw fields.inconsistent("model.vocab", "holds no token") }
    guard parts.postProcessor.largestID < TokenTable.mostIDs else {
      throw fields.inconsistent("post_processor", "has the id \(parts.postProcessor.largestID): must be below \(TokenTable.mostIDs)")
    }
  }

  /// `tokenizers` gives an added token the id that its text has in the vocabulary, or the next one that is free, whatever the file says.
  private static func addedTokens(_ fields: TokenizerFields, model: TokenTable) throws(TokenizerError) -> [AddedTokens.Token] {
    guard fields.has("added_tokens") else { return [] }
    var tokens: [AddedTokens.Token] = []
    var places: [[UInt8]: Int] = [:]
    var next = Int32(model.count)
    for entry in try fields.neededObjects("added_tokens") {
      let content = try entry.neededBytes("content")
      guard content.count <= AddedTokens.longest else {
        throw entry.inconsistent("content", "has \(content.count) bytes: must have at most \(AddedTokens.longest)")
      }
      guard !content.isEmpty else { continue }
      let known = places[content].map { tokens[$0].id } ?? model.id(of: content)
      let id = try entry.neededInteger("id")
      guard id == Int(known ?? next) else {
        throw entry.inconsistent("id", "is \(id), where `tokenizers` gives this token \(known ?? next): the ids must be those")
      }
      if known == nil { next += 1 }
      let token = AddedTokens.Token(
        id: Int32(id), content: content, isSingleWord: try entry.neededBoolean("single_word"),
        stripsLeft: try entry.neededBoolean("lstrip"), stripsRight: try entry.neededBoolean("rstrip"), isNormalized: try entry.neededBoolean("normalized"))
      _ = try entry.neededBoolean("special")
      if let place = places[content] {
        tokens[place] = token
      } else {
        places[content] = tokens.count
        tokens.append(token)
      }
    }
    return tokens
  }
}
