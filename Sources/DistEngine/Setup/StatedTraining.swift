import Foundation
import PrivacyAccounting

/// A `privacy.json` as it was found.
struct StatedTraining {
  struct Stated: Decodable {
    let isPrivate: Bool
    let runID: String?
    let baseIsPublic: Bool?
    let samplingRate, noiseMultiplier: Double?
    let steps: Int?
    let spent: [DPSGDPhase]?
    let history: [EarlierTraining]?
    let unit, relation, sampler: String?
    let warnings: [String]?
    let startModel: StartModel?

    struct StartModel: Decodable {
      struct Statement: Decodable {
        let isPrivate: Bool?

        enum CodingKeys: String, CodingKey { case isPrivate = "private" }
      }

      let sha256: String?
      /// As it was when the run began.
      let statement: Statement?
    }

    enum CodingKeys: String, CodingKey {
      case steps, spent, history, unit, relation, sampler, warnings
      case isPrivate = "private"
      case startModel = "start_model"
      case runID = "run_id"
      case baseIsPublic = "base_is_public"
      case samplingRate = "sampling_rate"
      case noiseMultiplier = "noise_multiplier"
    }
  }

  let text: String
  /// All that it says.
  let fields: [String: JSONValue]
  let stated: Stated
  /// Of the run that starts from it.
  private let unit: String

  /// nil where there is no such file.
  ///
  /// - Throws: where it is there and no statement.
  init?(path: String, unit: String = "record") throws {
    self.unit = unit
    var status = stat()
    guard lstat(path, &status) == 0 || errno != ENOENT else { return nil }
    let bytes = try FileBytes.read(path)
    do {
      fields = try JSONScanner.parse(file: bytes).object ?? [:]
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

  /// The trainings before the run's own. A statement without a history has them all in `spent`.
  var earlier: [EarlierTraining] {
    let (history, spent) = (stated.history ?? [], stated.spent ?? [])
    return history.isEmpty && !spent.isEmpty ? [EarlierTraining(runID: nil, isPrivate: true, phases: spent)] : history
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
