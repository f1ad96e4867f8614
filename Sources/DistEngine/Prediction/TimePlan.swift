/// How long a run's steps would take, as predicted from a calibration of this machine in place of a node, and a model of the wire.
public struct TimePlan: Sendable {
  /// Of the job asked for, on nodes that do nothing else.
  public let step: StepPrediction
  /// The same on nodes as busy with other work as this machine was.
  public let busyStep: StepPrediction
  /// Of more and more ranks, one first.
  public let table: [StepPrediction]
  public let ranksPerNode: Int
  /// Of a rank.
  public let threads: Int
  /// nil: one node.
  public let link: Link?
  public let calibrationSeconds: Double
  /// What was timed, and by how many ranks at once.
  public let calibration: String
  /// How much of the time what was timed had a processor: less than 1 where other work took this machine's cores, so that an idle one is faster.
  public let processorPart: Double

  /// Efficiency below which more ranks no longer pay.
  public static let scalingLimit = 0.5
  /// Ranks up to which the table goes.
  public static let mostRanks = 1024

  /// The first job of the table that is less efficient; nil: none is.
  public var limit: StepPrediction? { table.first { $0.efficiency(beside: table[0]) < Self.scalingLimit } }

  /// Times what a step does, on this machine.
  ///
  /// - Parameters:
  ///   - norms: as the plan timed them.
  ///   - link: nil: of one node's ranks alone.
  /// - Throws: ``TrainingError/conflictingOptions(_:)`` for several nodes without a link; where the models to be timed need too much memory.
  package init(_ setup: TrainingSetup, norms: [NormTiming], ranks: Int, ranksPerNode: Int, link: Link?) throws {
    guard link != nil || ranks <= ranksPerNode else {
      throw TrainingError.conflictingOptions("--time: \(ranks) ranks on nodes of \(ranksPerNode) need --link GBIT, the rate of a node's link")
    }
    let start = ContinuousClock.now
    let threads = setup.threads.own
    let cores = max(1, ProcessorAffinity.affordableCores.count / threads)
    let atOnce = RanksAtOnce(ranks: min(ranksPerNode, cores), threads: threads)
    let steps = try SampledSteps(setup)
    let shards = setup.plan.shards
    let count = setup.plan.layout.totalCount
    let stopwatch = try MicrobatchStopwatch(setup, norms: norms, ranks: atOnce)
    let counts = Set(Self.rankCounts(ranksPerNode: ranksPerNode, hasLink: link != nil) + [ranks]).sorted()
    let samples = steps.samples(
      ranks: ranks, mostRanks: counts.last!, times: MicrobatchTimes(setup.plan), dataset: setup.training)
    let drawn = shards.sharding == .node ? shards.updatedCount : shards.noiseElements.count
    let rates = try MachineRates(
      .init(noise: drawn, update: shards.updatedCount, sum: count, oneDraws: drawn == count), optimizer: setup.configuration.optimizer, on: atOnce)
    var model = StepModel(
      setup: setup, steps: steps, times: try stopwatch.times(of: samples), rates: rates, ranksPerNode: ranksPerNode,
      ranksWithCores: cores, processorPart: 1, link: link)
    let step = model.prediction(ranks: ranks)
    self.step = step
    table = counts.map { [model] in $0 == ranks ? step : model.prediction(ranks: $0) }
    processorPart = atOnce.processorPart
    model.processorPart = processorPart
    busyStep = model.prediction(ranks: ranks)
    (self.ranksPerNode, self.threads, self.link) = (ranksPerNode, threads, link)
    calibration = "\(stopwatch.description), by \(atOnce.count == 1 ? "one rank" : "\(atOnce.count) ranks at once")"
      + (ranksPerNode > cores ? ", as \(ranksPerNode) would share the cores" : "")
    calibrationSeconds = (ContinuousClock.now - start).seconds
  }

  /// 1, 2, 4 … ranks of one node, then 1, 2, 4 … whole nodes.
  package static func rankCounts(ranksPerNode: Int, hasLink: Bool) -> [Int] {
    let doubled = { (first: Int, end: Int) in Array(sequence(first: first) { 2 * $0 }.prefix { $0 <= end }) }
    let within = doubled(1, ranksPerNode - 1)
    return within + (hasLink ? doubled(ranksPerNode, max(ranksPerNode, mostRanks)) : [ranksPerNode])
  }
}
