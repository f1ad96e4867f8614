#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a parser makes of a file in place: its records' texts move to the front of the same memory, which holds since they are never longer
/// than their source.
struct ParsedRecords {
  let fields: RecordFields
  /// Where texts begin, and where the last one ends.
  private(set) var offsets = [0]
  private(set) var labels: [Int32]?
  private(set) var unitNames: UnitNames?

  init(_ fields: RecordFields, capacity: Int) {
    self.fields = fields
    offsets.reserveCapacity(capacity * fields.slots.count + 1)
    labels = fields.label.map { _ in [] }
    unitNames = fields.unit.map { _ in UnitNames() }
  }

  /// Where the next text goes.
  var end: Int { offsets[offsets.count - 1] }

  /// Takes a text from further back in the same memory, or from elsewhere.
  mutating func append(_ text: UnsafeBufferPointer<UInt8>, in buffer: UnsafeMutableBufferPointer<UInt8>) {
    if let source = text.baseAddress, let base = buffer.baseAddress { memmove(base + end, source, text.count) }
    offsets.append(end + text.count)
  }

  mutating func append(label: Int32) { labels?.append(label) }
  mutating func append(unit: [UInt8]) { unitNames?.append(unit) }
}
