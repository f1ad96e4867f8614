import DistEngine
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// One step of plain SGD at rate 1 and huge σ moves the parameters by noise alone: -(Σ clipped + N(0, (σC)² I)) / B. The records'
  /// part is at most (records drawn · C / B), some 1e-5 of it.
  ///
  /// Bounds are 5 standard errors of a normal: a false alarm in 1.7 million for each figure, and the seeds are fixed.
  @Suite struct NoiseTests {
    static let (sigma, maxGradNorm, batchSize) = (2000.0, 0.5, 4)
    static let deviation = sigma * maxGradNorm / Double(batchSize)
    static let options =
      "--batch-size \(batchSize) --noise-multiplier \(sigma) --max-grad-norm \(maxGradNorm) --accountant rdp "
      + "--optimizer sgd --learning-rate 1 --momentum 0 --weight-decay 0"

    /// -(update) in standard deviations that the noise should have.
    private func noise(_ options: String, ranks: Int? = nil, from start: [Double]) throws -> [Double] {
      let end = try TrainingRun(Self.options, options, model: Fixture.model, ranks: ranks).parameters()
      #expect(end.count == start.count)
      return zip(start, end).map { ($0 - $1) / Self.deviation }
    }

    private func start() throws -> [Double] { try TensorFile("\(Fixture.model)/model.safetensors").elements() }

    /// How many standard errors the variance of `noise` is from `expected`.
    private func varianceDeviations(_ noise: [Double], expected: Double) -> Double {
      (Statistics.moment(2, noise) / expected - 1) / (2 / Double(noise.count)).squareRoot()
    }

    @Test func noiseOfTheFinalSumHasItsVarianceOnOneTwoAndFourRanks() throws {
      let start = try start()
      var first: [Double]?
      // Two and four ranks of a node share its state unless told otherwise.
      for (ranks, sharding) in [(1, "auto"), (2, "auto"), (4, "auto"), (4, "none"), (4, "none --noise sharded"), (2, "optimizer")] {
        let noise = try noise("--seed 5 --shard \(sharding)", ranks: ranks, from: start)
        let deviations = varianceDeviations(noise, expected: 1)
        #expect(abs(deviations) < 5, "\(ranks) ranks: the variance is \(deviations) standard errors off")
        for factor in [2.0 / 3, 3.0 / 2] {
          #expect(abs(varianceDeviations(noise, expected: factor)) > 5, "a variance \(factor) times as large would pass")
        }
        for (order, deviations) in Statistics.standardNormalDeviations(noise).enumerated() {
          #expect(abs(deviations) < 5, "\(ranks) ranks: moment \(order + 1) is \(deviations) standard errors off a normal's")
        }
        if let first {
          #expect(relativeDistance(noise, first) < 1e-4, "\(ranks) ranks draw the noise that one does")
        } else {
          first = noise
        }
      }
    }

    @Test func noiseOfDifferentStepsParametersAndSeedsIsUncorrelated() throws {
      let start = try start()
      let first = try noise("--seed 5", from: start)
      let both = try noise("--seed 5 --steps 2", from: start)
      let second = zip(both, first).map { $0 - $1 }
      let other = try noise("--seed 6", from: start)
      let half = first.count / 2
      let pairs = [
        ("two steps", Statistics.correlationDeviations(first, second)),
        ("two seeds", Statistics.correlationDeviations(first, other)),
        ("neighbouring parameters", Statistics.correlationDeviations(first.dropLast(), first.dropFirst())),
        ("both halves of the parameters", Statistics.correlationDeviations(first[..<half], first[half..<(2 * half)])),
      ]
      for (what, deviations) in pairs { #expect(abs(deviations) < 5, "\(what): \(deviations) standard errors") }
      #expect(abs(varianceDeviations(second, expected: 1)) < 5, "the second step's noise is as large as the first's")
      #expect(Statistics.correlationDeviations(first, first) > 5, "the check finds equal noise")
    }

    /// What the noise of a seeded run has to be, from the seed alone: drawn with the key for noise, over B.
    private func expected(seed: UInt64, count: Int) -> [Double] {
      GaussianSource(RandomKey(seed: seed).subKey(for: .noise)).normals(step: 0, elements: 0..<count)
    }

    /// Whoever has the start model of a run without one, or has seen its batches, must not have its noise.
    @Test func noiseIsDrawnWithTheKeyForNoise() throws {
      let noise = try noise("--seed 5", from: start())
      #expect(relativeDistance(noise, expected(seed: 5, count: noise.count)) < 1e-2)
    }

    /// With q = 4 in a million the draw is empty, and says so to whoever sees that its noise is missing.
    @Test func anEmptyDrawHasItsNoise() throws {
      let noise = try noise("--seed 5 --dataset-size 1000000", from: start())
      #expect(relativeDistance(noise, expected(seed: 5, count: noise.count)) < 1e-3)
    }

    /// Neither what was drawn nor q times the records that there are: 2 would be, 4 is stated.
    @Test func theSumIsDividedByTheStatedBatch() throws {
      let noise = try noise("--seed 5 --dataset-size \(2 * Fixture.recordCount)", from: start())
      #expect(relativeDistance(noise, expected(seed: 5, count: noise.count)) < 1e-2)
    }

    /// Per-layer clipping has C/√k for each of k tensors, and the same total sensitivity; hooks have the same mechanism as ghost.
    @Test func noiseDependsOnNeitherClippingNorMode() throws {
      let start = try start()
      let reference = try noise("--seed 5", from: start)
      for options in ["--clipping per-layer", "--mode hooks --microbatch 2"] {
        #expect(try relativeDistance(noise("--seed 5 \(options)", from: start), reference) < 1e-4, "\(options)")
      }
    }

    @Test func noiseOfTwoRunsWithoutASeedDiffers() throws {
      let start = try start()
      let runs = try [1, 2].map { try noise("", ranks: $0, from: start) }
      let deviations = Statistics.correlationDeviations(runs[0], runs[1])
      #expect(abs(deviations) < 5, "\(deviations) standard errors")
      for noise in runs { #expect(abs(varianceDeviations(noise, expected: 1)) < 5) }
    }
  }
}
