/// An encoding other than UTF-8 that a file's first bytes give away.
enum TextEncoding: String {
  case utf16LittleEndian = "UTF-16 (little-endian)"
  case utf16BigEndian = "UTF-16 (big-endian)"
  case utf32LittleEndian = "UTF-32 (little-endian)"
  case utf32BigEndian = "UTF-32 (big-endian)"

  /// What a file of it is told.
  var refusal: String { "the text is in \(rawValue): must be UTF-8 (iconv -t UTF-8 converts)" }

  /// By the byte-order mark in front.
  init?(markOf bytes: some Collection<UInt8>) {
    // UTF-32's little-endian mark begins with that of UTF-16.
    if bytes.starts(with: [0xFF, 0xFE, 0, 0]) {
      self = .utf32LittleEndian
    } else if bytes.starts(with: [0, 0, 0xFE, 0xFF]) {
      self = .utf32BigEndian
    } else if bytes.starts(with: [0xFF, 0xFE]) {
      self = .utf16LittleEndian
    } else if bytes.starts(with: [0xFE, 0xFF]) {
      self = .utf16BigEndian
    } else {
      return nil
    }
  }

  /// By the byte-order mark, or by where the zero bytes stand that UTF-16 and UTF-32 have in each ASCII character. For kinds of files that
  /// hold no zero byte in UTF-8.
  init?(of bytes: some Collection<UInt8>) {
    if let marked = TextEncoding(markOf: bytes) {
      self = marked
      return
    }
    // The first character is ASCII as a rule: a brace, a column's name.
    let start = bytes.prefix(4).map { $0 != 0 }
    switch start {
    case [true, false, false, false]: self = .utf32LittleEndian
    case [false, false, false, true]: self = .utf32BigEndian
    case _ where start.starts(with: [true, false]): self = .utf16LittleEndian
    case _ where start.starts(with: [false, true]): self = .utf16BigEndian
    default:
      guard let found = TextEncoding(byZerosOf: bytes) else { return nil }
      self = found
    }
  }

  /// Where the first character tells nothing, by how many bytes of each place in a group of four are zero.
  private init?(byZerosOf bytes: some Collection<UInt8>) {
    var units = 0
    var zeros = [0, 0, 0, 0]
    for (place, byte) in bytes.prefix(1024).enumerated() {
      if place % 4 == 3 { units += 1 }
      if byte == 0 { zeros[place % 4] += 1 }
    }
    // Files of less than four bytes tell nothing; of others a good part is ASCII: braces, separators, line ends.
    guard units > 0 else { return nil }
    let isZero = zeros.map { $0 * 4 >= units }
    switch (isZero[0], isZero[1], isZero[2], isZero[3]) {
    case (true, true, true, false), (true, true, false, false): self = .utf32BigEndian
    case (false, true, true, true), (false, false, true, true): self = .utf32LittleEndian
    case (true, false, true, false): self = .utf16BigEndian
    case (false, true, false, true): self = .utf16LittleEndian
    default: return nil
    }
  }
}
