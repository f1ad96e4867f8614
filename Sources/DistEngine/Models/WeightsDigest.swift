import Crypto

extension ModelFile {
  /// The SHA-256 of a directory's weights in hexadecimal: of the bytes of its file, or of all its files in the order of their names. Read in
  /// pieces.
  ///
  /// - Throws: ``FileError``, ``ModelFileError``.
  package static func weightsDigest(directory: String) throws -> String {
    var hash = SHA256()
    for path in try weightFiles(directory: directory) {
      try FileBytes.forEachPiece(of: path) { hash.update(bufferPointer: $0) }
    }
    return hash.finalize().hexadecimal
  }
}

extension AdapterFile {
  /// The SHA-256 of a directory's adapter in hexadecimal: of the bytes of its tensors' file.
  package static func digest(directory: String) throws -> String {
    var hash = SHA256()
    try FileBytes.forEachPiece(of: "\(directory)/\(weightsName)") { hash.update(bufferPointer: $0) }
    return hash.finalize().hexadecimal
  }
}
