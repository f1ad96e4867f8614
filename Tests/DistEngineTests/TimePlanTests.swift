import DistEngine
import Foundation
import TestSupport
import Testing

/// What a prediction is put together from. No time is compared with a clock: Benchmarks/plan does that.
@Suite struct TimePlanTests {
  private func times(_ points: [(Int, Double)], keepsOnlyUnit: Bool = false) -> MicrobatchTimes {
    var times = MicrobatchTimes(keepsOnlyUnit: keepsOnlyUnit)
    times[.several] = points.map { .init(rows: $0.0, seconds: $0.1) }
    return times
  }

  @Test func betweenTimedRowsIsALine() {
    let times = times([(512, 5), (64, 1), (128, 1.5)])
    for (rows, seconds) in [(64, 1), (128, 1.5), (512, 5), (96, 1.25), (320, 3.25), (608, 5.875)] as [(Int, Double)] {
      #expect(abs(times.seconds(rows: rows, units: 2) - seconds) < 1e-12, "\(rows)")
    }
    #expect(times.seconds(rows: 0, units: 0) == 0)
    // 64 rows more cost half a second: a line that would be at 0.75 for 32 of them.
    #expect(times.seconds(rows: 32, units: 1) == 0.75)
    var last = 0.0
    for rows in 0...1024 {
      let seconds = times.seconds(rows: rows, units: 2)
      #expect(seconds >= last && seconds.isFinite)
      last = seconds
    }
  }

  @Test func aLineThatFallsBelowNothingIsCut() {
    #expect(times([(100, 1), (200, 4)]).seconds(rows: 50, units: 1) == 0.5)
    #expect(times([(100, 1)]).seconds(rows: 250, units: 1) == 2.5)
    #expect(times([]).seconds(rows: 250, units: 1) == 0)
  }

  @Test func microbatchesOfOneUnitHaveTimesOfTheirOwn() {
    var times = times([(100, 1)], keepsOnlyUnit: true)
    #expect(times.seconds(rows: 100, units: 1) == 1, "of what no step has the other course's")
    times[.only] = [.init(rows: 100, seconds: 3)]
    #expect(times.seconds(rows: 100, units: 1) == 3 && times.seconds(rows: 100, units: 2) == 1)
    #expect(MicrobatchTimes(keepsOnlyUnit: false).course(units: 1) == .several)
  }

  @Test(
    arguments: [
      (.ghost, .flat, .none, 1.0 / 3), (.ghost, .flat, .blocks, 1.0 / 2), (.ghost, .perLayer, .none, 2.0 / 3), (.standard, .flat, .none, 2.0 / 3),
      (.hooks, .flat, .none, 0), (.hooks, .perLayer, .none, 0),
    ] as [(TrainingMode, Clipping, Recomputation, Double)])
  func aSumBecomesFinalWhereItsProductsAre(mode: TrainingMode, clipping: Clipping, recompute: Recomputation, part: Double) {
    let plan = ReplicaPlan(
      model: ModelPreset.tiny.configuration, mode: mode, clipping: clipping, capacity: Microbatch.Capacity(units: 4, rows: 64, positions: 16),
      recompute: recompute, optimizer: nil)
    let times = MicrobatchTimes(plan)
    #expect(times.finalPart[.several] == part && times.finalPart[.only] == 0)
  }

  /// Where the time is a + b·blocks + c·ids, some blocks and ids tell it exactly.
  @Test(arguments: ModelPreset.allCases, [nil, 2])
  func fewBlocksAndIdsTellTheModels(preset: ModelPreset, blocks: Int?) {
    let model = preset.configuration
    let reduced = blocks.map { ReducedModels(model, blocks: $0) } ?? ReducedModels(model)
    let seconds = { (model: ModelConfiguration) in 0.25 + 0.125 * Double(model.layers) + Double(model.vocabularySize) / 4096 }
    let times = reduced.models.map(seconds)
    #expect(abs(reduced.seconds(times) - seconds(model)) < 1e-9)
    for small in reduced.models {
      #expect(small.layers <= blocks ?? 4 && small.vocabularySize <= 8192 && small.width == model.width && small.heads == model.heads)
      #expect(small.blockShapes == model.blockShapes)
    }
    // Whatever disturbs a measurement, a whole model takes no less than a part.
    #expect(reduced.seconds(times.indices.map { $0 == 0 ? 1 : 0.5 }) == 1)
  }

