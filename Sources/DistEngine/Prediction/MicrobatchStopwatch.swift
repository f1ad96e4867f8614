/// Times microbatches of the model asked for, on reduced ones: the program's own passes, norms, factors and sums, on records of the run's data, by as
/// many ranks at once as share a node.
struct MicrobatchStopwatch {
  /// What is timed.
  struct Sample {
    let course: MicrobatchTimes.Course
    let units: [DrawnUnit]
    let dataset: TokenizedDataset

    var rows: Int { units.reduce(0) { $0 + dataset.targetCount(of: $1) } }
  }

  private let setup: TrainingSetup
  private let norms: [NormTiming]
  private let ranks: RanksAtOnce
  private let reduced: ReducedModels
  private let plans: [ReplicaPlan]
  /// Places in `plans` of those that are in memory together.
  private let groups: [[Int]]

  /// Seconds of all passes together, as far as the first round of them leaves a choice.
  private static let limit = 5.0
  private static let mostRounds = 40
  /// Bytes that the models may take.
  private static let mostBytes = 4 << 30

  /// - Parameter norms: as the plan timed them; empty where the shape alone decides.
  /// - Throws: ``TrainingError/notEnoughMemory(_:)`` where a few blocks are too much.
  init(_ setup: TrainingSetup, norms: [NormTiming], ranks: RanksAtOnce) throws {
    (self.setup, self.norms, self.ranks) = (setup, norms, ranks)
    let limit = min(Self.mostBytes, (AvailableMemory.current.byteCount ?? .max) / 2)
    var smallest = Int.max
    for blocks in [nil, 2] as [Int?] {
      let reduced = blocks.map { ReducedModels(setup.model, blocks: $0) } ?? ReducedModels(setup.model)
      let plans = reduced.models.map { Self.plan($0, like: setup.plan) }
      let bytes = plans.map { $0.byteCount * ranks.count }
      let together = bytes.reduce(0, +) <= limit
      smallest = min(smallest, bytes.max() ?? 0)
      guard together || blocks != nil && smallest <= limit else { continue }
      (self.reduced, self.plans) = (reduced, plans)
      groups = together ? [Array(plans.indices)] : plans.indices.map { [$0] }
      return
    }
    throw TrainingError.notEnoughMemory(
      "can't be timed: a few blocks of the model need \(smallest >> 20) MB for \(ranks.count == 1 ? "a rank" : "\(ranks.count) ranks"), and "
        + "\(limit >> 20) MB are taken for it at most; without --time and --link plan says the rest")
  }

  private static func plan(_ model: ModelConfiguration, like plan: ReplicaPlan) -> ReplicaPlan {
    ReplicaPlan(
      model: model, mode: plan.mode, clipping: plan.clipping, maxGradNorm: plan.maxGradNorm, capacity: plan.capacity, recompute: plan.recompute,
      optimizer: nil, trainable: plan.trainable, threads: plan.threads, products: plan.products,
      choices: .init(logits: plan.declaration.policy.logits, keepsOnlyExample: plan.choices.keepsOnlyExample))
  }

  /// For people.
  var description: String { reduced.description }

  /// - Parameter samples: what microbatches of the run there are; shorter ones are timed where these would take too long.
  func times(of samples: [Sample]) throws -> MicrobatchTimes {
    let trial = Sample.synthetic([min(64, setup.plan.capacity.unitRows, setup.plan.capacity.positions)], course: .only, setup)
    // Where next to nothing is drawn.
    var samples = samples.isEmpty ? [trial] : samples
    var seconds: [[Double]] = []
    for group in groups {
      let replicas = try group.map(replicas)
      // What is first touched is not timed. Then how fast the machine is.
      let rate = replicas.indices.map { index in
        _ = pass(trial, replicas[index])
        return flops(plans[group[index]], trial) / pass(trial, replicas[index]).max()! * ranks.processorPart
      }.max()!
      if seconds.isEmpty {
        samples = affordable(samples, rate: rate)
        seconds = samples.map { _ in [] }
      }
      for (sample, times) in time(samples, replicas, limit: Self.limit / Double(groups.count)).enumerated() { seconds[sample] += times }
    }
    var times = MicrobatchTimes(setup.plan)
    for (sample, own) in zip(samples, seconds) {
      times[sample.course].append(.init(rows: sample.rows, seconds: reduced.seconds(own)))
    }
    return times
  }

  /// One for each rank at once, of random parameters.
  private func replicas(_ place: Int) throws -> [ModelReplica] {
    let plan = plans[place]
    let heads = zip(setup.model.headShapes, plan.configuration.headShapes)
    let choice = norms.isEmpty ? NormChoice.byShape : .timed(norms + heads.compactMap { shape, own in norms.first { $0.shape == shape }?.applied(to: own) })
    let source = GaussianSource(RandomKey(seed: 1).subKey(for: .initialisation))
    let replicas = try (0..<ranks.count).map { _ in try ModelReplica(plan, norms: choice) }
    _ = ranks.seconds { rank in
      plan.table.initialise(trained: replicas[rank].parameters, frozen: replicas[rank].frozen, from: source)
    }
    return replicas
  }

