import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// The short form of the campaign (Tests/FaultCampaign); `make fault-campaign` is the long one.
  @Suite struct FaultCampaignTests {
    @Test func runsSurviveFortyRandomFaults() throws {
      let outcome = try MPILauncher(built: "FaultCampaign").run(["--faults", "40", "--seed", "40"], ranks: nil, timeout: .seconds(1200))
      #expect(outcome.status == 0, "\(outcome.status): \(outcome.standardOutput) \(outcome.standardError)")
      #expect(outcome.outputLines.last?.hasSuffix(" 0 failures") == true, "\(outcome.standardOutput)")
    }
  }
}
