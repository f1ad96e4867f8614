#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Lines of text, without their ends (LF or CR LF; the last may lack it).
struct LineCursor {
  private let buffer: UnsafeMutableBufferPointer<UInt8>
  private var position: Int
  /// Number of the line that `next` gave last, from 1.
  private(set) var line = 0

  init(_ buffer: UnsafeMutableBufferPointer<UInt8>) {
    self.buffer = buffer
    position = 0
  }

  /// Where the next line is, or nil at the end.
  mutating func next() -> Range<Int>? {
    guard position < buffer.count, let base = buffer.baseAddress else { return nil }
    let start = position
    let found = memchr(base + start, Int32(UInt8(ascii: "\n")), buffer.count - start)
    var end = found.map { UnsafeRawPointer($0) - UnsafeRawPointer(base) } ?? buffer.count
    position = end + 1
    line += 1
    if end > start, buffer[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    return start..<end
  }
}

/// `.txt`: a line a record.
enum LineRecords {
  static func parse(_ buffer: UnsafeMutableBufferPointer<UInt8>, into records: inout ParsedRecords) {
    var lines = LineCursor(buffer)
    while let line = lines.next() { records.append(UnsafeBufferPointer(rebasing: buffer[line]), in: buffer) }
  }
}