  /// Each rank's seconds.
  private func pass(_ sample: Sample, _ replicas: [ModelReplica]) -> [Double] {
    ranks.seconds { replicas[$0].takeMicrobatch(sample.units, of: sample.dataset) }
  }

  /// Means by sample and model, which alternate, of the slowest rank.
  private func time(_ samples: [Sample], _ models: [[ModelReplica]], limit: Double) -> [[Double]] {
    var times = samples.map { _ in models.map { _ in [[Double]]() } }
    let start = ContinuousClock.now
    var longest = 0.0
    for _ in 0..<Self.mostRounds {
      let before = (ContinuousClock.now - start).seconds
      guard before + longest <= limit else { break }
      for sample in samples.indices {
        for model in models.indices { times[sample][model].append(pass(samples[sample], models[model])) }
      }
      longest = max(longest, (ContinuousClock.now - start).seconds - before)
    }
    return times.map { $0.map(RanksAtOnce.slowest) }
  }

  /// Where one round of the samples would take too long, shorter ones, two of each course.
  ///
  /// - Parameter rate: flops a second.
  private func affordable(_ samples: [Sample], rate: Double) -> [Sample] {
    let seconds = samples.reduce(0.0) { sum, sample in plans.reduce(sum) { $0 + flops($1, sample) / rate } }
    guard seconds > Self.limit / 2 else { return samples }
    let part = Self.limit / 2 / seconds
    return MicrobatchTimes.Course.allCases.flatMap { course -> [Sample] in
      let own = samples.filter { $0.course == course }
      guard let longest = own.map(\.rows).max() else { return [] }
      let rows = max(16, min(longest, Int(Double(longest) * part * Double(own.count) / 1.25)))
      return [rows, rows / 4].map { rows in
        let capacity = setup.plan.capacity
        let (rows, longest) = (min(rows, capacity.rows), min(capacity.unitRows, capacity.positions))
        let count = course == .only || capacity.units == 1 ? 1 : min(capacity.units, max(2, (rows - 1) / longest + 1))
        return .synthetic([Int](repeating: min(longest, max(1, rows / count)), count: count), course: course, setup)
      }
    }
  }

  private func flops(_ plan: ReplicaPlan, _ sample: Sample) -> Double {
    plan.configuration.trainingFlops(targets: sample.rows, trainable: plan.trainable)
  }
}

extension MicrobatchStopwatch.Sample {
  /// Records of so many rows.
  fileprivate static func synthetic(_ lengths: [Int], course: MicrobatchTimes.Course, _ setup: TrainingSetup) -> Self {
    Self(
      course: course, units: lengths.indices.map { DrawnUnit(unit: $0, records: [$0]) },
      dataset: .synthetic(lengths: lengths, labels: setup.model.labels?.count))
  }
}

extension SampledSteps {
  /// Microbatches of the steps that stand for all: of each course the one with fewest rows, the one with most, and one as most of the rows are in.
  ///
  /// - Parameters:
  ///   - ranks: of the job, for which the usual one is.
  ///   - mostRanks: among which shares are smallest.
  func samples(ranks: Int, mostRanks: Int, times: MicrobatchTimes, dataset: TokenizedDataset) -> [MicrobatchStopwatch.Sample] {
    func all(_ ranks: Int) -> [MicrobatchStopwatch.Sample] {
      (0..<count).flatMap { step in
        (0..<ranks).flatMap { rank in
          let batches = batches(step: step, rank: rank, ranks: ranks)
          return (batches.large.flatMap(\.parts).compactMap { $0.map { [$0] } } + batches.microbatches).map { units in
            MicrobatchStopwatch.Sample(course: times.course(units: units.count), units: units, dataset: dataset)
          }
        }
      }
    }
    let (own, shares) = (all(ranks), all(mostRanks))
    return MicrobatchTimes.Course.allCases.flatMap { course -> [MicrobatchStopwatch.Sample] in
      let own = own.filter { $0.course == course }.sorted { $0.rows < $1.rows }
      let all = (own + shares.filter { $0.course == course }).sorted { $0.rows < $1.rows }
      guard let fewest = all.first, let most = all.last else { return [] }
      var left = own.reduce(0) { $0 + $1.rows } / 2
      let usual = own.first {
        left -= $0.rows
        return left <= 0
      }
      // Those that hardly differ are one.
      var chosen = [usual ?? most]
      for other in [fewest, most] where !chosen.contains(where: { 4 * abs($0.rows - other.rows) <= $0.rows }) { chosen.append(other) }
      return chosen
    }
  }
}
