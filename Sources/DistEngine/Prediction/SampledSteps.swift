/// Some steps as a run would draw them, by a key that no run has: what each rank would compute.
package struct SampledSteps {
  private let setup: TrainingSetup
  private let choice: RecordChoice
  /// Units of each step, over all ranks.
  private let draws: [[Int]]
  /// What a rank takes to draw a step's units.
  package let secondsOfDraw: Double

  /// The most steps, and units in all of them.
  private static let mostSteps = 24
  private static let mostUnits = 1 << 17

  package init(_ setup: TrainingSetup) throws {
    self.setup = setup
    let configuration = setup.configuration
    // Of no run: a run's key is the operating system's, or derived from a seed that people choose.
    let key = RandomKey(seed: .max)
    choice = RecordChoice(most: configuration.maxRecordsPerUnit, random: CounterRandom(key.subKey(for: .records)))
    let steps = min(Self.mostSteps, max(3, Self.mostUnits / configuration.batchSize))
    let draw: (Int) -> [Int]
    switch configuration.sampler {
    case .poisson:
      let sampler = try PoissonSampler(
        expectedBatchSize: configuration.batchSize, datasetSize: setup.datasetSize, random: CounterRandom(key.subKey(for: .sampling)))
      draw = { sampler.draw(step: $0, unitCount: setup.training.unitCount) }
    case .shuffle:
      var sampler = try ShuffleSampler(
        batchSize: configuration.batchSize, unitCount: setup.training.unitCount, random: CounterRandom(key.subKey(for: .shuffle)))
      draw = { sampler.draw(step: $0) }
    }
    var (draws, seconds): ([[Int]], [Double]) = ([], [])
    for step in 0..<steps {
      let start = ContinuousClock.now
      draws.append(draw(step))
      seconds.append((ContinuousClock.now - start).seconds)
    }
    (self.draws, secondsOfDraw) = (draws, Self.median(seconds))
  }

  package var count: Int { draws.count }

  /// The middle one; of an even number the mean of two.
  private static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    return sorted.isEmpty ? 0 : (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
  }

  /// What a rank would compute of a step.
  package func batches(step: Int, rank: Int, ranks: Int) -> ModelReplica.Batches {
    setup.plan.batches(of: EvenShare.of(draws[step], rank: rank, ranks: ranks), in: setup.training, choice: choice, step: step)
  }
}

extension SampledSteps {
  /// What the ranks of a job do until their sums are made, in seconds, and how often they meet meanwhile: medians over the steps.
  package struct Work: Sendable, Equatable {
    /// A rank's passes, on average.
    package var mean: Double
    /// Those of the ranks that the others wait for.
    package var slowest: Double
    /// Microbatches of the rank that has most.
    package var microbatches: Double
    /// Of the last microbatch of the rank that the others wait for: while its sum becomes final (``MicrobatchTimes/finalPart``).
    package var final: Double

    package init(mean: Double, slowest: Double, microbatches: Double, final: Double) {
      (self.mean, self.slowest, self.microbatches, self.final) = (mean, slowest, microbatches, final)
    }
  }

  /// - Parameters:
  ///   - ranksPerNode: of each node; the last one may have fewer.
  ///   - meetsInMicrobatches: whether the ranks of a node meet within each microbatch (``ShardPlan/exchangesByLayer``).
  package func work(ranks: Int, ranksPerNode: Int, meetsInMicrobatches: Bool, times: MicrobatchTimes) -> Work {
    let steps = (0..<count).map { step in
      let shares = (0..<ranks).map { batches(step: step, rank: $0, ranks: ranks) }
      let byRank = shares.map { share in
        (share.large.flatMap(\.parts).map { $0.map { [$0] } ?? [] } + share.microbatches).map { times.seconds(of: $0, in: setup.training) }
      }
      let alone = byRank.map { $0.reduce(0, +) }
      let together = stride(from: 0, to: ranks, by: ranksPerNode).map { first -> Double in
        let node = first..<min(ranks, first + ranksPerNode)
        guard meetsInMicrobatches else { return alone[node].max() ?? 0 }
        let most = byRank[node].map(\.count).max() ?? 0
        // They meet at every layer, and wait for whoever has the largest microbatch.
        return (0..<most).reduce(0) { sum, place in sum + (byRank[node].compactMap { place < $0.count ? $0[place] : nil }.max() ?? 0) }
      }
      return Work(
        mean: alone.reduce(0, +) / Double(ranks), slowest: together.max() ?? 0, microbatches: Double(byRank.map(\.count).max() ?? 0),
        final: secondsOfFinalSums(shares, byRank.map(\.count), alone, ranksPerNode: meetsInMicrobatches ? ranksPerNode : nil, times: times))
    }
    return Work(
      mean: Self.median(steps.map(\.mean)), slowest: Self.median(steps.map(\.slowest)),
      microbatches: Self.median(steps.map(\.microbatches)), final: Self.median(steps.map(\.final)))
  }

  /// Of one step, ``Work/final``.
  ///
  /// - Parameter ranksPerNode: of ranks that meet within each microbatch: those with fewer have an empty one when the last is taken. nil: they don't, and
  ///   whoever takes longest is the last.
  private func secondsOfFinalSums(
    _ shares: [ModelReplica.Batches], _ counts: [Int], _ alone: [Double], ranksPerNode: Int?, times: MicrobatchTimes
  ) -> Double {
    let last: [Int] =
      if let ranksPerNode {
        shares.indices.filter { rank in
          let first = rank / ranksPerNode * ranksPerNode
          return counts[rank] == counts[first..<min(shares.count, first + ranksPerNode)].max()
        }
      } else { alone.indices.max { alone[$0] < alone[$1] }.map { [$0] } ?? [] }
    return last.compactMap { shares[$0].microbatches.last }.map { units in
      times.seconds(of: units, in: setup.training) * (times.finalPart[times.course(units: units.count)] ?? 0)
    }.max() ?? 0
  }
}
