/// Tokens that are found in a text as they are written, before it is split: special ones and those that were added to a vocabulary.
struct AddedTokens: Sendable {
  struct Token: Sendable, Equatable {
    let id: Int32
    let content: [UInt8]
    /// Found only where no character of a word stands beside it.
    let isSingleWord: Bool
    /// Takes the space in front of it, or behind it, with it.
    let stripsLeft, stripsRight: Bool
    /// Found in the normalised text, in its normalised form.
    let isNormalized: Bool
  }

  enum Piece {
    case text(Range<Int>)
    case token(Int32)
  }

  /// What is looked for, as a trie: where a byte leads from a node, by node and byte.
  private var steps: [UInt32: UInt32] = [:]
  /// Tokens that end at a node.
  private var ends: [UInt32: Token] = [:]
  private var nodeCount: UInt32 = 1
  private var begins = [Bool](repeating: false, count: 256)

  /// Bytes of a token: what a search may look at for each byte of a text.
  static let longest = 512

  /// - Parameter forms: what is looked for, and the token that it is. Of equal ones the last counts.
  init(_ forms: [(form: [UInt8], token: Token)]) {
    for (form, token) in forms where !form.isEmpty {
      var node: UInt32 = 0
      for byte in form {
        let key = node << 8 | UInt32(byte)
        if let next = steps[key] {
          node = next
        } else {
          steps[key] = nodeCount
          node = nodeCount
          nodeCount += 1
        }
      }
      ends[node] = token
      begins[Int(form[0])] = true
    }
  }

  /// The longest token at `start`, and where it ends.
  private func match(_ text: UnsafeBufferPointer<UInt8>, at start: Int) -> (Token, Int)? {
    var found: (Token, Int)?
    var (node, position) = (UInt32(0), start)
    while position < text.count, let next = steps[node << 8 | UInt32(text[position])] {
      node = next
      position += 1
      if let token = ends[node] { found = (token, position) }
    }
    return found
  }

  /// Calls `body` with the tokens in a text and the stretches between them, until that returns false.
  ///
  /// The first token from the left is taken, of those that begin at one place the longest. One that must be a single word and isn't is passed
  /// over whole.
  /// - Parameter text: valid UTF-8.
  /// - Returns: false where `body` has.
  func split(_ text: UnsafeBufferPointer<UInt8>, _ body: (Piece) -> Bool) -> Bool {
    guard nodeCount > 1 else { return text.isEmpty || body(.text(0..<text.count)) }
    let classes = ScalarClasses.all
    /// Where what hasn't been given to `body` begins.
    var rest = 0
    var position = 0
    /// Behind the last run of space that was looked through.
    var space = 0..<0
    while position < text.count {
      guard begins[Int(text[position])], let (token, matchEnd) = match(text, at: position) else {
        position += 1
        continue
      }
      var (start, end) = (position, matchEnd)
      position = matchEnd
      if token.isSingleWord, Self.hasWord(text, before: start, classes) || Self.hasWord(text, at: end, classes) { continue }
      if token.stripsLeft {
        start = max(rest, Self.spaceStart(text, before: start, from: rest, classes))
      }
      if token.stripsRight {
        let from = end
        if space.contains(end) { end = space.upperBound }
        while end < text.count, case let (scalar, next) = text.scalar(at: end), classes[scalar].contains(.space) { end = next }
        space = from..<end
      }
      // All of it is space that the token in front has taken.
      guard start < end else { continue }
      if rest < start { guard body(.text(rest..<start)) else { return false } }
      guard body(.token(token.id)) else { return false }
      rest = end
    }
    return rest >= text.count || body(.text(rest..<text.count))
  }

  /// Where the space begins that ends at `end`, no further to the left than `bound`.
  private static func spaceStart(
    _ text: UnsafeBufferPointer<UInt8>, before end: Int, from bound: Int, _ classes: ScalarClasses
  ) -> Int {
    var start = end
    while start > bound, case let last = text.scalarStart(before: start), classes[text.scalar(at: last).value].contains(.space) { start = last }
    return start
  }

  private static func hasWord(_ text: UnsafeBufferPointer<UInt8>, before position: Int, _ classes: ScalarClasses) -> Bool {
    position > 0 && classes[text.scalar(at: text.scalarStart(before: position)).value].contains(.word)
  }

  private static func hasWord(_ text: UnsafeBufferPointer<UInt8>, at position: Int, _ classes: ScalarClasses) -> Bool {
    position < text.count && classes[text.scalar(at: position).value].contains(.word)
  }
}
