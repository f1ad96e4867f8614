import Crypto

extension TokenizedDataset {
  /// SHA-256 of the records' ids and of where each begins: equal for equal records in equal order.
  package var digest: [UInt8] {
    var hash = SHA256()
    withBytes { hash.update(bufferPointer: $0) }
    for unit in 0..<unitCount {
      for record in units.records(of: unit) { withUnsafeBytes(of: (unit, record)) { hash.update(bufferPointer: $0) } }
    }
    return Array(hash.finalize())
  }
}
