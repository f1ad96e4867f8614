#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Finds where records end, in a text that comes in pieces.
struct RecordScanner {
  private enum State {
    /// Where a quote would begin a quoted field.
    case fieldStart
    case unquoted, quoted
    /// Behind a quote within a quoted field: its end, or half of a doubled one.
    case quoteInQuoted
  }

  private let isQuoting: Bool
  private var state = State.fieldStart

  init(_ format: RecordReader.Format) { isQuoting = !format.hasRecordsOfOneLine }

  /// Bytes up to and with the first record's end that at least `least` bytes lead to; nil: all of them are passed over and there is none.
  mutating func end(in bytes: UnsafeBufferPointer<UInt8>, least: Int) -> Int? {
    guard isQuoting else {
      let from = max(0, least - 1)
      guard from < bytes.count, let base = bytes.baseAddress else { return nil }
      return memchr(base + from, Int32(UInt8(ascii: "\n")), bytes.count - from).map { UnsafeRawPointer($0) - UnsafeRawPointer(base) + 1 }
    }
    let (quote, separator, newline) = (UInt8(ascii: "\""), UInt8(ascii: ","), UInt8(ascii: "\n"))
    for (place, byte) in bytes.enumerated() {
      switch state {
      case .quoted:
        if byte == quote { state = .quoteInQuoted }
        continue
      case .quoteInQuoted where byte == quote:
        state = .quoted
        continue
      case .fieldStart where byte == quote:
        state = .quoted
        continue
      case .fieldStart, .unquoted, .quoteInQuoted: break
      }
      switch byte {
      case separator: state = .fieldStart
      case newline:
        state = .fieldStart
        if place + 1 >= least { return place + 1 }
      default: state = .unquoted
      }
    }
    return nil
  }

  static func lineEnds(in bytes: UnsafeBufferPointer<UInt8>) -> Int {
    guard let base = bytes.baseAddress else { return 0 }
    var (place, count) = (0, 0)
    while place < bytes.count, let found = memchr(base + place, Int32(UInt8(ascii: "\n")), bytes.count - place) {
      place = UnsafeRawPointer(found) - UnsafeRawPointer(base) + 1
      count += 1
    }
    return count
  }
}
