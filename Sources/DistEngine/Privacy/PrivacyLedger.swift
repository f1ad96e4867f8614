import PrivacyAccounting

/// Counts the steps that a run has been charged for, and refuses the one that would exceed its budget.
///
/// A step is charged before it draws its batch, and the charge is on disk before anything that the step makes can be seen: a
/// run that is killed has lost no charge, at most it was charged for a step that never ended.
package struct PrivacyLedger: ~Copyable {
  package enum Refusal: UserError, Equatable {
    case budgetSpent(steps: Int)

    package var description: String {
      switch self {
      case .budgetSpent(let steps): "the privacy budget allows \(steps) steps and all of them are spent"
      }
    }
  }

  package private(set) var chargedSteps: Int
  /// The most steps that stay within the budget.
  package let allowedSteps: Int
  private let privacy: PrivacyParameters
  private let runID: String
  private var log: DurableLog?

  /// - Parameters:
  ///   - runID: whose charges they are.
  ///   - allowedSteps: by the accountant, those charged before among them.
  ///   - chargedSteps: of the run before it was cut off, whether they are in its model or lost.
  ///   - log: where charges are written, on the one rank that writes them; nil keeps them in memory (a run without output).
  package init(_ privacy: PrivacyParameters, runID: String, allowedSteps: Int, chargedSteps: Int = 0, log: consuming DurableLog?) {
    self.privacy = privacy
    self.runID = runID
    self.chargedSteps = chargedSteps
    self.allowedSteps = allowedSteps
    self.log = log
  }

  /// Whether another step stays within the budget.
  package var hasBudget: Bool { chargedSteps < allowedSteps }

  /// Enters one step, 0-based.
  ///
  /// - Throws: ``Refusal`` when it would exceed the budget; an error of the file when it can't be written. Either way the step
  ///   must not run.
  package mutating func charge(step: Int) throws {
    guard hasBudget else { throw Refusal.budgetSpent(steps: chargedSteps) }
    try log?.append(Self.line("\(step)", privacy, runID))
    chargedSteps += 1
  }

  /// Opens the log of charges. A last line that was being written when a run was cut off counts: its step may have begun.
  package static func log(path: String, _ privacy: PrivacyParameters, runID: String) throws -> DurableLog {
    try DurableLog(path: path, completingTornLineAs: line("null", privacy, runID))
  }

  /// What of a charge tells whose it is.
  package struct Charge: Decodable, Equatable, Sendable {
    package let runID: String
    package let expectedBatchSize, datasetSize: Int
    package let noiseMultiplier: Double

    package init(runID: String, expectedBatchSize: Int, datasetSize: Int, noiseMultiplier: Double) {
      (self.runID, self.expectedBatchSize, self.datasetSize, self.noiseMultiplier) = (runID, expectedBatchSize, datasetSize, noiseMultiplier)
    }

    private enum CodingKeys: String, CodingKey {
      case runID = "run_id"
      case expectedBatchSize = "expected_batch_size"
      case datasetSize = "dataset_size"
      case noiseMultiplier = "noise_multiplier"
    }
  }

  private static func line(_ step: String, _ privacy: PrivacyParameters, _ runID: String) -> String {
    "{\"run_id\":\"\(runID)\",\"step\":\(step),\"expected_batch_size\":\(privacy.expectedBatchSize),\"dataset_size\":\(privacy.datasetSize),"
      + "\"sampling_rate\":\(privacy.samplingRate),\"noise_multiplier\":\(privacy.noiseMultiplier)}"
  }
}
