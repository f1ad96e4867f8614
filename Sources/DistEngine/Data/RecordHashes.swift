import Crypto

/// Which records a data set has: enough to tell whether two sets share one, in 8 bytes a record.
///
/// Computed from the records without noise: not for release.
package struct RecordHashes: Equatable, Sendable {
  /// The first 64 bits of each record's SHA-256, ascending, equal ones once. Records without a byte are left out: they tell nobody from another.
  private let values: [UInt64]
  /// The values as they are kept in a file, little-endian.
  package let bytes: [UInt8]
  /// SHA-256 of ``bytes``, in hexadecimal: equal for the same records in any order, whatever they are cut to later.
  package let fingerprint: String

  package init(_ records: RecordStore) {
    var hashes: [UInt64] = []
    for record in records where !record.isEmpty {
      let digest = record.withUnsafeBytes { SHA256.hash(data: $0) }
      hashes.append(digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
    }
    hashes.sort()
    var values: [UInt64] = []
    for hash in hashes where hash != values.last { values.append(hash) }
    self.init(ascending: values)
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
