/// A step of how a normalised text is split into words.
enum PreTokenizer: Sendable, Equatable {
  /// What becomes of the matches and of what is between them.
  enum Behavior: String, CaseIterable, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
  }

  enum Matcher: Sendable, Equatable {
    /// Each scalar of a class is a match.
    case scalars(ScalarClass)
    /// `\w+|[^\w\s]+`
    case wordsAndSigns
    /// Not empty.
    case string([UInt8])
    case words(WordPattern)
  }

  /// - Parameter isInverted: what is between the matches counts as matches, and they don't.
  case split(Matcher, Behavior, isInverted: Bool)
  /// A space in front of what has none.
  case prefixSpace
  /// Spaces become a mark, with one in front of each piece, of the text's first alone, or of none.
  case metaspace(mark: [UInt8], Prefix)

  enum Prefix: String, CaseIterable, Sendable {
    case first, never, always
  }
}

extension PreTokenizer.Matcher {
  /// Calls `body` with one stretch of the text after the other, and whether it is a match, until that returns false.
  ///
  /// - Parameter text: valid UTF-8, not empty.
  /// - Returns: false where `body` has.
  private func forEach(
    in text: UnsafeBufferPointer<UInt8>, _ body: (Range<Int>, _ isMatch: Bool) -> Bool
  ) -> Bool {
    let classes = ScalarClasses.all
    var (position, last) = (0, 0)
    func match(_ range: Range<Int>) -> Bool {
      defer { last = range.upperBound }
      return (last == range.lowerBound || body(last..<range.lowerBound, false)) && body(range, true)
    }
    switch self {
    case .words(let pattern):
      while position < text.count {
        let end = pattern.wordEnd(in: text, from: position, classes)
        guard body(position..<end, true) else { return false }
        position = end
      }
      return true
    case .scalars(let kind):
      while position < text.count {
        let (scalar, end) = text.scalar(at: position)
        guard classes[scalar].isDisjoint(with: kind) || match(position..<end) else { return false }
        position = end
      }
    case .wordsAndSigns:
      while position < text.count {
        let start = position
        let kind = classes[text.scalar(at: start).value].intersection([.word, .space])
        while position < text.count, case let (scalar, end) = text.scalar(at: position),
          classes[scalar].intersection([.word, .space]) == kind
        { position = end }
        guard kind == .space || match(start..<position) else { return false }
      }
    case .string(let pattern):
      while position < text.count {
        if text.holds(pattern, at: position) {
          guard match(position..<position + pattern.count) else { return false }
          position += pattern.count
        } else {
          position += 1
        }
      }
    }
    return last == text.count || body(last..<text.count, false)
  }

  /// Calls `body` with one piece of the text after the other, until that returns false.
  func split(
    _ text: UnsafeBufferPointer<UInt8>, _ behavior: PreTokenizer.Behavior, isInverted: Bool, _ body: (Range<Int>) -> Bool
  ) -> Bool {
    var pending: Range<Int>?
    var wasMatch = false
    let isWhole = forEach(in: text) { range, found in
      let isMatch = found != isInverted
      let joins: Bool
      switch behavior {
      case .removed: return isMatch || body(range)
      case .isolated: return body(range)
      case .contiguous: joins = isMatch == wasMatch
      case .mergedWithPrevious: joins = isMatch && !wasMatch
      case .mergedWithNext: joins = wasMatch && !isMatch
      }
      wasMatch = isMatch
      guard let waiting = pending else {
        pending = range
        return true
      }
      pending = joins ? waiting.lowerBound..<range.upperBound : range
      return joins || body(waiting)
    }
    return isWhole && (pending.map(body) ?? true)
  }
}

extension [PreTokenizer] {
  /// Calls `body` with one word of a piece after the other, until that returns false.
  ///
  /// - Parameters:
  ///   - text: valid UTF-8.
  ///   - isFirst: whether the piece begins where the text does.
  /// - Returns: false where `body` has.
  func forEachWord(
    of text: UnsafeBufferPointer<UInt8>, isFirst: Bool, from step: Int = 0, _ body: (UnsafeBufferPointer<UInt8>) -> Bool
  ) -> Bool {
    guard !text.isEmpty else { return true }
    guard step < count else { return body(text) }
    switch self[step] {
    case .split(let matcher, let behavior, let isInverted):
      return matcher.split(text, behavior, isInverted: isInverted) { range in
        forEachWord(
          of: UnsafeBufferPointer(rebasing: text[range]), isFirst: isFirst && range.lowerBound == 0, from: step + 1, body)
      }
    case .prefixSpace:
      if text[0] == 0x20 { return forEachWord(of: text, isFirst: isFirst, from: step + 1, body) }
      return ([0x20] + text).withUnsafeBufferPointer { forEachWord(of: $0, isFirst: isFirst, from: step + 1, body) }
    case .metaspace(let mark, let prefix):
      var marked = [UInt8](text).substituting([0x20], with: mark)
      let hasMark = marked.withUnsafeBufferPointer { $0.holds(mark, at: 0) }
      if !hasMark, prefix == .always || prefix == .first && isFirst { marked = mark + marked }
      return marked.withUnsafeBufferPointer { forEachWord(of: $0, isFirst: isFirst, from: step + 1, body) }
    }
  }
}
