import Crypto

/// Which records a data set has: enough to tell whether two sets share one, in 8 bytes a record.
///
/// Computed from the records without noise: not for release.
package struct RecordHashes: Equatable, Sendable {
  /// The first 64 bits of the SHA-256 of each of the records' texts, prompts among them, ascending, equal ones once: who shares one of several texts
  /// shares a record. Texts without a byte are left out: they tell nobody from another.
  private let values: [UInt64]
  /// The values as they are kept in a file, little-endian.
  package let bytes: [UInt8]
  /// SHA-256 of ``bytes``, in hexadecimal: equal for the same records in any order, whatever they are cut to later.
  package let fingerprint: String

  package init(_ records: RecordStore) { self.init(Self.values(of: records)) }

  /// - Parameter hashes: ``values(of:)`` of all records, in any order.
  init(_ hashes: [UInt64]) {
    var values: [UInt64] = []
    for hash in hashes.sorted() where hash != values.last { values.append(hash) }
    self.init(ascending: values)
  }

  /// One for each text that has a byte.
  static func values(of records: RecordStore) -> [UInt64] {
    var hashes: [UInt64] = []
    for record in records.indices {
      for text in records.texts(of: record) where !text.isEmpty {
        let digest = text.withUnsafeBytes { SHA256.hash(data: $0) }
        hashes.append(digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
      }
    }
    return hashes
  }

  private init(ascending values: [UInt64]) {
    self.values = values
    bytes = values.flatMap { value in withUnsafeBytes(of: value.littleEndian, Array.init) }
    fingerprint = SHA256.hash(data: bytes).hexadecimal
  }

  /// What a file holds; nil unless all of it is there: a set of which a part is missing would be apart from too many.
  package init?(bytes: [UInt8], fingerprint: String) {
    guard bytes.count % 8 == 0 else { return nil }
    let values = stride(from: 0, to: bytes.count, by: 8).map { start in
      bytes[start..<start + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    }
    self.init(ascending: values)
    guard self.fingerprint == fingerprint else { return nil }
  }

  /// Whether a record is in both, or two records' hashes agree by chance, of which the odds are below the product of both numbers over 2⁶⁴.
  package func sharesRecord(with other: Self) -> Bool {
    var (own, others) = (values[...], other.values[...])
    while let first = own.first, let second = others.first {
      if first == second { return true }
      if first < second { own.removeFirst() } else { others.removeFirst() }
    }
    return false
  }
}

extension Digest {
  /// The bytes as small hexadecimal digits.
  var hexadecimal: String { map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined() }
}
