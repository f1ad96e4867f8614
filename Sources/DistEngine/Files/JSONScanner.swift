/// Why a text is not the JSON that it should be, and where: bytes from its beginning.
///
/// Reasons never quote the text: it may be a record.
enum JSONFault: Error, Equatable {
  case malformed(offset: Int, reason: String)
  /// An object has a key twice: readers differ in which of the two they take.
  case duplicateKey(String, offset: Int)

  var offset: Int {
    switch self {
    case .malformed(let offset, _), .duplicateKey(_, let offset): offset
    }
  }

  var reason: String {
    switch self {
    case .malformed(_, let reason): reason
    case .duplicateKey(let key, _): "the key \(JSONValue.string(key)) stands here a second time"
    }
  }

  /// The reason with line and column, which count from 1; columns count characters.
  func described(in bytes: some Collection<UInt8>) -> String {
    let before = bytes.prefix(offset)
    let line = before.reduce(1) { $1 == UInt8(ascii: "\n") ? $0 + 1 : $0 }
    return "line \(line), column \(Self.column(at: offset, in: bytes)): \(reason)"
  }

  /// Characters from the line's beginning, from 1.
  static func column(at offset: Int, in bytes: some Collection<UInt8>) -> Int {
    bytes.prefix(offset).reduce(1) { column, byte in
      byte == UInt8(ascii: "\n") ? 1 : byte & 0xC0 == 0x80 ? column : column + 1
    }
  }
}

/// Reads JSON (RFC 8259) strictly, in one pass: UTF-8 alone, no key twice, nothing behind the value, nesting of ``deepest`` at most.
struct JSONScanner {
  /// Arrays and objects within each other: what no file of ours needs, and no stack minds.
  static let deepest = 128

  /// Bytes of a key that isn't ASCII. To compare it Swift normalises it, which takes the square of the accents that a character has.
  static let longestKey = 256

  private let bytes: UnsafeBufferPointer<UInt8>
  private var position = 0
  /// Keys of the object that is kept as ``members``, from the outermost; nil: none is.
  private var listed: [String]?
  /// Keys of the objects that the scanner is in, as long as it is on the way to the listed one.
  private var path: [String] = []
  private var members: [(key: String, value: JSONValue)] = []

  private init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

  /// The value that `bytes` hold, and nothing else.
  static func parse(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int = 0) throws(JSONFault) -> JSONValue {
    var scanner = JSONScanner(bytes)
    return try scanner.whole(from: start)
  }

  private mutating func whole(from start: Int) throws(JSONFault) -> JSONValue {
    position = start
    let value = try value(depth: 0)
    skipSpace()
    guard next == nil else { throw fault("text behind the end of the JSON value") }
    return value
  }

  /// The value of a whole file. A byte-order mark in front is passed over.
  static func parse(file bytes: [UInt8]) throws(JSONFault) -> JSONValue {
    try check(file: bytes)
    return try bytes.withUnsafeBufferPointer { (buffer) throws(JSONFault) in
      try parse(buffer, from: start(of: bytes))
    }
  }

  private static func check(file bytes: [UInt8]) throws(JSONFault) {
    guard !bytes.isEmpty else { throw .malformed(offset: 0, reason: "the file is empty") }
    if FileBytes.isLargeFilePointer(bytes) { throw .malformed(offset: 0, reason: FileBytes.largeFilePointerReason) }
    if let encoding = TextEncoding(of: bytes) { throw .malformed(offset: 0, reason: encoding.refusal) }
  }

  private static func start(of bytes: [UInt8]) -> Int { bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0 }

