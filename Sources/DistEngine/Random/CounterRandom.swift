import Crypto
import CryptoExtras

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Random 64-bit words as a function of (key, stream, index): the key stream of AES-256 in counter mode.
///
/// Any slice of a stream can be had without what precedes it, so that ranks, threads and pieces agree whatever the split.
/// Words 2k and 2k+1 are the low and the high half (little-endian) of the encrypted block `stream ‖ k`, both big-endian.
package struct CounterRandom: Sendable {
  /// Words that are made at a time (32 KB: they stay in the nearest caches, whatever the size of the draw).
  package static let wordsPerPiece = 4096
  private static let wordsPerBlock = 2
  private static let zeros = Data(count: wordsPerPiece * MemoryLayout<UInt64>.size)

  private let key: SymmetricKey

  package init(_ subKey: SubKey) { key = subKey.key }

  /// The keystream of a bare key, for comparison with published vectors.
  package init(rawKey: UnsafeRawBufferPointer) {
    precondition(rawKey.count == RandomKey.byteCount, "a key of \(rawKey.count) bytes")
    key = SymmetricKey(data: rawKey)
  }

  /// Calls `body` with words `from ..< from + count` of a stream, in pieces: the words, and the index of the first one less `from`.
  ///
  /// Pieces after the first start at an even index.
  package func forEachPiece(
    stream: UInt64, from: Int, count: Int, _ body: (_ words: UnsafeBufferPointer<UInt64>, _ offset: Int) throws -> Void
  ) rethrows {
    precondition(from >= 0 && count >= 0 && !from.addingReportingOverflow(count).overflow, "words \(from) + \(count)")
    var done = 0
    while done < count {
      let block = (from + done) / Self.wordsPerBlock
      let skipped = (from + done) % Self.wordsPerBlock
      let taken = min(Self.wordsPerPiece - skipped, count - done)
      let piece = keyStream(stream: stream, block: UInt64(block), words: skipped + taken)
      try piece.withUnsafeBytes { bytes in
        try bytes.withMemoryRebound(to: UInt64.self) { words in
          try body(UnsafeBufferPointer(rebasing: words[skipped..<(skipped + taken)]), done)
        }
      }
      done += taken
    }
  }

  /// Writes words `from ..< from + words.count` of a stream.
  package func fill(_ words: UnsafeMutableBufferPointer<UInt64>, stream: UInt64, from: Int) {
    forEachPiece(stream: stream, from: from, count: words.count) { piece, offset in
      _ = UnsafeMutableBufferPointer(rebasing: words[offset...]).update(fromContentsOf: piece)
    }
  }

  /// Words `from ..< from + count` of a stream.
  package func words(stream: UInt64, from: Int, count: Int) -> [UInt64] {
    [UInt64](unsafeUninitializedCapacity: count) { buffer, initialized in
      buffer.initialize(repeating: 0)
      fill(UnsafeMutableBufferPointer(rebasing: buffer[..<count]), stream: stream, from: from)
      initialized = count
    }
  }

  /// Calls `body` with the uniforms in [0, 1), of 53 bits, that belong to the words of `indices`, in order.
  package func forEachUniform(
    stream: UInt64, indices: Range<Int>, _ body: (_ index: Int, _ uniform: Double) throws -> Void
  ) rethrows {
    try forEachPiece(stream: stream, from: indices.lowerBound, count: indices.count) { words, offset in
      for (i, word) in words.enumerated() { try body(indices.lowerBound + offset + i, Self.uniform(word)) }
    }
  }

  /// The uniform in [0, 1) of a word: its upper 53 bits.
  package static func uniform(_ word: UInt64) -> Double { Double(word >> 11) * 0x1p-53 }

  /// At most a piece of the key stream, from a block on. (All processors that Swift runs on are little-endian.)
  private func keyStream(stream: UInt64, block: UInt64, words: Int) -> Data {
    let nonce = withUnsafeBytes(of: (stream.bigEndian, block.bigEndian)) { Array($0) }
    let plaintext = Self.zeros.prefix((words + 1) / Self.wordsPerBlock * Self.wordsPerBlock * MemoryLayout<UInt64>.size)
    do {
      return try AES._CTR.encrypt(plaintext, using: key, nonce: AES._CTR.Nonce(nonceBytes: nonce))
    } catch {
      preconditionFailure("AES-256-CTR refuses a key of 32 bytes and a nonce of 16: \(error)")
    }
  }
}

extension CounterRandom: CustomStringConvertible, CustomReflectable {
  package var description: String { "CounterRandom(redacted)" }
  package var customMirror: Mirror { Mirror(self, children: []) }
}
