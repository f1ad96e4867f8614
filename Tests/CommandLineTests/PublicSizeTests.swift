import PrivacyAccounting
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// N₀ as it was stated, not as the records were counted: in draws, σ, δ and what is reported.
  @Suite struct PublicSizeTests {
    /// With B = 1 and N₀ = 2 each of 43 records takes part in half of the steps: in 215 of 10, with a deviation of 10.4. At B over the number
    /// of records it would be 10, and of draws that are cut at 2B at most 20.
    @Test func drawsAreOfTheStatedRateAndWhole() throws {
      let run = try TrainingRun("--batch-size 1 --dataset-size 2 --noise-multiplier 1 --accountant rdp --steps 10 --seq-len 16 --seed 8")
      let drawn = try run.metrics().map(\.examples).reduce(0, +)
      #expect(abs(drawn - 215) < 62, "\(drawn) records in ten steps")
      let privacy = try run.privacy()
      #expect(privacy.samplingRate == 0.5 && privacy.delta == 0.05)
      let phase = try DPSGDPhase(samplingRate: 0.5, noiseMultiplier: 1, steps: 10)
      #expect(try privacy.epsilon.value == Accounting.epsilon(of: [phase], delta: 0.05, accountant: .rdp).upper)
      #expect(try run.object("privacy.json")["dataset_size"] as? Int == 2)
    }
  }
}
