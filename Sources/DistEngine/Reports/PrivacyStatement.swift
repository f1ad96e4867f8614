import PrivacyAccounting

/// What a run may claim, and what it may not: `privacy.json`.
package struct PrivacyStatement: Encodable, Sendable {
  package let epsilon: ExtendedReal
  /// Lower bound of ε where the accountant has one.
  package let epsilonLower: ExtendedReal?
  package let delta: Double?
  package let unit: String
  /// The most records of a unit that take part in a step; nil where a unit is one record.
  package let maxRecordsPerUnit: Int?
  package let relation: String
  package let sampler: String
  package let samplingRate: Double
  package let datasetSize: Int
  package let expectedBatchSize: Int
  package let noiseMultiplier: Double
  package let maxGradNorm: Double?
  package let clipping: String?
  let precision: Precision
  /// What the noise is scaled for beyond C: see docs/privacy.md, "Rounding".
  package let roundingMargin: Double?
  package let steps: Int
  package let accountant: String?
  let trainable: TrainableParameters
  /// nil: none.
  let adapter: AdapterClaim?
  /// What was trained on the records, and what the guarantee therefore is of.
  package let scope: String
  /// What was composed into ε beside this run's own steps: of the start model's training, and `--spent`.
  let spent: [DPSGDPhase]
  let runID: String
  /// nil for new parameters.
  let startModel: StartModelClaim?
  let baseIsPublic: Bool
  /// The trainings that the start model has been through, and what `--spent` says, which was on this run's data: what a run that starts from
  /// this one's model has to know.
  let history: [EarlierTraining]
  /// Whether ε and δ hold: false for `standard`, for σ = 0, where the noise can be reproduced, and where the start model isn't private for
  /// these records.
  package let isPrivate: Bool
  package private(set) var warnings: [String]

  enum CodingKeys: String, CodingKey {
    case epsilon, delta, unit, relation, sampler, clipping, precision, steps, accountant, trainable, adapter, scope, warnings, spent, history
    case runID = "run_id"
    case maxRecordsPerUnit = "max_records_per_unit"
    case startModel = "start_model"
    case baseIsPublic = "base_is_public"
    case epsilonLower = "epsilon_lower"
    case samplingRate = "sampling_rate"
    case datasetSize = "dataset_size"
    case expectedBatchSize = "expected_batch_size"
    case noiseMultiplier = "noise_multiplier"
    case maxGradNorm = "max_grad_norm"
    case roundingMargin = "rounding_margin"
    case isPrivate = "private"
  }

  /// - Parameters:
  ///   - steps: charged so far, or all that a run may be charged for.
  /// - Throws: `AccountingError` where no ε can be computed.
  package init(_ setup: TrainingSetup, steps: Int) throws {
    let privacy = setup.privacy
    let bounds = try privacy?.epsilons(after: [steps], target: setup.targetEpsilon).first
    // Of a start model that has seen these records without privacy no ε is left to state.
    let isExposed = setup.provenance.start?.exposesRecords ?? false
    epsilon = ExtendedReal(value: isExposed ? .infinity : bounds?.upper ?? .infinity)
    epsilonLower = isExposed ? nil : bounds?.lower.map(ExtendedReal.init(value:))
    delta = privacy?.delta
    unit = setup.configuration.unitDescription
    maxRecordsPerUnit = setup.configuration.unitField == nil ? nil : setup.configuration.maxRecordsPerUnit
    relation = NeighbouringRelation.addOrRemoveOne.rawValue
    sampler = setup.configuration.sampler.rawValue
    samplingRate = Double(setup.configuration.batchSize) / Double(setup.datasetSize)
    datasetSize = setup.datasetSize
    expectedBatchSize = setup.configuration.batchSize
    noiseMultiplier = privacy?.noiseMultiplier ?? 0
    maxGradNorm = privacy?.maxGradNorm
    clipping = privacy?.clipping.rawValue
    precision = setup.configuration.precision ?? .f32
    roundingMargin = privacy == nil ? nil : ClippedGradientSum.roundingMargin(expectedBatchSize: expectedBatchSize)
    self.steps = steps
    accountant = privacy?.accountant.rawValue
    (trainable, adapter) = (setup.configuration.trainable, AdapterClaim(setup.model))
    scope = Self.scope(trainable, adapter)
    isPrivate = Self.isPrivate(setup)
    spent = privacy?.spent ?? []
    (runID, startModel) = (setup.provenance.runID, setup.provenance.start.map(StartModelClaim.init))
    baseIsPublic = setup.configuration.baseIsPublic
    let userSpent = setup.configuration.spent
    history = (setup.provenance.start?.history ?? [])
      + (userSpent.isEmpty ? [] : [EarlierTraining(runID: runID, isPrivate: true, phases: userSpent)])
    let weak = (bounds?.upper ?? 0) > Self.weakEpsilon && (setup.targetEpsilon ?? 0) <= Self.weakEpsilon
    warnings = Self.warnings(setup) + (weak ? [Self.weakWarning] : []) + (bounds?.notes ?? [])
  }

  private static func scope(_ trainable: TrainableParameters, _ adapter: AdapterClaim?) -> String {
    let part =
      switch trainable {
      case .all: "all parameters of the model"
      case .bias: "the model's biases, and a classifier's head"
      case .head: "the model's head"
      case .lora: adapter?.words ?? "adapters"
      }
    let rest = "; no other parameter was changed, and the guarantee doesn't cover what those had seen before"
    return part + (trainable == .all ? "" : rest)
  }

  /// The statement as it is written before the first step, of all that a run may spend.
  package func ofUnfinishedRun() -> PrivacyStatement {
    var statement = self
    statement.warnings.append("written before the first step: epsilon and steps are what the whole run may spend; the ledger has what it did")
    return statement
  }

  /// ε above which the odds of any outcome may change by more than e^20, half a thousand million.
  static let weakEpsilon = 20.0
  static let weakWarning = "epsilon is above 20: it protects little"

  static func isPrivate(_ setup: TrainingSetup) -> Bool {
    hasPrivateSteps(setup) && !(setup.provenance.start?.exposesRecords ?? false)
  }

  /// Whether this run's own steps are private, whatever it started from.
  private static func hasPrivateSteps(_ setup: TrainingSetup) -> Bool {
    guard let privacy = setup.privacy else { return false }
    return privacy.noiseMultiplier > 0 && setup.configuration.seed == nil
  }

  /// Everything that the guarantee doesn't cover, a line each.
  package static func warnings(_ setup: TrainingSetup) -> [String] {
    let configuration = setup.configuration
    var warnings: [String] = []
    guard let privacy = setup.privacy else {
      return ["--mode standard: gradients are neither clipped nor noised; the model is NOT private"]
    }
    if configuration.seed != nil {
      warnings.append("--seed: reproducible, NOT private: whoever knows the seed can subtract the noise")
    }
    let margin = ClippedGradientSum.roundingMargin(expectedBatchSize: configuration.batchSize)
    if margin > 0.01 {
      warnings.append(
        "the noise is \((100 * margin).formatted(digits: 2))% above sigma C, for what rounding may do to a sum of \(configuration.batchSize) "
          + (configuration.unitField == nil ? "records" : "units"))
    }
    if privacy.noiseMultiplier == 0 { warnings.append("the noise multiplier is 0: the model is NOT private") }
    if (setup.targetEpsilon ?? 0) > weakEpsilon { warnings.append(weakWarning) }
    warnings += setup.provenance.start?.warnings(userSpent: configuration.spent) ?? []
    warnings.append(
        "run.json's counts and lengths of records, and what follows from them, are of the private data: not for release")
    if configuration.datasetSize == nil {
      warnings.append(
        "the number of training \(configuration.unitField == nil ? "records" : "units"), \(privacy.datasetSize), is treated as public (--dataset-size states another)")
    }
    let lost = setup.chargedSteps - setup.firstStep
    if lost > 0 {
      warnings.append("\(lost) of the charged steps are in no model: they were lost when the run was cut off; they count")
    }
    if setup.lastStep < setup.steps {
      warnings.append(
        "the budget ends the run after step \(setup.lastStep), \(setup.steps - setup.lastStep) short of \(setup.steps): the lost steps have used it up")
    }
    if privacy.accountant == .gdp {
      warnings.append("the gdp accountant is an approximation, not an upper bound on epsilon")
    }
    if privacy.delta >= 1 / Double(privacy.datasetSize) {
      warnings.append("delta \(privacy.delta) is not below 1/N: it permits releasing whole records")
    }
    warnings.append(
      "losses, norms, clip fractions, drawn batches and times are computed from private data without noise: they are for the operator, not for release")
    if configuration.evaluationData.isEmpty && setup.evaluation != nil {
      warnings.append("the held-out records' loss is computed without noise; the guarantee is for the training records")
    }
    warnings.append(
      "noise and sums are rounded to 32-bit floats: attacks on the noise's finite precision (Mironov 2012) aren't covered")
    return warnings
  }
}

