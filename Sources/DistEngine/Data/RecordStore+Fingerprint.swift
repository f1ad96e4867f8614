import Crypto

extension RecordStore {
  /// SHA-256 over the records' own SHA-256s in ascending order, in hexadecimal: equal for the same records in any order, whatever they are cut
  /// to later.
  ///
  /// Computed from the records without noise: not for release.
  package var fingerprint: String {
    let digests = map { record in Array(record.withUnsafeBytes { SHA256.hash(data: $0) }) }
    var hash = SHA256()
    for digest in digests.sorted(by: { $0.lexicographicallyPrecedes($1) }) { hash.update(data: digest) }
    return hash.finalize().hexadecimal
  }
}

extension Digest {
  /// The bytes as small hexadecimal digits.
  var hexadecimal: String { map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined() }
}
