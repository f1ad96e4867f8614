/// The regular expressions by which byte-level tokenizers split a text into words, each written as a scanner.
///
/// Every position of a text begins a match of each of them, so that words follow on each other without a gap. Alternatives count from first
/// to last, as in the expressions; what is greedy gives back no more than the next part of its alternative needs.
enum WordPattern: Sendable, Equatable {
  /// GPT-2's and RoBERTa's.
  case gpt2
  /// Llama 3's, with up to three digits a word, and Qwen's, with one.
  case llama3(mostDigits: Int)

  /// The same words in other spellings.
  private static let spellings: [(String, WordPattern)] = [
    (#"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#, .gpt2),
    (#"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#, .gpt2),
    (
      #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
      .llama3(mostDigits: 3)
    ),
    (
      #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#,
      .llama3(mostDigits: 1)
    ),
  ]

  init?(expression: String) {
    guard let known = Self.spellings.first(where: { $0.0 == expression }) else { return nil }
    self = known.1
  }

  /// Where the word ends that begins at `start`.
  ///
  /// - Parameters:
  ///   - text: valid UTF-8.
  ///   - start: the beginning of a scalar.
  func wordEnd(in text: UnsafeBufferPointer<UInt8>, from start: Int, _ classes: ScalarClasses) -> Int {
    switch self {
    case .gpt2: Self.gpt2End(text, start, classes)
    case .llama3(let mostDigits): Self.llama3End(text, start, mostDigits: mostDigits, classes)
    }
  }

  private enum Kind { case letter, number, space, other }

  @inline(__always)
  private static func kind(_ scalar: UInt32, _ classes: ScalarClasses) -> Kind {
    if scalar < 0x80 {
      switch scalar {
      case 0x61...0x7A, 0x41...0x5A: return .letter
      case 0x20, 0x09...0x0D: return .space
      case 0x30...0x39: return .number
      default: return .other
      }
    }
    let found = classes[scalar]
    return found.contains(.letter) ? .letter : found.contains(.number) ? .number : found.contains(.space) ? .space : .other
  }

  /// Where the run of one kind ends.
  @inline(__always)
  private static func runEnd(
    _ text: UnsafeBufferPointer<UInt8>, _ start: Int, of wanted: Kind, most: Int = .max, _ classes: ScalarClasses
  ) -> Int {
    var (position, left) = (start, most)
    while position < text.count, left > 0 {
      let (scalar, end) = text.scalar(at: position)
      guard kind(scalar, classes) == wanted else { break }
      position = end
      left -= 1
    }
    return position
  }

  /// `'s|'t|'m|'d|'re|'ve|'ll` behind an apostrophe at `start`; nil where none of them stands there.
  @inline(__always)
  private static func contractionEnd(_ text: UnsafeBufferPointer<UInt8>, _ start: Int, ignoresCase: Bool) -> Int? {
    func letter(_ offset: Int) -> UInt8? {
      guard start + offset < text.count else { return nil }
      let byte = text[start + offset]
      return ignoresCase && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
    }
    switch letter(1) {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return start + 2
    case UInt8(ascii: "r"), UInt8(ascii: "v"): return letter(2) == UInt8(ascii: "e") ? start + 3 : nil
    case UInt8(ascii: "l"): return letter(2) == UInt8(ascii: "l") ? start + 3 : nil
    // The long s, U+017F, is an s to whoever ignores case.
    case 0xC5 where ignoresCase: return letter(2) == 0xBF ? start + 3 : nil
    default: return nil
    }
  }

  private static func gpt2End(_ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ classes: ScalarClasses) -> Int {
    let first = text[start]
    if first == UInt8(ascii: "'"), let end = contractionEnd(text, start, ignoresCase: false) { return end }
    // A space belongs to the word behind it.
    let word = first == 0x20 && start + 1 < text.count ? start + 1 : start
    let (scalar, end) = text.scalar(at: word)
    let found = kind(scalar, classes)
    return found == .space ? spaceEnd(text, start, classes) : runEnd(text, end, of: found, classes)
  }

  private static func llama3End(_ text: UnsafeBufferPointer<UInt8>, _ start: Int, mostDigits: Int, _ classes: ScalarClasses) -> Int {
    let (scalar, end) = text.scalar(at: start)
    if scalar == 0x27, let end = contractionEnd(text, start, ignoresCase: true) { return end }
    let found = kind(scalar, classes)
    switch found {
    case .letter: return runEnd(text, end, of: .letter, classes)
    case .number: return runEnd(text, end, of: .number, most: mostDigits - 1, classes)
    case .other, .space: break
    }
    let isLineEnd = scalar == 0x0A || scalar == 0x0D
    let next = end < text.count ? text.scalar(at: end) : nil
    let nextKind = next.map { kind($0.value, classes) }
    if let next, nextKind == .letter, !isLineEnd { return runEnd(text, next.end, of: .letter, classes) }
    // Other characters, maybe behind a space, and the line ends behind them.
    if found == .other || scalar == 0x20 && nextKind == .other {
      return lineEnds(text, runEnd(text, end, of: .other, classes))
    }
    let run = runEnd(text, end, of: .space, classes)
    // Up to the last line end of the run.
    var last = run
    while last > start, text[last - 1] != 0x0A, text[last - 1] != 0x0D { last -= 1 }
    return last > start ? last : spaceEnd(text, start, run)
  }

  private static func lineEnds(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
    var position = start
    while position < text.count, text[position] == 0x0A || text[position] == 0x0D { position += 1 }
    return position
  }

  private static func spaceEnd(_ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ classes: ScalarClasses) -> Int {
    spaceEnd(text, start, runEnd(text, start, of: .space, classes))
  }

  /// `\s+(?!\S)|\s+` of a run of space: all of it at the text's end, else all but its last character, unless it is the only one.
  private static func spaceEnd(_ text: UnsafeBufferPointer<UInt8>, _ start: Int, _ run: Int) -> Int {
    guard run < text.count else { return run }
    let last = text.scalarStart(before: run)
    return last > start ? last : run
  }
}