extension PrivacyParameters {
  /// ε after each number of steps.
  ///
  /// - Parameter target: ε that σ was calibrated for, and the steps stay within: the bounds are then as fine as it takes to show it.
  func epsilons(after steps: [Int], target: Double?) throws -> [EpsilonBounds] {
    guard noiseMultiplier > 0 else {
      return try steps.map { count in
        guard count == 0 else { return EpsilonBounds(upper: .infinity) }
        return spent.isEmpty ? EpsilonBounds(upper: 0) : try Accounting.epsilon(of: spent, delta: delta, accountant: accountant)
      }
    }
    let phase = try DPSGDPhase(samplingRate: samplingRate, noiseMultiplier: noiseMultiplier, steps: steps.max() ?? 0)
    let points = try Accounting.epsilonCurve(of: [phase], delta: delta, at: steps, accountant: accountant, spent: spent)
    guard let target else { return points.map(\.bounds) }
    return try points.map { point in
      guard point.bounds.upper > target else { return point.bounds }
      let own = try DPSGDPhase(samplingRate: samplingRate, noiseMultiplier: noiseMultiplier, steps: point.steps)
      return try Accounting.calibratedEpsilon(of: spent + [own], delta: delta, accountant: accountant, targetEpsilon: target)
    }
  }
}
