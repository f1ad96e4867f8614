/// The texts of a corpus as bytes, one after the other, and where each begins: little more memory than the text itself.
///
/// A record is a unit of privacy. Its bytes are kept as they are; nothing asks whether they are valid UTF-8.
public struct RecordStore: Sendable, RandomAccessCollection {
  private let bytes: [UInt8]
  /// Where records begin in `bytes`, and where the last one ends: [count + 1].
  private let offsets: [Int]
  /// Whose records they are; nil where each is a unit of its own.
  package let unitNames: UnitNames?

  /// - Parameter offsets: ascending, from 0 to `bytes.count`.
  init(bytes: [UInt8], offsets: [Int], unitNames: UnitNames? = nil) {
    precondition(unitNames?.units.count ?? offsets.count - 1 == offsets.count - 1, "a unit for every record")
    self.unitNames = unitNames
    precondition(offsets.first == 0 && offsets.last == bytes.count, "offsets that don't span the bytes")
    self.bytes = bytes
    self.offsets = offsets
  }

  /// The texts of a list, in its order.
  public init(_ texts: some Sequence<String>) {
    self.init(texts.map { Array($0.utf8) })
  }

  package init(_ records: some Sequence<some Sequence<UInt8>>, unitNames: UnitNames? = nil) {
    var bytes: [UInt8] = []
    var offsets = [0]
    for record in records {
      bytes.append(contentsOf: record)
      offsets.append(bytes.count)
    }
    self.init(bytes: bytes, offsets: offsets, unitNames: unitNames)
  }

  /// Records of units by name.
  package init(_ records: [(unit: String, text: String)]) {
    var names = UnitNames()
    for record in records { names.append(Array(record.unit.utf8)) }
    self.init(records.map { Array($0.text.utf8) }, unitNames: names)
  }

  /// What names a record's unit for the hold-out: the unit's name, or the record itself.
  func holdOutKey(_ record: Int) -> ArraySlice<UInt8> {
    guard let unitNames else { return self[record] }
    return unitNames.names[unitNames.units[record]][...]
  }

  /// Some of the records, in their order.
  func filtered(_ isIncluded: (Int) -> Bool) -> RecordStore {
    let kept = indices.filter(isIncluded)
    var names: UnitNames?
    if let unitNames {
      names = UnitNames()
      for record in kept { names?.append(unitNames.names[unitNames.units[record]]) }
    }
    return RecordStore(kept.map { self[$0] }, unitNames: names)
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int { offsets.count - 1 }
  /// The bytes of a record, maybe none.
  public subscript(position: Int) -> ArraySlice<UInt8> { bytes[offsets[position]..<offsets[position + 1]] }

  /// Bytes of all records.
  public var byteCount: Int { bytes.count }
  /// Records without a byte: they train nothing but the end of text, and are worth a line in the log.
  public var emptyCount: Int { indices.count { offsets[$0] == offsets[$0 + 1] } }
}
