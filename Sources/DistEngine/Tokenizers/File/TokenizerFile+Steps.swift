/// What one step of the file's pre-tokenizer is here.
struct PreTokenizerStep {
  var steps: [PreTokenizer] = []
  /// Whether words are then made of bytes.
  var isByteLevel = false
}

extension TokenizerFile {
  static func normalizer(_ fields: TokenizerFields) throws(TokenizerError) -> [Normalizer] {
    switch try fields.neededString("type") {
    case "BertNormalizer", "Bert":
      let lowercases = try fields.neededBoolean("lowercase")
      return [
        .bert(
          cleansText: try fields.neededBoolean("clean_text"), spacesChinese: try fields.neededBoolean("handle_chinese_chars"),
          stripsAccents: try fields.boolean("strip_accents") ?? lowercases, lowercases: lowercases)
      ]
    case "NFC": return [.form(isComposed: true, isCompatible: false)]
    case "NFD": return [.form(isComposed: false, isCompatible: false)]
    case "NFKC": return [.form(isComposed: true, isCompatible: true)]
    case "NFKD": return [.form(isComposed: false, isCompatible: true)]
    case "Lowercase": return [.lowercase]
    case "StripAccents": return [.stripAccents]
    case "Strip": return [.strip(left: try fields.neededBoolean("strip_left"), right: try fields.neededBoolean("strip_right"))]
    case "Prepend": return [.prepend(try fields.neededBytes("prepend"))]
    case "Replace": return [.replace(try plainPattern(fields), with: try fields.neededBytes("content"))]
    default:
      throw fields.unsupported(
        "type", "BertNormalizer, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace or Sequence")
    }
  }

  /// A `pattern` that is a string.
  private static func plainPattern(_ fields: TokenizerFields) throws(TokenizerError) -> [UInt8] {
    let pattern = try fields.neededObject("pattern")
    guard pattern.has("String"), pattern.keys.count == 1 else {
      throw pattern.unsupported(pattern.keys.first ?? "String", "a String")
    }
    let text = try pattern.neededBytes("String")
    guard !text.isEmpty else { throw pattern.unsupported("String", "a string that is not empty") }
    return text
  }

  static func preTokenizer(_ fields: TokenizerFields) throws(TokenizerError) -> PreTokenizerStep {
    switch try fields.neededString("type") {
    case "BertPreTokenizer":
      return PreTokenizerStep(steps: [
        .split(.scalars(.space), .removed, isInverted: false), .split(.scalars(.punctuation), .isolated, isInverted: false),
      ])
    case "ByteLevel":
      var step = PreTokenizerStep(isByteLevel: true)
      if try fields.neededBoolean("add_prefix_space") { step.steps.append(.prefixSpace) }
      if try fields.boolean("use_regex") ?? true { step.steps.append(.split(.words(.gpt2), .isolated, isInverted: false)) }
      return step
    case "Metaspace": return PreTokenizerStep(steps: try metaspace(fields))
    case "Split": return PreTokenizerStep(steps: [try split(fields)])
    case "Whitespace": return PreTokenizerStep(steps: [.split(.wordsAndSigns, .removed, isInverted: true)])
    case "WhitespaceSplit": return PreTokenizerStep(steps: [.split(.scalars(.space), .removed, isInverted: false)])
    case "Digits":
      let behavior = try fields.neededBoolean("individual_digits") ? PreTokenizer.Behavior.isolated : .contiguous
      return PreTokenizerStep(steps: [.split(.scalars(.numeric), behavior, isInverted: false)])
    case "Punctuation":
      let behavior = fields.has("behavior") ? try self.behavior(fields) : .isolated
      return PreTokenizerStep(steps: [.split(.scalars(.punctuation), behavior, isInverted: false)])
    default:
      throw fields.unsupported(
        "type", "BertPreTokenizer, ByteLevel, Metaspace, Split, Whitespace, WhitespaceSplit, Digits, Punctuation or Sequence")
    }
  }

  private static func behavior(_ fields: TokenizerFields) throws(TokenizerError) -> PreTokenizer.Behavior {
    guard let behavior = PreTokenizer.Behavior(rawValue: try fields.neededString("behavior")) else {
      throw fields.unsupported("behavior", PreTokenizer.Behavior.allCases.map(\.rawValue).joined(separator: ", "))
    }
    return behavior
  }

  private static func split(_ fields: TokenizerFields) throws(TokenizerError) -> PreTokenizer {
    let pattern = try fields.neededObject("pattern")
    let matcher: PreTokenizer.Matcher
    if pattern.has("Regex") {
      guard let words = WordPattern(expression: try pattern.neededString("Regex")) else {
        throw pattern.unsupported("Regex", "GPT-2's, Llama 3's or Qwen's expression, or a String")
      }
      matcher = .words(words)
    } else {
      matcher = .string(try plainPattern(fields))
    }
    return .split(matcher, try behavior(fields), isInverted: try fields.neededBoolean("invert"))
  }

  /// The character that stands for a space.
  private static func mark(_ fields: TokenizerFields, _ key: String) throws(TokenizerError) -> [UInt8] {
    let text = try fields.neededString(key)
    guard text.unicodeScalars.count == 1 else { throw fields.unsupported(key, "one character") }
    return Array(text.utf8)
  }

  /// `add_prefix_space`, of older files, goes before where it says no.
  private static func prefix(_ fields: TokenizerFields) throws(TokenizerError) -> PreTokenizer.Prefix {
    let scheme = try fields.string("prepend_scheme") ?? "always"
    guard let prefix = PreTokenizer.Prefix(rawValue: scheme) else { throw fields.unsupported("prepend_scheme", "first, never or always") }
    guard try fields.boolean("add_prefix_space") == false, prefix != .never else { return prefix }
    throw fields.inconsistent("add_prefix_space", "is false and prepend_scheme \(scheme): they must agree")
  }

  private static func metaspace(_ fields: TokenizerFields) throws(TokenizerError) -> [PreTokenizer] {
    let mark = try mark(fields, "replacement")
    let step = PreTokenizer.metaspace(mark: mark, try prefix(fields))
    return try fields.boolean("split") ?? true ? [step, .split(.string(mark), .mergedWithNext, isInverted: false)] : [step]
  }

  static func decoder(_ fields: TokenizerFields) throws(TokenizerError) -> TokenDecoder {
    switch try fields.neededString("type") {
    case "ByteLevel": return .byteLevel
    case "WordPiece": return .wordPiece(prefix: try fields.neededBytes("prefix"), cleansUp: try fields.neededBoolean("cleanup"))
    case "Metaspace": return .metaspace(mark: try mark(fields, "replacement"), hasPrefix: try prefix(fields) != .never)
    case "BPEDecoder":
      let suffix = try fields.neededBytes("suffix")
      guard !suffix.isEmpty else { throw fields.unsupported("suffix", "a string that is not empty") }
      return .bytePairs(suffix: suffix)
    case "ByteFallback": return .byteFallback
    case "Fuse": return .fuse
    case "Strip":
      let (start, stop) = (try fields.neededInteger("start"), try fields.neededInteger("stop"))
      guard start >= 0, stop >= 0 else { throw fields.unsupported(start < 0 ? "start" : "stop", "0 or more") }
      return .strip(try mark(fields, "content"), start: start, stop: stop)
    case "Replace": return .replace(try plainPattern(fields), with: try fields.neededBytes("content"))
    default:
      throw fields.unsupported("type", "ByteLevel, WordPiece, Metaspace, BPEDecoder, ByteFallback, Fuse, Strip, Replace or Sequence")
    }
  }
}