  /// The value of a whole file, of which one object is given as the list of its members: as they stand there, and keys that are equal but for
  /// how their characters are composed, or equal altogether, beside each other. In the value that object is empty.
  ///
  /// - Parameter path: the keys that lead to it.
  static func parse(
    file bytes: [UInt8], listing path: [String]
  ) throws(JSONFault) -> (value: JSONValue, members: [(key: String, value: JSONValue)]) {
    try check(file: bytes)
    return try bytes.withUnsafeBufferPointer { (buffer) throws(JSONFault) in
      var scanner = JSONScanner(buffer)
      scanner.listed = path
      let value = try scanner.whole(from: start(of: bytes))
      return (value, scanner.members)
    }
  }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private func fault(_ reason: String, at offset: Int? = nil) -> JSONFault {
    .malformed(offset: offset ?? position, reason: next == nil && offset == nil ? "the text ends here: \(reason)" : reason)
  }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { position += 1 }
  }

  /// Takes a byte if it is next.
  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func value(depth: Int) throws(JSONFault) -> JSONValue {
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try object(depth: depth + 1)
    case UInt8(ascii: "["): return try array(depth: depth + 1)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .boolean(true))
    case UInt8(ascii: "f"): return try word("false", .boolean(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case let byte? where byte == UInt8(ascii: "-") || Self.isDigit(byte): return try number()
    default: throw fault("a value is expected")
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONFault) -> JSONValue {
    let count = word.utf8CodeUnitCount
    guard bytes.count - position >= count,
      bytes[position..<position + count].elementsEqual(UnsafeBufferPointer(start: word.utf8Start, count: count))
    else { throw fault("a value is expected", at: position) }
    position += count
    return value
  }

  private mutating func array(depth: Int) throws(JSONFault) -> JSONValue {
    guard depth <= Self.deepest else { throw fault("more than \(Self.deepest) arrays and objects within each other") }
    position += 1
    var values: [JSONValue] = []
    skipSpace()
    if take("]") { return .array(values) }
    while true {
      values.append(try value(depth: depth))
      skipSpace()
      if take("]") { return .array(values) }
      guard take(",") else { throw fault("a comma or ] is expected") }
    }
  }

  private mutating func object(depth: Int) throws(JSONFault) -> JSONValue {
    guard depth <= Self.deepest else { throw fault("more than \(Self.deepest) arrays and objects within each other") }
    position += 1
    var fields: [String: JSONValue] = [:]
    let isListed = listed.map { path.count == depth - 1 && path == $0 } ?? false
    skipSpace()
    if take("}") { return .object(fields) }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw fault("a key in double quotes is expected") }
      let start = position
      let key = try string()
      guard isListed || key.utf8.count <= Self.longestKey || key.utf8.allSatisfy({ $0 < 0x80 }) else {
        throw fault("a key of more than \(Self.longestKey) bytes that are not all ASCII", at: start)
      }
      skipSpace()
      guard take(":") else { throw fault("a colon is expected") }
      if isListed {
        members.append((key, try value(depth: depth)))
      } else if fields.updateValue(try member(key, depth: depth), forKey: key) != nil {
        throw .duplicateKey(key, offset: start)
      }
      skipSpace()
      if take("}") { return .object(fields) }
      guard take(",") else { throw fault("a comma or } is expected") }
    }
  }

  /// The value of an object's key, on the way to the listed object or not.
  private mutating func member(_ key: String, depth: Int) throws(JSONFault) -> JSONValue {
    guard let listed, path.count == depth - 1, depth <= listed.count, listed[depth - 1] == key else { return try value(depth: depth) }
    path.append(key)
    defer { path.removeLast() }
    return try value(depth: depth)
  }

  private static func isDigit(_ byte: UInt8?) -> Bool {
    byte.map { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? false
  }

  private mutating func number() throws(JSONFault) -> JSONValue {
    let start = position
    func digits(_ scanner: inout JSONScanner) throws(JSONFault) {
      guard Self.isDigit(scanner.next) else { throw scanner.fault("a digit is expected") }
      while Self.isDigit(scanner.next) { scanner.position += 1 }
    }
    _ = take("-")
    if take("0") {
      if Self.isDigit(next) { throw fault("a number that begins with 0") }
    } else {
      try digits(&self)
    }
    if take(".") { try digits(&self) }
    if take("e") || take("E") {
      if !take("+") { _ = take("-") }
      try digits(&self)
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if let integer = Int(text) { return .integer(integer) }
    guard let number = Double(text), number.isFinite else { throw fault("a number beyond what a double holds", at: start) }
    // 64.0 is the integer 64, to JSON's other readers, too.
    return Int(exactly: number).map(JSONValue.integer) ?? .number(number)
  }

  private mutating func string() throws(JSONFault) -> String {
    let open = position
    position += 1
    let start = position
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
    if next == UInt8(ascii: "\"") {
      defer { position += 1 }
      return try text(of: UnsafeBufferPointer(rebasing: bytes[start..<position]), from: start)
    }
    // Escapes: the text is gathered.
    var gathered = Array(bytes[start..<position])
    while let byte = next {
      switch byte {
      case UInt8(ascii: "\""):
        position += 1
        return try gathered.withUnsafeBufferPointer { (buffer) throws(JSONFault) in
          guard let text = String(validating: buffer, as: UTF8.self) else { throw invalidText(from: start) }
          return text
        }
      case UInt8(ascii: "\\"): try escape(into: &gathered)
      case 0..<0x20: throw fault("a control character within a string")
      default:
        gathered.append(byte)
        position += 1
      }
    }
    throw fault("a string that begins here has no end", at: open)
  }

  private func text(of buffer: UnsafeBufferPointer<UInt8>, from start: Int) throws(JSONFault) -> String {
    guard let text = String(validating: buffer, as: UTF8.self) else { throw invalidText(from: start) }
    return text
  }

  /// Names the first byte from `start` on that is no part of UTF-8.
  private func invalidText(from start: Int) -> JSONFault {
    var decoder = UTF8()
    var input = bytes[start...].makeIterator()
    var offset = start
    while case .scalarValue(let scalar) = decoder.decode(&input) { offset += UTF8.width(scalar) }
    return fault("not valid UTF-8", at: offset)
  }

  private mutating func escape(into text: inout [UInt8]) throws(JSONFault) {
    let start = position
    position += 1
    let simple: UInt8? =
      switch next {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): next
      case UInt8(ascii: "b"): 0x08
      case UInt8(ascii: "f"): 0x0C
      case UInt8(ascii: "n"): 0x0A
      case UInt8(ascii: "r"): 0x0D
      case UInt8(ascii: "t"): 0x09
      default: nil
      }
    if let simple {
      text.append(simple)
      position += 1
      return
    }
    guard take("u") else { throw fault("an unknown escape", at: start) }
    var code = try hexadecimal(start)
    if (0xD800..<0xDC00).contains(code), take("\\"), take("u") {
      let low = try hexadecimal(start)
      guard (0xDC00..<0xE000).contains(low) else { throw fault("half a surrogate pair", at: start) }
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
    }
    guard let scalar = Unicode.Scalar(code) else { throw fault("half a surrogate pair", at: start) }
    text.append(contentsOf: UTF8.encode(scalar)!)
  }

  private mutating func hexadecimal(_ start: Int) throws(JSONFault) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
        throw fault("an escape without its four hexadecimal digits", at: start)
      }
      code = (code << 4) + UInt32(digit)
      position += 1
    }
    return code
  }
}
