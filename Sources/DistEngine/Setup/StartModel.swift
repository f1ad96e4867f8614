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
  /// Whether an adapter stands beside it from the start.
  private let hasAdapter: Bool
  /// The text of the adapter's `privacy.json`; nil without one.
  let adapterStatement: String?
  /// Its training, and what came before that.
  let trainings: [EarlierTraining]
  /// Of the records of those trainings whose data are known, by run.
  let fingerprints: [String: String]
  /// By fingerprint, where the run that made the model still has them; on the rank that read them.
  private(set) var recordSets: [String: RecordHashes] = [:]
  /// Runs of which it is known whether their data and this run's have a record in common.
  private let sharesRecord: [String: Bool]
  /// Whether it is taken for granted that the model, and all before it, has seen none of the records: `--base-is-public`. An adapter is not the model.
  let isPublic: Bool
  /// Whether its own statement takes that for granted of the model before it.
  let restsOnPublicModel: Bool
  /// Whether the statement leaves open what was spent, which `--spent` says in its place.
  let isIncomplete: Bool
  /// Of the weights that the model's own training started from, as its statement says; an adapter stands beside those.
  private let baseDigest: String?

  /// Records stay where they were read.
  private enum CodingKeys: CodingKey {
    case weightsDigest, adapterDigest, statement, hasAdapter, adapterStatement, trainings, fingerprints, sharesRecord, isPublic, restsOnPublicModel
    case isIncomplete, baseDigest
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
    let own = try StartModel(statedIn: adapter, digest: nil, configuration: configuration, records: records, isAdapter: true)
    if let digest, let trainedOn = own.baseDigest {
      try AdapterBase.require(trainedOn, adapter: adapter, model: directory, digest: digest)
    }
    self.init(model, with: own, adapterDigest: hashesWeights ? try AdapterFile.digest(directory: adapter) : nil)
  }

  /// A model with an adapter has been through both their trainings; the adapter's history has those of the model, as far as it knew them.
  private init(_ model: StartModel, with adapter: StartModel, adapterDigest: String?) {
    weightsDigest = model.weightsDigest
    self.adapterDigest = adapterDigest
    statement = model.statement
    (hasAdapter, adapterStatement) = (true, adapter.statement)
    trainings = EarlierTraining.united(model.history, adapter.trainings)
    fingerprints = model.fingerprints.merging(adapter.fingerprints) { $1 }
    recordSets = model.recordSets.merging(adapter.recordSets) { $1 }
    sharesRecord = model.sharesRecord.merging(adapter.sharesRecord) { $0 || $1 }
    isPublic = model.isPublic
    restsOnPublicModel = model.restsOnPublicModel || adapter.restsOnPublicModel
    isIncomplete = model.isIncomplete || adapter.isIncomplete
    baseDigest = adapter.baseDigest
  }

  /// - Parameter digest: of the weights; nil: not asked for.
  private init(
    statedIn directory: String, digest: String?, configuration: TrainingConfiguration, records: RecordHashes?, isAdapter: Bool = false
  ) throws {
    weightsDigest = digest
    (hasAdapter, adapterStatement) = (false, nil)
    isPublic = configuration.baseIsPublic && !isAdapter
    let path = "\(directory)/privacy.json"
    guard let claims = try StatedTraining(path: path, unit: configuration.unitDescription) else {
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
    isIncomplete = claims.stated.isPrivate && missing != nil && !isApart && !isPublic
    if isIncomplete, let missing, configuration.mode.isPrivate, configuration.spent.isEmpty {
      throw StartModelError.incomplete(path: path, missing: missing, mayBePublic: !isAdapter)
    }
    trainings = claims.trainings(isStatedElsewhere: !configuration.spent.isEmpty)
  }

  /// Whether all of it is the model that is taken for public. Of a model with an adapter, the model's trainings are marked, and the adapter's count.
  private var isWhollyPublic: Bool { isPublic && !hasAdapter }

  /// Trainings that a run which starts from this run's model has to know.
  var history: [EarlierTraining] { isWhollyPublic ? trainings.map(\.assumedPublic) : trainings }

  /// Whether it is known that the training and this run have no record in common.
  private func isApart(_ training: EarlierTraining) -> Bool { training.runID.flatMap { sharesRecord[$0] } == false }

  /// Whether it is known that they have one.
  private func isShared(_ training: EarlierTraining) -> Bool { training.runID.flatMap { sharesRecord[$0] } == true }

  /// Whether what the training has seen counts as these records: also where that isn't known. What an earlier run took for granted was of its own
  /// records; it is taken over for these unless it is known to be wrong.
  private func counts(_ training: EarlierTraining) -> Bool {
    !isWhollyPublic && (training.isAssumedPublic == true ? isShared(training) : !isApart(training))
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
    let adapters = hasAdapter ? Array((adapterStatement ?? "none").utf8) : []
    return Array((statement ?? "none").utf8) + adapters + Array(trainings) + Array(" \(exposesRecords)".utf8)
  }

  /// What is to be said of it, a line each.
  func warnings(userSpent: [DPSGDPhase]) -> [String] {
    var warnings: [String] = []
    if isPublic {
      let contradiction = "; the data of its trainings say otherwise: records are in both, and for them the guarantee doesn't hold"
      warnings.append(
        "--base-is-public: it is taken for granted, not checked, that the start model has seen none of these records"
          + (isWhollyPublic && trainings.contains(where: isShared) ? contradiction : ""))
      if isWhollyPublic { return warnings }
    }
    let parts = [
      ("start model", statement == nil && !isPublic), ("adapter that training started with", hasAdapter && adapterStatement == nil),
    ]
    if hasAdapter, adapterStatement != nil, baseDigest == nil {
      warnings.append("the adapter's privacy.json doesn't say beside which model it was trained: that it was this one isn't checked")
    }
    for (part, _) in parts.filter(\.1) {
      warnings.append(
        "the \(part)'s own training isn't covered, and no privacy.json says what it was: if it used these records, epsilon is larger than stated")
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
  case incomplete(path: String, missing: String, mayBePublic: Bool)

  var description: String {
    switch self {
    case .damaged(let path, let reason):
      "\(path): is no statement of privacy: \(reason); without it what the start model has spent isn't known"
    case .incomplete(let path, let missing, let mayBePublic):
      "\(path): doesn't say \(missing): what the start model has spent isn't known; --spent q:sigma:steps says it"
        + (mayBePublic ? ", or --base-is-public that it has seen none of these records" : "")
    }
  }
}
