import Foundation
import PrivacyAccounting

/// The model directory that a run starts from, as far as the privacy of the run's own records goes.
///
/// Parameters that have seen these records before carry what they have seen into whatever is made from them. The directory's
/// `privacy.json` says what its training spent; whether that was on some of the same records is known where the run that made it still has its
/// `run.json` and `seen/` beside it, and taken for so where they aren't.
struct StartModel: Codable, Sendable {
  let weightsDigest: String?
  /// Of the adapter that stands beside the model from the start.
  private(set) var adapterDigest: String?
  /// The text of its `privacy.json`; nil without one.
  let statement: String?
  /// Its training, and what came before that.
  let trainings: [EarlierTraining]
  /// Of the records of those trainings whose data are known, by run.
  let fingerprints: [String: String]
  /// By fingerprint, where the run that made the model still has them; on the rank that read them.
  private(set) var recordSets: [String: RecordHashes] = [:]
  /// Runs of which it is known whether their data and this run's have a record in common.
  private let sharesRecord: [String: Bool]
  /// Whether it is taken for granted that none of them has seen the records: `--base-is-public`.
  let isPublic: Bool
  /// Whether its own statement takes that for granted of the model before it.
  let restsOnPublicModel: Bool
  /// Whether the statement leaves open what was spent, which `--spent` says in its place.
  let isIncomplete: Bool
  /// Of the weights that the model's own training started from, as its statement says; an adapter stands beside those.
  private let baseDigest: String?

  /// Records stay where they were read.
  private enum CodingKeys: CodingKey {
    case weightsDigest, adapterDigest, statement, trainings, fingerprints, sharesRecord, isPublic, restsOnPublicModel, isIncomplete, baseDigest
  }

  /// - Parameter adapter: the directory of the adapter that the run starts with; nil: none.
  init(
    directory: String, adapter: String? = nil, configuration: TrainingConfiguration, records: RecordHashes?, hashesWeights: Bool
  ) throws {
    let digest = hashesWeights ? try ModelFile.weightsDigest(directory: directory) : nil
    let model = try StartModel(statedIn: directory, digest: digest, configuration: configuration, records: records)
    guard let adapter else {
      self = model
      return
    }
    let own = try StartModel(statedIn: adapter, digest: nil, configuration: configuration, records: records)
    if let digest, let trainedOn = own.baseDigest, trainedOn != digest {
      throw AdapterError.otherBase(adapter: adapter, trainedOn: trainedOn, model: directory, found: digest)
    }
    self.init(model, with: own, adapterDigest: hashesWeights ? try AdapterFile.digest(directory: adapter) : nil)
  }

  /// A model with an adapter has been through both their trainings; the adapter's history has those of the model, as far as it knew them.
  private init(_ model: StartModel, with adapter: StartModel, adapterDigest: String?) {
    weightsDigest = model.weightsDigest
    self.adapterDigest = adapterDigest
    statement = adapter.statement
    let known = Set(adapter.trainings.compactMap(\.runID))
    trainings = model.trainings.filter { $0.runID.map { !known.contains($0) } ?? true } + adapter.trainings
    fingerprints = model.fingerprints.merging(adapter.fingerprints) { $1 }
    recordSets = model.recordSets.merging(adapter.recordSets) { $1 }
    sharesRecord = model.sharesRecord.merging(adapter.sharesRecord) { $0 || $1 }
    isPublic = model.isPublic
    restsOnPublicModel = model.restsOnPublicModel || adapter.restsOnPublicModel
    isIncomplete = model.isIncomplete || adapter.isIncomplete
    baseDigest = nil
  }

  /// - Parameter digest: of the weights; nil: not asked for.
  private init(statedIn directory: String, digest: String?, configuration: TrainingConfiguration, records: RecordHashes?) throws {
    weightsDigest = digest
    isPublic = configuration.baseIsPublic
    let path = "\(directory)/privacy.json"
    guard let claims = try Claims(path: path, unit: configuration.unitDescription) else {
      (statement, trainings, fingerprints, sharesRecord, restsOnPublicModel, isIncomplete) = (nil, [], [:], [:], false, false)
      baseDigest = nil
      return
    }
    statement = claims.text
    baseDigest = claims.stated.startModel?.sha256
    restsOnPublicModel = claims.stated.baseIsPublic ?? false
    let fingerprints = claims.stated.runID.map { RunFingerprints.read("\(directory)/../run.json", run: $0) } ?? [:]
    self.fingerprints = fingerprints
    recordSets = RunFingerprints.recordSets("\(directory)/../seen", Set(fingerprints.values))
    var shares: [String: Bool] = [:]
    for (run, fingerprint) in fingerprints {
      if let records, let others = recordSets[fingerprint] { shares[run] = others.sharesRecord(with: records) }
    }
    sharesRecord = shares
    let missing = claims.missing
    let isApart = claims.stated.runID.flatMap { shares[$0] } == false
    isIncomplete = claims.stated.isPrivate && missing != nil && !isApart && !configuration.baseIsPublic
    if isIncomplete, let missing, configuration.mode.isPrivate, configuration.spent.isEmpty {
      throw StartModelError.incomplete(path: path, missing: missing)
    }
    trainings = claims.trainings(isStatedElsewhere: !configuration.spent.isEmpty)
  }

