import Foundation

/// What a run's own directory knows of its data.
struct RunFingerprints: Decodable {
  private let runID: String
  private let fingerprints: [String: String]

  private enum CodingKeys: String, CodingKey {
    case runID = "run_id"
    case fingerprints = "data_fingerprints"
  }

  /// Nothing where the file isn't there, is damaged, or of another run: then data can't be compared, and count as the same.
  static func read(_ path: String, run: String) -> [String: String] {
    guard let bytes = try? FileBytes.read(path), let found = try? JSONDecoder().decode(Self.self, from: Data(bytes)), found.runID == run
    else { return [:] }
    return found.fingerprints
  }

  /// The data sets of these fingerprints that are in a directory. One that isn't there or is damaged can't be compared.
  static func recordSets(_ directory: String, _ fingerprints: Set<String>) -> [String: RecordHashes] {
    var found: [String: RecordHashes] = [:]
    for fingerprint in fingerprints where fingerprint.utf8.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) {
      guard let bytes = try? FileBytes.read("\(directory)/\(fingerprint)") else { continue }
      found[fingerprint] = RecordHashes(bytes: bytes, fingerprint: fingerprint)
    }
    return found
  }
}
