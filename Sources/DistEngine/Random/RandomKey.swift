import Crypto

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What random numbers are drawn for. Every purpose has a key of its own: no two share a stream.
package enum RandomPurpose: String, CaseIterable, Sendable {
  case sampling, records, noise, initialisation, dropout, shuffle, generation
}

/// The root of a run's randomness: 256 bits.
///
/// Whoever knows it can subtract the noise. It is not `Codable`, its description and its mirror are empty, and its
/// bytes leave only for the broadcast over ranks.
package struct RandomKey: Sendable {
  package static let byteCount = 32

  /// True if the key follows from a seed that can be guessed: such a run is not private.
  package let isReproducible: Bool
  private let key: SymmetricKey

  /// A fresh key from the operating system's entropy.
  package init() {
    key = SymmetricKey(size: .bits256)
    isReproducible = false
  }

  /// The key that belongs to a seed. For tests and reproductions.
  package init(seed: UInt64) {
    let bytes = Swift.withUnsafeBytes(of: seed.bigEndian) { Array($0) }
    key = HKDF<SHA256>.deriveKey(
      inputKeyMaterial: SymmetricKey(data: bytes), info: Data("dp-mpirun seed".utf8), outputByteCount: Self.byteCount)
    isReproducible = true
  }

  /// The key that another rank has broadcast.
  package init(bytes: UnsafeRawBufferPointer, isReproducible: Bool) {
    precondition(bytes.count == Self.byteCount, "a key of \(bytes.count) bytes")
    key = SymmetricKey(data: bytes)
    self.isReproducible = isReproducible
  }

  /// The raw bytes. For the broadcast alone: they must not reach a file, a log or the environment.
  package func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try key.withUnsafeBytes(body)
  }

  /// The key of one purpose (HKDF-SHA256, RFC 5869, the purpose's name as info).
  package func subKey(for purpose: RandomPurpose) -> SubKey {
    SubKey(
      key: HKDF<SHA256>.deriveKey(
        inputKeyMaterial: key, info: Data("dp-mpirun \(purpose.rawValue)".utf8), outputByteCount: Self.byteCount))
  }
}

/// The key of one purpose.
package struct SubKey: Sendable {
  let key: SymmetricKey
}

extension RandomKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  package var description: String { "RandomKey(redacted)" }
  package var debugDescription: String { description }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

extension SubKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  package var description: String { "SubKey(redacted)" }
  package var debugDescription: String { description }
  package var customMirror: Mirror { Mirror(self, children: []) }
}