  /// Trainings that a run which starts from this run's model has to know.
  var history: [EarlierTraining] { isPublic ? trainings.map(\.assumedPublic) : trainings }

  /// Whether it is known that the training and this run have no record in common.
  private func isApart(_ training: EarlierTraining) -> Bool { training.runID.flatMap { sharesRecord[$0] } == false }

  /// Whether it is known that they have one.
  private func isShared(_ training: EarlierTraining) -> Bool { training.runID.flatMap { sharesRecord[$0] } == true }

  /// Whether what the training has seen counts as these records: also where that isn't known. What an earlier run took for granted was of its own
  /// records; it is taken over for these unless it is known to be wrong.
  private func counts(_ training: EarlierTraining) -> Bool {
    !isPublic && (training.isAssumedPublic == true ? isShared(training) : !isApart(training))
  }

  /// Whether the parameters may have seen this run's records without privacy.
  var exposesRecords: Bool { trainings.contains { !$0.isPrivate && counts($0) } }

  /// What was spent on this run's records, or on data that can't be compared with them.
  var composed: [DPSGDPhase] {
    trainings.filter { $0.isPrivate && counts($0) }.flatMap(\.phases).filter { $0.steps > 0 }
  }

  /// All that this run's own privacy rests on: it is what it was where these bytes are.
  var knownTraining: [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    guard let trainings = try? encoder.encode(trainings) else { preconditionFailure("trainings as JSON") }
    return Array((statement ?? "none").utf8) + Array(trainings) + Array(" \(exposesRecords)".utf8)
  }

  /// What is to be said of it, a line each.
  func warnings(userSpent: [DPSGDPhase]) -> [String] {
    guard !isPublic else {
      let contradiction = "; the data of its trainings say otherwise: records are in both, and for them the guarantee doesn't hold"
      return [
        "--base-is-public: it is taken for granted, not checked, that the start model has seen none of these records"
          + (trainings.contains(where: isShared) ? contradiction : "")
      ]
    }
    var warnings: [String] = []
    if statement == nil {
      warnings.append(
        "the start model's own training isn't covered, and no privacy.json says what it was: if it used these records, epsilon is larger than stated")
    }
    if exposesRecords {
      warnings.append(
        "the start model isn't private, and was trained on some of these records or on data that can't be compared with them: what is made from it is "
          + "NOT private (--base-is-public says that it has seen none of them)")
    }
    if trainings.contains(where: { !$0.isPrivate && isApart($0) }) {
      warnings.append(
        "the start model was trained without privacy on data that have no record in common with these: it is covered by nothing for them")
    }
    if !composed.isEmpty {
      warnings.append(
        "the start model was trained on some of these records or on data that can't be compared with them: epsilon includes what that spent")
    }
    if trainings.contains(where: { $0.isPrivate && isApart($0) }) {
      warnings.append(
        "the start model was trained on data that have no record in common with these: what that spent isn't in epsilon")
    }
    if isIncomplete && !userSpent.isEmpty {
      warnings.append("the start model's privacy.json doesn't say all that was spent: that --spent does is taken for granted")
    }
    if restsOnPublicModel {
      warnings.append("the start model's privacy.json takes for granted that the model before it is public (--base-is-public)")
    }
    return warnings
  }
}

/// Why a start model is refused.
enum StartModelError: UserError, Equatable {
  case damaged(path: String, reason: String)
  case incomplete(path: String, missing: String)

