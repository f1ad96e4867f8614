import DistEngine
import Foundation
import PrivacyAccounting
import TestSupport
import Testing

/// What a run decides before it starts, and what it says of itself.
@Suite struct StatementTests {
  private static let directory = try! TemporaryDirectory()
  private static let records = try! directory.file("records.txt", (0..<43).map { "record \($0)\n" }.joined())

  /// 43 records, B = 6, σ = 1, 20 steps.
  private func setup(_ change: (inout TrainingConfiguration) -> Void = { _ in }) throws -> TrainingSetup {
    var configuration = TrainingConfiguration()
    (configuration.data, configuration.batchSize, configuration.length) = ([Self.records], 6, .steps(20))
    (configuration.noise, configuration.accountant) = (.multiplier(1), .rdp)
    change(&configuration)
    return try TrainingSetup(
      alone: configuration, topology: NodeTopology(rank: 0, nodeOfRank: [0], hosts: [""]), ranksPerNode: 1)
  }

  private func epsilon(rate: Double, noise: Double, steps: Int, delta: Double) throws -> Double {
    let phase = try DPSGDPhase(samplingRate: rate, noiseMultiplier: noise, steps: steps)
    return try Accounting.epsilon(of: [phase], delta: delta, accountant: .rdp).upper
  }

  @Test func epsilonIsThatOfTheStatedIntegers() throws {
    let statement = try PrivacyStatement(setup { $0.datasetSize = 1000 }, steps: 20)
    #expect(try statement.epsilon.value == epsilon(rate: 6.0 / 1000, noise: 1, steps: 20, delta: 1e-4))
    #expect(statement.delta == 1e-4 && statement.samplingRate == 6.0 / 1000 && statement.datasetSize == 1000)
    #expect(statement.expectedBatchSize == 6 && statement.steps == 20 && statement.isPrivate)
  }

  @Test func sigmaIsCalibratedForTheStatedRate() throws {
    let setup = try setup { ($0.datasetSize, $0.noise) = (1000, .targetEpsilon(0.5)) }
    let privacy = try #require(setup.privacy)
    let spent = try epsilon(rate: 6.0 / 1000, noise: privacy.noiseMultiplier, steps: 20, delta: 1e-4)
    #expect(spent <= 0.5 && spent > 0.49, "\(spent)")
    #expect(setup.allowedSteps == 20)
  }

  @Test func epochsAreRoundedUp() throws {
    #expect(try setup { $0.length = .epochs(1) }.steps == 8, "43 records in batches of 6")
    #expect(try setup { ($0.length, $0.datasetSize) = (.epochs(2), 60) }.steps == 20)
    #expect(try setup { $0.length = .epochs(0.01) }.steps == 1)
  }

  @Test func theStatedSizeIsUsed() throws {
    let setup = try setup { $0.datasetSize = 1000 }
    #expect(setup.datasetSize == 1000 && setup.training.count == 43)
    #expect(setup.privacy?.datasetSize == 1000 && setup.privacy?.samplingRate == 6.0 / 1000)
    #expect(!PrivacyStatement.warnings(setup).contains { $0.contains("--dataset-size") })
    #expect(try PrivacyStatement.warnings(self.setup()).contains { $0.contains("43") && $0.contains("--dataset-size") })
  }

  /// With --unit, N₀, B and q count units.
  @Test func unitsAreWhatIsCounted() throws {
    let lines = (0..<43).map { "{\"text\": \"record \($0)\", \"who\": \($0 % 9)}\n" }.joined()
    let file = try Self.directory.file("units.jsonl", lines)
    let setup = try setup { ($0.data, $0.unitField, $0.maxRecordsPerUnit) = ([file], "who", 3) }
    #expect(setup.training.count == 43 && setup.training.unitCount == 9)
    #expect(setup.datasetSize == 9 && setup.privacy?.samplingRate == 6.0 / 9 && setup.privacy?.delta == 1.0 / 90)
    let statement = try PrivacyStatement(setup, steps: 20)
    #expect(statement.unit == "all records of the same who" && statement.maxRecordsPerUnit == 3)
    #expect(statement.warnings.contains { $0.contains("training units, 9") })
    #expect(try self.setup { ($0.data, $0.unitField, $0.datasetSize) = ([file], "who", 50) }.datasetSize == 50)
    #expect(isRefused("--max-records-per-unit") { $0.maxRecordsPerUnit = 3 })
    #expect(isRefused("--max-records-per-unit") { ($0.unitField, $0.maxRecordsPerUnit) = ("who", 0) })
  }

