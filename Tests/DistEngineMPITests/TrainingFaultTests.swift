import DistEngine
import Foundation
import TestSupport
import Testing

/// The order of what a run does, seen where one part of it fails.
@Suite(.serialized) struct TrainingFaultTests {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private func check(_ scenario: String, ranks: Int?) throws -> MPILauncher.Outcome {
    let records = try directory.file("records.txt", "one\ntwo\nthree\nfour\nfive\n")
    return try MPILauncher(built: "MPIChecks").run([scenario, records, "\(directory.path)/run"], ranks: ranks)
  }

  @Test func driftingParametersEndTheRun() throws {
    let outcome = try check("drifting-parameters", ranks: 2)
    #expect(outcome.status == ExitStatus.internalError, "\(outcome.standardError)")
    #expect(outcome.errorLines.count == 1 && outcome.errorLines[0].contains("parameters differ after step 1"), "\(outcome.errorLines)")
  }

  @Test func theStatementIsThereBeforeTheFirstStepAndBeforeTheModel() throws {
    let outcome = try check("statement-first", ranks: nil)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines.first == "statement before the first step: true")
    #expect(outcome.outputLines.dropFirst().first?.contains("privacy.json") == true, "\(outcome.outputLines)")
    #expect(outcome.outputLines.last == "model without a statement: false")
  }

  @Test func aStepThatIsNotChargedChangesNothing() throws {
    let outcome = try check("charge-first", ranks: nil)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines.first?.contains("ledger.jsonl") == true, "\(outcome.outputLines)")
    #expect(outcome.outputLines.last == "moved without a charge: false")
  }
}
