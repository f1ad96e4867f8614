/// What a code point is to Hugging Face's `tokenizers`: see ``UnicodeClassTables``.
struct ScalarClass: OptionSet {
  let rawValue: UInt16

  static let letter = ScalarClass(rawValue: 1 << 0)
  static let number = ScalarClass(rawValue: 1 << 1)
  static let numeric = ScalarClass(rawValue: 1 << 2)
  static let space = ScalarClass(rawValue: 1 << 3)
  static let punctuation = ScalarClass(rawValue: 1 << 4)
  static let word = ScalarClass(rawValue: 1 << 5)
  static let cleaned = ScalarClass(rawValue: 1 << 6)
  static let nonspacing = ScalarClass(rawValue: 1 << 7)
  static let combining = ScalarClass(rawValue: 1 << 8)
}

/// The classes of all code points, in pages of 256, of which equal ones are stored once.
struct ScalarClasses: Sendable {
  static let all = ScalarClasses()

  private var pages: [UInt16] = []
  private var classes: [ScalarClass] = []

  private init() {
    var flags = [ScalarClass](repeating: [], count: 0x110000)
    for (table, flag) in [
      (UnicodeClassTables.letters, ScalarClass.letter), (UnicodeClassTables.numbers, .number), (UnicodeClassTables.numeric, .numeric),
      (UnicodeClassTables.spaces, .space), (UnicodeClassTables.punctuation, .punctuation), (UnicodeClassTables.words, .word),
      (UnicodeClassTables.cleaned, .cleaned), (UnicodeClassTables.nonspacing, .nonspacing), (UnicodeClassTables.combining, .combining),
    ] {
      var position = 0
      for (run, length) in HexadecimalTable.numbers(in: table).enumerated() {
        if !run.isMultiple(of: 2) { for scalar in position..<position + length { flags[scalar].insert(flag) } }
        position += length
      }
    }
    var known: [[UInt16]: UInt16] = [:]
    for page in stride(from: 0, to: flags.count, by: 256) {
      let content = flags[page..<page + 256]
      let key = content.map(\.rawValue)
      if let place = known[key] {
        pages.append(place)
      } else {
        let place = UInt16(classes.count / 256)
        known[key] = place
        pages.append(place)
        classes += content
      }
    }
  }

  subscript(scalar: UInt32) -> ScalarClass {
    classes[Int(pages[Int(scalar >> 8)]) << 8 | Int(scalar & 0xFF)]
  }
}

/// The tables that scripts/unicode-tables writes.
enum HexadecimalTable {
  /// All numbers of a text, whatever stands between them.
  static func numbers(in text: String) -> [Int] { fields(in: text, separator: " ").compactMap { Int($0, radix: 16) } }

  /// The parts of a text between separators.
  static func fields(in text: some StringProtocol, separator: Character) -> [Substring] {
    Substring(text).split(separator: separator)
  }
}

extension UnsafeBufferPointer<UInt8> {
  /// The scalar that begins at `position` of valid UTF-8, and where the next one begins.
  @inline(__always)
  func scalar(at position: Int) -> (value: UInt32, end: Int) {
    let first = UInt32(self[position])
    if first < 0x80 { return (first, position + 1) }
    func rest(_ offset: Int) -> UInt32 { UInt32(self[position + offset]) & 0x3F }
    if first < 0xE0 { return ((first & 0x1F) << 6 | rest(1), position + 2) }
    if first < 0xF0 { return ((first & 0x0F) << 12 | rest(1) << 6 | rest(2), position + 3) }
    return ((first & 0x07) << 18 | rest(1) << 12 | rest(2) << 6 | rest(3), position + 4)
  }

  /// Where the scalar begins that ends at `position` of valid UTF-8.
  func scalarStart(before position: Int) -> Int {
    var start = position - 1
    while self[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }

  var isASCII: Bool { allSatisfy { $0 < 0x80 } }

  /// Whether `other` stands at `position`.
  @inline(__always)
  func holds(_ other: [UInt8], at position: Int) -> Bool {
    guard count - position >= other.count else { return false }
    for offset in other.indices where self[position + offset] != other[offset] { return false }
    return true
  }
}

extension [UInt8] {
  /// Appends a scalar's UTF-8.
  @inline(__always)
  mutating func append(scalar: UInt32) {
    if scalar < 0x80 {
      append(UInt8(scalar))
    } else if scalar < 0x800 {
      append(UInt8(0xC0 | scalar >> 6))
      append(UInt8(0x80 | scalar & 0x3F))
    } else if scalar < 0x10000 {
      append(UInt8(0xE0 | scalar >> 12))
      append(UInt8(0x80 | scalar >> 6 & 0x3F))
      append(UInt8(0x80 | scalar & 0x3F))
    } else {
      append(UInt8(0xF0 | scalar >> 18))
      append(UInt8(0x80 | scalar >> 12 & 0x3F))
      append(UInt8(0x80 | scalar >> 6 & 0x3F))
      append(UInt8(0x80 | scalar & 0x3F))
    }
  }
}