  var description: String {
    switch self {
    case .damaged(let path, let reason):
      "\(path): is no statement of privacy: \(reason); without it what the start model has spent isn't known"
    case .incomplete(let path, let missing):
      "\(path): doesn't say \(missing): what the start model has spent isn't known; --spent q:sigma:steps says it, or --base-is-public that it has "
        + "seen none of these records"
    }
  }
}

/// A `privacy.json` as it was found.
private struct Claims {
  struct Stated: Decodable {
    let isPrivate: Bool
    let runID: String?
    let baseIsPublic: Bool?
    let samplingRate, noiseMultiplier: Double?
    let steps: Int?
    let spent: [DPSGDPhase]?
    let history: [EarlierTraining]?
    let unit, relation, sampler: String?
    let startModel: StartModel?

    struct StartModel: Decodable { let sha256: String? }

    enum CodingKeys: String, CodingKey {
      case steps, spent, history, unit, relation, sampler
      case isPrivate = "private"
      case startModel = "start_model"
      case runID = "run_id"
      case baseIsPublic = "base_is_public"
      case samplingRate = "sampling_rate"
      case noiseMultiplier = "noise_multiplier"
    }
  }

  let text: String
  let stated: Stated
  /// Of the run that starts from it.
  private let unit: String

  /// nil where there is no such file.
  init?(path: String, unit: String) throws {
    self.unit = unit
    var status = stat()
    guard lstat(path, &status) == 0 || errno != ENOENT else { return nil }
    let bytes = try FileBytes.read(path)
    do {
      _ = try JSONScanner.parse(file: bytes)
      stated = try JSONDecoder().decode(Stated.self, from: Data(bytes))
    } catch let fault as JSONFault {
      throw StartModelError.damaged(path: path, reason: fault.described(in: bytes))
    } catch {
      throw StartModelError.damaged(path: path, reason: Self.reason(error))
    }
    text = String(decoding: bytes, as: UTF8.self)
  }

  private static func reason(_ error: any Error) -> String {
    switch error {
    case DecodingError.keyNotFound(let key, _): "it has no \"\(key.stringValue)\""
    case DecodingError.typeMismatch(_, let context), DecodingError.valueNotFound(_, let context), DecodingError.dataCorrupted(let context):
      context.codingPath.isEmpty
        ? "it must be an object" : "\(context.codingPath.map(\.stringValue).joined(separator: ".")) is not what it has to be"
    default: error.oneLine
    }
  }

  /// The first thing that composing the training needs and the statement lacks.
  var missing: String? {
    if stated.samplingRate == nil { return "\"sampling_rate\"" }
    if stated.noiseMultiplier == nil { return "\"noise_multiplier\"" }
    if stated.steps == nil { return "\"steps\"" }
    if stated.spent == nil { return "\"spent\"" }
    if ownPhase == nil { return "a sampling rate, a noise multiplier and steps that can be" }
    if let unit = stated.unit, unit != self.unit { return "what \(JSONValue.string(self.unit)) spent: its unit is \(JSONValue.string(unit))" }
    if let relation = stated.relation, relation != NeighbouringRelation.addOrRemoveOne.rawValue {
      return "what adding or removing a record spent: its relation is \(JSONValue.string(relation))"
    }
    if let sampler = stated.sampler, sampler != TrainingConfiguration.Sampler.poisson.rawValue {
      return "what a Poisson sample spent: its sampler is \(JSONValue.string(sampler))"
    }
    return nil
  }

  private var ownPhase: DPSGDPhase? {
    guard let rate = stated.samplingRate, let noise = stated.noiseMultiplier, let steps = stated.steps else { return nil }
    return try? DPSGDPhase(samplingRate: rate, noiseMultiplier: noise, steps: steps)
  }

  /// The run's own training, after those before it. A statement without a history has them all in `spent`, on unknown data.
  ///
  /// - Parameter isStatedElsewhere: whether the user says what a statement leaves open. Without that, such a training counts as one
  ///   without privacy.
  func trainings(isStatedElsewhere: Bool) -> [EarlierTraining] {
    let history = stated.history ?? []
    let before = history.isEmpty ? stated.spent ?? [] : []
    guard missing == nil || !stated.isPrivate, let ownPhase else {
      return history + [EarlierTraining(runID: stated.runID, isPrivate: stated.isPrivate && isStatedElsewhere, phases: before)]
    }
    return history + [EarlierTraining(runID: stated.runID, isPrivate: stated.isPrivate, phases: stated.isPrivate ? before + [ownPhase] : [])]
  }
}

/// What a run's own directory knows of its data.
private struct RunFingerprints: Decodable {
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
