import Crypto

/// Which records are kept from training for evaluation: decided for each by its own bytes alone (SHA-256), so that a record
/// added or removed moves no other, and equal records stay together.
public struct HoldOut: Sendable, Hashable {
  /// One record in how many is held out, on average.
  public let oneIn: Int

  public init(oneIn: Int = 10) {
    precondition(oneIn >= 1, "one record in \(oneIn)")
    self.oneIn = oneIn
  }

  /// Whether the first eight bytes of the record's SHA-256, a big-endian integer, are below 2⁶⁴ / `oneIn`.
  public func holds(_ record: ArraySlice<UInt8>) -> Bool {
    let digest = record.withUnsafeBytes { SHA256.hash(data: $0) }
    let word = digest.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return word < UInt64.max / UInt64(oneIn)
  }

  /// Records for training and records held out, each in their order. All records of a unit go the same way: its name decides.
  public func split(_ records: RecordStore) -> (training: RecordStore, heldOut: RecordStore) {
    let isHeld = records.indices.map { holds(records.holdOutKey($0)) }
    return (records.filtered { !isHeld[$0] }, records.filtered { isHeld[$0] })
  }
}