  private func says(_ text: String, steps: Int = 20, _ change: (inout TrainingConfiguration) -> Void) throws -> Bool {
    try PrivacyStatement(setup(change), steps: steps).warnings.contains { $0.contains(text) }
  }

  @Test func aDeltaThatReleasesRecordsIsSaid() throws {
    #expect(try says("releasing whole records") { $0.targetDelta = 1.0 / 43 })
    #expect(try says("releasing whole records") { ($0.targetDelta, $0.datasetSize) = (0.002, 1000) })
    #expect(try !says("releasing whole records") { $0.targetDelta = 1.0 / 44 })
  }

  @Test func anEpsilonThatProtectsLittleIsSaid() throws {
    #expect(try says("protects little") { $0.noise = .multiplier(0.3) })
    #expect(try says("protects little") { $0.noise = .targetEpsilon(21) })
    #expect(try !says("protects little") { _ in })
  }

  @Test func noiseThatIsMuchLargerForRoundingIsSaid() throws {
    let large: (inout TrainingConfiguration) -> Void = { ($0.batchSize, $0.datasetSize) = (8192, 1_000_000) }
    #expect(try says("above sigma C", large))
    #expect(try !says("above sigma C") { _ in })
    #expect(try PrivacyStatement(setup(large), steps: 1).roundingMargin == 0x1p-25 * 8192 * 8192.0.squareRoot())
    #expect(try PrivacyStatement(setup { _ in }, steps: 1).roundingMargin == 0x1p-12)
  }

  @Test func whatIsNotPrivateSaysSo() throws {
    for change: (inout TrainingConfiguration) -> Void in [
      { $0.seed = 4 }, { $0.noise = .multiplier(0) }, { ($0.mode, $0.noise) = (.standard, nil) },
    ] {
      #expect(try !PrivacyStatement(setup(change), steps: 20).isPrivate)
      #expect(try says("NOT private", change))
    }
    #expect(try !says("NOT private") { _ in })
  }

  @Test func theStartModelsOwnTrainingIsSaidNotToBeCovered() throws {
    let model = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/gpt2-tiny/model").path(percentEncoded: false)
    #expect(try says("start model's own training") { $0.model = model })
    #expect(try !says("start model's own training") { _ in })
  }

  @Test func aStatementBeforeTheFirstStepSaysThatItIs() throws {
    let statement = try PrivacyStatement(setup(), steps: 20).ofUnfinishedRun()
    #expect(statement.warnings.contains { $0.contains("before the first step") })
  }

  // MARK: What is refused whatever the data

  private func isRefused(_ option: String, _ change: (inout TrainingConfiguration) -> Void) -> Bool {
    var configuration = TrainingConfiguration()
    change(&configuration)
    do {
      try configuration.validate()
      return false
    } catch { return error.description.contains(option) }
  }

  @Test func aShuffledBatchIsNotAccountedAsASample() {
    #expect(isRefused("--sampler shuffle") { $0.sampler = .shuffle })
    #expect(!isRefused("--sampler shuffle") { ($0.sampler, $0.mode) = (.shuffle, .standard) })
  }

  @Test func numbersThatMeanNothingAreRefused() {
    for delta in [0, 1, 2, -0.1, Double.nan] { #expect(isRefused("--target-delta") { $0.targetDelta = delta }) }
    for noise in [-1, Double.nan, .infinity] { #expect(isRefused("--noise-multiplier") { $0.noise = .multiplier(noise) }) }
    for epsilon in [0, -1, Double.nan, .infinity] { #expect(isRefused("--target-epsilon") { $0.noise = .targetEpsilon(epsilon) }) }
    for size in [0, -3] { #expect(isRefused("--dataset-size") { $0.datasetSize = size }) }
  }

  @Test func aBoundWhoseSquareUnderflowsIsRefused() {
    for bound in [0, 1e-24, 1e-13, 1e13, Double.nan, .infinity] { #expect(isRefused("--max-grad-norm") { $0.maxGradNorm = bound }) }
    for bound in [1e-12, 1, 1e12] { #expect(!isRefused("--max-grad-norm") { $0.maxGradNorm = bound }) }
  }
}
