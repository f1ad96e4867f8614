import Foundation
import PrivacyAccounting

/// Where a run comes from: its name, what tells its data from others, and the model that it starts from.
///
/// Found out by one rank and the same on all. What is here of the training data is for the run's own files, not for release.
struct Provenance: Codable, Sendable {
  /// 128 bits of the system's entropy, in hexadecimal. Says which statement belongs to which run's directory.
  let runID: String
  /// Of the training records; nil where nobody asks for it, and on all ranks but the first.
  private var records: RecordHashes?
  /// nil for new parameters.
  let start: StartModel?

  /// - Parameters:
  ///   - directory: of the start model's weights; nil for new parameters.
  ///   - hashesWeights: whether the start model's weights are read through, too.
  ///   - runID: of a run that goes on.
  init(
    _ configuration: TrainingConfiguration, _ directory: String?, _ records: RecordHashes?, hashesWeights: Bool, runID: String? = nil
  ) throws {
    var random = SystemRandomNumberGenerator()
    self.runID = runID ?? (0..<2).map { _ in String(format: "%016lx", random.next() as UInt64) }.joined()
    self.records = records
    start = try directory.map {
      try StartModel(
        directory: $0, adapter: configuration.adapter, configuration: configuration, records: records, hashesWeights: hashesWeights)
    }
  }

  /// Records stay where they were read.
  private enum CodingKeys: CodingKey { case runID, start }

  /// Everything that was spent on the run's records before it.
  func spent(_ configuration: TrainingConfiguration) -> [DPSGDPhase] { (start?.composed ?? []) + configuration.spent }

  /// Of the training records, on the rank that has read them.
  var ownFingerprint: String? { records?.fingerprint }

  /// Of the data of this run and of all those before it that are known, by the runs' names.
  var fingerprints: [String: String] {
    var known = start?.fingerprints ?? [:]
    if let records { known[runID] = records.fingerprint }
    return known
  }

  /// The data sets of which ``fingerprints`` are, as far as they are known.
  var recordSets: [RecordHashes] {
    let known = start.map { Array($0.recordSets.values) } ?? []
    return known + (records.map { own in known.contains(own) ? [] : [own] } ?? [])
  }
}

extension Communicator {
  /// Rank 0's value, which the others don't have, on all of them.
  func broadcast(_ provenance: Provenance?) throws -> Provenance {
    let bytes = try broadcast(bytes: provenance.map { Array(try JSONEncoder().encode($0)) } ?? [])
    return try JSONDecoder().decode(Provenance.self, from: Data(bytes))
  }
}

/// A training that the start model's parameters have been through.
struct EarlierTraining: Codable, Sendable, Equatable {
  /// nil where its statement has none: then its data can't be compared with others.
  let runID: String?
  let isPrivate: Bool
  /// Nothing where it isn't private.
  let phases: [DPSGDPhase]
  /// Whether a run after it took for granted that it has seen none of that run's records (`--base-is-public`).
  private(set) var isAssumedPublic: Bool?

  init(runID: String?, isPrivate: Bool, phases: [DPSGDPhase]) {
    (self.runID, self.isPrivate, self.phases) = (runID, isPrivate, phases)
  }

  var assumedPublic: EarlierTraining {
    var training = self
    training.isAssumedPublic = true
    return training
  }

  /// What two statements tell of the parts of one model, in that order. Where both tell of the same training it counts once, and as taken for public
  /// only where both take it so: the more careful of the two is believed. A training without a run's name is no other's.
  static func united(_ one: [EarlierTraining], _ other: [EarlierTraining]) -> [EarlierTraining] {
    var (first, second) = (one, other)
    for index in first.indices where first[index].runID != nil {
      guard let same = second.firstIndex(where: { areOne($0, first[index]) }) else { continue }
      if second[same].isAssumedPublic != true { first[index].isAssumedPublic = second[same].isAssumedPublic }
      second.remove(at: same)
    }
    return first + second
  }

  /// Whether two are the same training, whatever was taken for granted of it.
  static func areOne(_ one: EarlierTraining, _ other: EarlierTraining) -> Bool { one.assumedPublic == other.assumedPublic }

  private enum CodingKeys: String, CodingKey {
    case runID = "run_id"
    case isPrivate = "private"
    case phases
    case isAssumedPublic = "assumed_public"
  }
}
