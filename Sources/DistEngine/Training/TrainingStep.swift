import Foundation

/// One optimizer step:
///
///     charge → sample → (per microbatch: forward → backward + norms → clip factors → weighted sum)
///            → noise + reduce over ranks → optimizer
///
/// Over several hosts the last two arrows are of a part of the sum at a time: it gets its noise and leaves when the last microbatch has added to it.
///
/// Every rank runs every step, whatever its share of the draw: an empty share is a sum of 0, and it takes part in the
/// reduction like any other.
struct TrainingStep: ~Copyable {
  let replica: ModelReplica
  let communicator: Communicator
  let exchange: ModelStateExchange
  let dataset: TokenizedDataset
  var sampler: BatchSampler
  /// Of a unit's records.
  let choice: RecordChoice
  /// nil where nothing is private.
  let mechanism: GaussianMechanism?
  var ledger: PrivacyLedger?
  var optimizer: Optimizer
  let schedule: LearningRateSchedule
  /// B: the sum is divided by it, never by the number drawn.
  let expectedBatchSize: Int

  /// - Parameter requests: on return, what any rank is asked for.
  mutating func run(_ step: Int, requests: inout StepRequests) throws -> StepReport {
    var clock = StepClock(communicator.activity)
    try checkFiles()
    try charge(step)
    clock.mark(.charge)
    let units = sample(step)
    clock.mark(.sample)
    var noiseSeconds = 0.0
    var totals = try accumulate(units, step: step, noiseSeconds: &noiseSeconds)
    try checkFilesOfAll()
    clock.mark(.gradients, without: (.noise, noiseSeconds))
    try update(step)
    try totals.reduce(over: communicator, requests: &requests)
    clock.mark(.update)
    return StepReport(
      step: step, totals: totals, learningRate: schedule.rate(step: step), timings: clock.timings)
  }

  /// Frozen tensors that changed while a step was computed could make a sum other than the one whose norms were taken: before anything is made of
  /// the sum the step ends the run, and before that nothing is charged for a step that can't be taken.
  private func checkFiles() throws { try replica.mapped?.checkUnchanged() }

  /// The same behind the sum. Where parts of it are summed already another rank's files count as well: none updates before all have looked.
  private func checkFilesOfAll() throws {
    try checkFiles()
    if replica.mapped != nil && exchange.sumTravels { try communicator.barrier() }
  }

  private mutating func charge(_ step: Int) throws {
    try ledger?.charge(step: step)
  }

  /// This rank's part of the global draw.
  private mutating func sample(_ step: Int) -> [Int] {
    sampler.share(ofStep: step, rank: communicator.rank, ranks: communicator.size)
  }

  /// Forward, backward, norms, clip factors, weighted sum of each microbatch, and the noise. Ranks that share a sum run as many microbatches.
  private func accumulate(_ units: [Int], step: Int, noiseSeconds: inout Double) throws -> ModelReplica.Totals {
    var batches = replica.batches(of: units, in: dataset, choice: choice, step: step)
    if replica.plan.hasLargeUnits {
      batches.large = try exchange.sharingLargeUnits(batches.large) { unit, rank, ranks in
        replica.sharedParts(ofUnit: unit, in: dataset, choice: choice, step: step, rank: rank, ranks: ranks)
      }
    }
    batches.pad(microbatches: try exchange.agreedMicrobatchCount(batches.microbatches.count))
    return replica.accumulateGradients(of: batches, in: dataset, exchange: exchange) { elements in
      let start = ContinuousClock.now
      addNoise(step, to: elements)
      noiseSeconds += (ContinuousClock.now - start).seconds
    }
  }

  /// Adds the noise to partial sums, once for each element of the batch's: on the one rank whose part of the plan it is.
  private func addNoise(_ step: Int, to elements: Range<Int>) {
    guard let mechanism else { return }
    guard let sum = replica.accumulator?.clippedSum else { preconditionFailure("noise for a sum that isn't clipped") }
    mechanism.addNoise(to: sum, step: step, elements: exchange.plan.noiseElements.clamped(to: elements))
  }

  private mutating func update(_ step: Int) throws {
    try replica.update(
      by: &optimizer, exchange: exchange, gradientScale: 1 / Double(expectedBatchSize), learningRate: schedule.rate(step: step))
  }
}

/// Which records make a step's batch, and which of them are a rank's.
struct BatchSampler {
  enum Kind {
    case poisson(PoissonSampler, unitCount: Int)
    case shuffle(ShuffleSampler)
  }

  private var kind: Kind
  private var draw: [Int] = []

  init(_ kind: Kind) { self.kind = kind }

  /// Draws the whole batch, as every rank does, and takes the rank's part of it.
  mutating func share(ofStep step: Int, rank: Int, ranks: Int) -> [Int] {
    switch kind {
    case .poisson(let sampler, let unitCount):
      sampler.draw(step: step, unitCount: unitCount, into: &draw)
    case .shuffle(var sampler):
      sampler.draw(step: step, into: &draw)
      kind = .shuffle(sampler)
    }
    return EvenShare.of(draw, rank: rank, ranks: ranks)
  }
}

extension ModelReplica.Totals {
  /// Adds up over ranks. Requests travel along: a collective of their own would cost each step as much as this one.
  mutating func reduce(over communicator: Communicator, requests: inout StepRequests) throws {
    let own = requests.own()
    var values: [Double] = [
      Double(units), Double(targets), lossSum, Double(finiteLosses), Double(clipping.units),
      Double(clipping.clipped), Double(clipping.nonFinite), clipping.normSum, Double(microbatches),
      own.stops ? 1 : 0, own.checkpoints ? 1 : 0,
    ]
    try communicator.allreduceSum(&values)
    units = Int(values[0])
    targets = Int(values[1])
    lossSum = values[2]
    finiteLosses = Int(values[3])
    clipping.units = Int(values[4])
    clipping.clipped = Int(values[5])
    clipping.nonFinite = Int(values[6])
    clipping.normSum = values[7]
    microbatches = Int(values[8])
    (requests.stops, requests.checkpoints) = (values[9] > 0, values[10] > 0)
  }
}
