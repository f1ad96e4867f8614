import Crypto
import Foundation

/// What a checkpoint holds and what it is of: `manifest.json`, written when everything else is on the disk.
///
/// Nothing in it is secret to the run's operator, and nothing of it is for release: the key, the draws and sums without noise are not in a
/// checkpoint at all.
package struct CheckpointManifest: Codable, Sendable, Equatable {
  /// One slice of the state, written by one rank.
  package struct File: Codable, Sendable, Equatable {
    /// Within the checkpoint's directory.
    package let name: String
    package let bytes: Int
    /// In hexadecimal.
    package let sha256: String

    package init(name: String, bytes: Int, sha256: String) { (self.name, self.bytes, self.sha256) = (name, bytes, sha256) }
  }

  /// Of this format: another is refused, not guessed at.
  package static let currentVersion = 1
  /// The file's name.
  package static let fileName = "manifest.json"

  package let version: Int
  /// Of dp-mpirun.
  package let program: String
  package let runID: String
  /// Steps done.
  package let step: Int
  /// Steps that the run had been charged for by then; lost ones of earlier starts are among them.
  package let charges: Int
  /// σ; 0 in `standard`.
  package let noiseMultiplier: Double
  /// Trained parameters, and frozen ones that come from no file.
  package let parameterCount, frozenCount: Int
  package let optimizerUpdates: Int
  /// Of the training records: see ``RecordHashes/fingerprint``.
  package let dataFingerprint: String
  /// Everything that shapes the result, as it was decided, by the option's name.
  package let options: [String: String]
  package private(set) var files: [File]
  /// Of the whole file in hexadecimal, with 64 zeros in this place.
  private var sha256: String

  package init(
    program: String, runID: String, step: Int, charges: Int, noiseMultiplier: Double, parameterCount: Int, frozenCount: Int,
    optimizerUpdates: Int, dataFingerprint: String, options: [String: String], files: [File]
  ) {
    version = Self.currentVersion
    (self.program, self.runID, self.step, self.charges) = (program, runID, step, charges)
    (self.noiseMultiplier, self.parameterCount, self.frozenCount) = (noiseMultiplier, parameterCount, frozenCount)
    (self.optimizerUpdates, self.dataFingerprint, self.options, self.files) = (optimizerUpdates, dataFingerprint, options, files)
    sha256 = Self.noDigest
  }

  enum CodingKeys: String, CodingKey {
    case version, program, step, charges, options, files, sha256
    case runID = "run_id"
    case noiseMultiplier = "noise_multiplier"
    case parameterCount = "parameter_count"
    case frozenCount = "frozen_count"
    case optimizerUpdates = "optimizer_updates"
    case dataFingerprint = "data_fingerprint"
  }

  private static let noDigest = String(repeating: "0", count: 64)

  /// The file: its own digest is in it, so that no byte of it changes unseen.
  package var fileBytes: [UInt8] {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      var manifest = self
      manifest.sha256 = Self.noDigest
      let bytes = Array(try encoder.encode(manifest)) + [UInt8(ascii: "\n")]
      guard let place = Self.placeOfDigest(Self.noDigest, in: bytes) else { preconditionFailure("a manifest without its digest") }
      return bytes.replacing(place, with: Array(SHA256.hash(data: bytes).hexadecimal.utf8))
    }
  }

  /// Reads what ``fileBytes`` gave.
  ///
  /// - Throws: ``CheckpointDamage`` where one byte of it is another.
  package init(fileBytes bytes: [UInt8]) throws(CheckpointDamage) {
    let file = Self.fileName
    let found: CheckpointManifest
    do { found = try JSONDecoder().decode(CheckpointManifest.self, from: Data(bytes)) } catch {
      throw CheckpointDamage(file: file, reason: "it is not a manifest")
    }
    guard let place = Self.placeOfDigest(found.sha256, in: bytes),
      SHA256.hash(data: bytes.replacing(place, with: Array(Self.noDigest.utf8))).hexadecimal == found.sha256
    else { throw CheckpointDamage(file: file, reason: "its SHA-256 is not the one that it says") }
    guard found.version == Self.currentVersion else {
      throw CheckpointDamage(file: file, reason: "it is of format \(found.version), and this program reads format \(Self.currentVersion)")
    }
    guard found.files.allSatisfy({ !$0.name.isEmpty && !$0.name.contains("/") && !$0.name.hasPrefix(".") }) else {
      throw CheckpointDamage(file: file, reason: "it names a file outside of the checkpoint")
    }
    self = found
  }

  /// Where the digest's digits stand: behind its key, which no option's name is.
  private static func placeOfDigest(_ digest: String, in bytes: [UInt8]) -> Range<Int>? {
    let line = Array("\n  \"sha256\" : \"\(digest)\"".utf8)
    guard digest.utf8.count == 64, let found = bytes.firstRange(of: line) else { return nil }
    return found.upperBound - 65..<found.upperBound - 1
  }
}

extension [UInt8] {
  fileprivate func replacing(_ place: Range<Int>, with bytes: [UInt8]) -> [UInt8] { Array(self[..<place.lowerBound] + bytes + self[place.upperBound...]) }
}

/// What is wrong with a checkpoint that once was whole.
package struct CheckpointDamage: UserError, Equatable {
  /// Within its directory.
  package let file: String
  package let reason: String
  package var description: String { "\(file): \(reason)" }
}
