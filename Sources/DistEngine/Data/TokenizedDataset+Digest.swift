import Crypto

extension TokenizedDataset {
  /// Bytes of the data set that are hashed in one piece.
  private static let pieceBytes = 4 << 20

  /// SHA-256 of the hashes of the data set's pieces and of its units: equal for equal sequences in equal order, however many ranks made or hash them. The
  /// ranks of a node hash different pieces. Collective over the node.
  ///
  /// - Parameter node: the ranks that made the data set together; nil: this process alone.
  package func digest(by node: Communicator? = nil) throws -> [UInt8] {
    let (rank, size) = (node?.rank ?? 0, node?.size ?? 1)
    let own = withBytes { bytes in
      stride(from: rank * Self.pieceBytes, to: bytes.count, by: size * Self.pieceBytes).flatMap { start in
        Array(SHA256.hash(data: UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + Self.pieceBytes, bytes.count)])))
      }
    }
    let hashes = try node?.allgather(bytes: own) ?? [own]
    var hash = SHA256()
    hash.update(data: Array("\(format) \(count)".utf8))
    // Piece by piece, in their order.
    let length = SHA256.byteCount
    for round in 0..<(hashes[0].count / length) {
      for part in hashes where (round + 1) * length <= part.count { hash.update(data: part[round * length..<(round + 1) * length]) }
    }
    if unitCount != count {
      for unit in 0..<unitCount {
        for record in units.records(of: unit) { withUnsafeBytes(of: (unit, record)) { hash.update(bufferPointer: $0) } }
      }
    }
    return Array(hash.finalize())
  }
}