  @Test func aSmallModelIsTimedWhole() {
    let reduced = ReducedModels(ModelPreset.tiny.configuration)
    #expect(reduced.models == [ModelPreset.tiny.configuration] && reduced.description == "the whole model")
    #expect(ReducedModels(ModelPreset.small.configuration).description == "models of 1 and 4 of 12 blocks, 1024 and 8192 of 50257 ids")
    // A classifier's head has no ids.
    let classifier = ModelPreset.miniLM.configuration.classifying(["a", "b"])
    #expect(ReducedModels(classifier).models.map(\.vocabularySize) == [30522, 30522])
  }

  @Test func ranksDoubleWithinANodeThenByNodes() {
    #expect(TimePlan.rankCounts(ranksPerNode: 1, hasLink: true) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
    #expect(TimePlan.rankCounts(ranksPerNode: 4, hasLink: true) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
    #expect(TimePlan.rankCounts(ranksPerNode: 6, hasLink: true) == [1, 2, 4, 6, 12, 24, 48, 96, 192, 384, 768])
    #expect(TimePlan.rankCounts(ranksPerNode: 6, hasLink: false) == [1, 2, 4, 6])
    #expect(TimePlan.rankCounts(ranksPerNode: 1, hasLink: false) == [1])
    #expect(TimePlan.rankCounts(ranksPerNode: 2000, hasLink: true).last == 2000)
  }

  @Test func whatDoesNotShrinkIsTheLimit() {
    let one = StepPrediction(ranks: 1, nodes: 1, parts: [.gradients: 8, .optimizer: 1, .sampling: 0.5], tokens: 95)
    #expect(one.seconds == 9.5 && one.tokensPerSecond == 10 && one.efficiency(beside: one) == 1)
    let many = StepPrediction(ranks: 8, nodes: 8, parts: [.gradients: 1.2, .optimizer: 1, .wire: 0.9, .sampling: 0.5], tokens: 95)
    #expect(many.limit(beside: one) == .wire)
    #expect(abs(many.efficiency(beside: one) - 9.5 / 3.6 / 8) < 1e-12)
    #expect(StepPrediction(ranks: 8, nodes: 8, parts: [.gradients: 2.5, .optimizer: 1, .wire: 0.9], tokens: 95).limit(beside: one) == .gradients)
  }
}

/// A whole prediction, of the built-in job and small models.
@Suite(.serialized) struct StepPredictionTests {
  private func configuration(_ change: (inout TrainingConfiguration) -> Void = { _ in }) -> TrainingConfiguration {
    var configuration = TrainingConfiguration()
    (configuration.noise, configuration.accountant, configuration.batchSize) = (.multiplier(1), .rdp, 64)
    configuration.performance.threads = 1
    change(&configuration)
    return configuration
  }

