import DistEngine
import Foundation
import PrivacyAccounting
import TestSupport
import Testing

@Suite struct PrivacyTests {
  private static let privacy = PrivacyParameters(
    clipping: .flat, maxGradNorm: 2, noiseMultiplier: 1.5, datasetSize: 1000, expectedBatchSize: 50, delta: 1e-4,
    accountant: .rdp)


  @Test func theRunStopsBeforeTheStepThatWouldExceedTheBudget() throws {
    var ledger = PrivacyLedger(Self.privacy, runID: "a", allowedSteps: 2, log: nil)
    try ledger.charge(step: 0)
    // The macro would copy the ledger, which can't be.
    var hasBudget = ledger.hasBudget
    #expect(hasBudget)
    try ledger.charge(step: 1)
    hasBudget = ledger.hasBudget
    #expect(!hasBudget)
    var refusal: PrivacyLedger.Refusal?
    do { try ledger.charge(step: 2) } catch let error as PrivacyLedger.Refusal { refusal = error }
    #expect(refusal == .budgetSpent(steps: 2))
    let charged = ledger.chargedSteps
    #expect(charged == 2)
  }

  @Test func aChargeIsOnDiskWhenItReturns() throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "ledger-\(UUID().uuidString)").path()
    defer { try? FileManager.default.removeItem(atPath: path) }
    var ledger = PrivacyLedger(Self.privacy, runID: "a", allowedSteps: 5, log: try DurableLog(path: path))
    for step in 0..<3 {
      try ledger.charge(step: step)
      let lines = try DurableLog.lines(at: path)
      #expect(lines.count == step + 1)
      let entry = try JSONSerialization.jsonObject(with: Data(lines[step].utf8)) as! [String: Any]
      #expect(entry["step"] as? Int == step && entry["run_id"] as? String == "a")
      #expect(entry["noise_multiplier"] as? Double == 1.5)
      #expect(entry["sampling_rate"] as? Double == 0.05)
    }
  }

  /// 5 standard errors of a variance: a false alarm once in 1.7 million runs, were the key not fixed.
  private static func isVariance(_ values: [Double], _ expected: Double) -> Bool {
    let variance = values.reduce(0) { $0 + $1 * $1 } / Double(values.count)
    return abs(variance - expected) < 5 * expected * (2 / Double(values.count)).squareRoot()
  }

  @Test func noiseIsSigmaTimesTheSensitivityAndAWrongScaleIsSeen() throws {
    let model = try SmallModels.configuration(tied: true, layers: 6, width: 64)
    let replica = try SmallModels.replica(.ghost, model, maxGradNorm: 2)
    let dataset = SmallModels.dataset()
    let source = GaussianSource(RandomKey(seed: 1).subKey(for: .noise))
    let mechanism = GaussianMechanism(noiseMultiplier: 1.5, expectedBatchSize: 1, source: source)
    let noises = [3, 4].map { step -> [Double] in
      _ = replica.accumulateGradients(of: [], in: dataset)
      mechanism.addNoise(to: replica.accumulator!.clippedSum!, step: step)
      return replica.gradientSum.map(Double.init)
    }
    for noise in noises {
      #expect(Self.isVariance(noise, 9))
      for wrong in [2.0 / 3, 3.0 / 2] { #expect(!Self.isVariance(noise.map { $0 * wrong.squareRoot() }, 9)) }
    }
    let products = zip(noises[0], noises[1]).map { $0 * $1 / 9 }
    let mean = products.reduce(0, +) / Double(products.count)
    #expect(abs(mean) < 5 / Double(products.count).squareRoot(), "noise of two steps is uncorrelated")
  }

  @Test func noiseIsAddedToTheSumNotInItsPlace() throws {
    let model = try SmallModels.configuration(tied: true)
    let replica = try SmallModels.replica(.ghost, model, maxGradNorm: 2)
    let dataset = SmallModels.dataset()
    _ = replica.accumulateGradients(of: 0..<dataset.count, in: dataset)
    let before = replica.gradientSum.map(Double.init)
    let source = GaussianSource(RandomKey(seed: 1).subKey(for: .noise))
    // A batch whose margin is not to be overlooked: 2⁻²⁵ · 2¹⁶ · 2⁸.
    GaussianMechanism(noiseMultiplier: 0.5, expectedBatchSize: 65_536, source: source).addNoise(to: replica.accumulator!.clippedSum!, step: 9)
    let expected = zip(before, source.normals(step: 9, elements: 0..<before.count)).map { $0 + 0.5 * 2 * 1.5 * $1 }
    #expect(relativeDistance(replica.gradientSum.map(Double.init), expected) < 1e-6)
  }

  @Test func standardGradientsHaveNoClippedSum() throws {
    let replica = try SmallModels.replica(.standard, SmallModels.configuration(tied: true))
    #expect(replica.accumulator!.clippedSum == nil)
  }
}