  private func check(_ plan: RunPlan, ranks: Int) throws -> TimePlan {
    let time = try #require(plan.time)
    let jobs = time.table + [time.step]
    #expect(time.step.ranks == ranks && time.table.contains(time.step))
    #expect(time.calibrationSeconds > 0 && time.threads == 1 && time.processorPart > 0 && time.processorPart <= 1)
    #expect(time.busyStep.ranks == ranks && time.busyStep.seconds >= time.step.seconds && time.busyStep[.wire] == time.step[.wire])
    for job in jobs {
      for part in StepPrediction.Part.allCases { #expect(job[part] >= 0 && job[part].isFinite, "\(part) of \(job.ranks) ranks") }
      #expect(job[.gradients] > 0 && job[.optimizer] > 0)
      #expect(abs(job.tokensPerSecond * job.seconds - time.step.tokensPerSecond * time.step.seconds) < 1e-6 * job.tokensPerSecond * job.seconds)
      #expect((job[.wire] > 0) == (job.nodes > 1))
    }
    for (fewer, more) in zip(time.table, time.table.dropFirst()) {
      #expect(fewer.ranks < more.ranks && fewer.nodes <= more.nodes && fewer[.wire] <= more[.wire])
    }
    return time
  }

  @Test(arguments: TrainingMode.allCases, Sharding.allCases)
  func everyModeAndShardingIsPredicted(mode: TrainingMode, sharding: Sharding) throws {
    let configuration = configuration {
      ($0.mode, $0.performance.sharding) = (mode, sharding)
      if !mode.isPrivate { $0.noise = nil }
    }
    let plan = try RunPlan(configuration, ranks: 2, ranksPerNode: 2, predictsTime: true, link: Link(gigabits: 1))
    let time = try check(plan, ranks: 2)
    #expect(time.table.map(\.ranks) == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
    #expect(time.table.allSatisfy { ($0[.noise] > 0) == mode.isPrivate })
    // Of 64 units expected, most of 1,024 ranks have none.
    let limit = try #require(time.limit)
    #expect(limit.efficiency(beside: time.table[0]) < 0.5)
    // The optimizer's work is divided where its state is.
    let (first, last) = (time.table[1][.optimizer], time.table.last![.optimizer])
    #expect(sharding == .optimizer ? last < first : last == first)
  }

  @Test func oneNodeNeedsNoLink() throws {
    let time = try check(RunPlan(configuration(), ranks: 2, ranksPerNode: 2, predictsTime: true), ranks: 2)
    #expect(time.table.map(\.ranks) == [1, 2] && time.link == nil)
    #expect(throws: TrainingError.self) { try RunPlan(configuration(), ranks: 3, ranksPerNode: 2, predictsTime: true) }
  }

  @Test func nothingIsTimedUnasked() throws {
    #expect(try RunPlan(configuration(), ranks: 2, ranksPerNode: 1).time == nil)
  }

  /// Units in several parts, classifiers, adapters, samplers: whatever a run can be.
  @Test(
    arguments: [
      { $0.sampler = .shuffle; $0.mode = .standard; $0.noise = nil },
      { $0.model = "bert-tiny"; $0.labelField = "label" },
      { $0.model = "llama-tiny"; $0.clipping = .perLayer },
      { $0.performance.recompute = .blocks },
      { $0.trainable = .bias },
      { $0.trainable = .lora },
      { $0.performance.microbatch = 1 },
      { $0.performance.threads = 1; $0.performance.noise = .sharded },
    ] as [@Sendable (inout TrainingConfiguration) -> Void])
  func otherRunsArePredicted(change: @Sendable (inout TrainingConfiguration) -> Void) throws {
    _ = try check(RunPlan(configuration(change), ranks: 2, ranksPerNode: 1, predictsTime: true, link: Link(gigabits: 10)), ranks: 2)
  }

  @Test func stepsThatDrawNothingArePredicted() throws {
    let configuration = configuration { ($0.batchSize, $0.datasetSize) = (1, 100_000_000) }
    let time = try #require(RunPlan(configuration, ranks: 1, ranksPerNode: 1, predictsTime: true).time)
    #expect(time.step[.gradients] >= 0 && time.step[.noise] > 0 && time.step.seconds.isFinite && time.step.tokensPerSecond > 0)
  }

  /// Of a sum that travels a part hides: on the wire is less than all of it. Of one that doesn't, all is.
  @Test func whatTravelsWhileItIsMadeIsTakenOff() throws {
    let configuration = configuration { ($0.model, $0.sequenceLength, $0.batchSize) = ("seed-medium", 32, 16) }
    for (sharding, hides) in [(.none, true), (.optimizer, false)] as [(Sharding, Bool)] {
      var own = configuration
      own.performance.sharding = sharding
      let link = try Link(gigabits: 10)
      let plan = try RunPlan(own, ranks: 2, ranksPerNode: 1, predictsTime: true, link: link)
      let step = try #require(plan.time).step
      let floats = ModelPreset.seedMedium.configuration.parameterLayout.totalCount
      let whole = WireModel(link, nodes: 2, ranksPerNode: 1).step(sharding, floats: floats, owners: 1)
      #expect(step[.wire] >= 0 && (hides ? step[.wire] < whole : step[.wire] == whole), "\(sharding): \(step[.wire]) of \(whole)")
      // What is made meanwhile can't hide more than it takes.
      #expect(!hides || whole - step[.wire] <= step[.gradients] + step[.noise] + step[.optimizer], "\(sharding)")
    }
  }

  /// A model of more blocks and ids than are timed.
  @Test func aReducedModelIsTimedInPlaceOfALargeOne() throws {
    let configuration = configuration { ($0.model, $0.sequenceLength, $0.batchSize) = ("seed-medium", 16, 8) }
    let time = try check(RunPlan(configuration, ranks: 1, ranksPerNode: 1, predictsTime: true), ranks: 1)
    #expect(time.calibration.hasPrefix("models of 1 and 4 of 8 blocks, 1024 and 8192 of 50257 ids"))
  }
}
