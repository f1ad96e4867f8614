import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Ranks and microbatches are ways to compute a batch, not part of what is computed. Little noise, so that the records' own part
  /// of the sum shows.
  @Suite struct RankCountTests {
    static let options = "--batch-size 8 --steps 20 --noise-multiplier 0.05 --accountant rdp --seed 20 --log-every 1"

    private func expectSameRun(_ run: TrainingRun, _ expected: TrainingRun, _ what: String) throws {
      let (metrics, reference) = (try run.metrics(), try expected.metrics())
      #expect(metrics.map(\.examples) == reference.map(\.examples), "\(what): drawn batches")
      #expect(metrics.map(\.epsilon) == reference.map(\.epsilon), "\(what): epsilon by step")
      #expect(try run.report().epsilon == expected.report().epsilon, "\(what): epsilon")
      let losses = Mismatch.between(
        metrics.map { $0.loss ?? 0 }, reference.map { $0.loss ?? 0 }, relative: 1e-4, absolute: 0, of: "loss of step")
      #expect(losses == nil, "\(what): \(losses?.description ?? "")")
      let distance = relativeDistance(try run.parameters(), try expected.parameters())
      #expect(distance < 1e-4, "\(what): parameters differ by \(distance)")
    }

    @Test func sameBatchesEpsilonAndParametersForAnyRanksMicrobatchAndPrivateMode() throws {
      let reference = try TrainingRun(Self.options)
      let drawn = try reference.metrics().map(\.examples)
      #expect(drawn.count == 20)
      #expect(Set(drawn).count > 3, "Poisson draws differ from step to step: \(drawn)")
      for (ranks, microbatch) in [(1, 3), (2, 1), (3, 8), (4, 3)] {
        let run = try TrainingRun(Self.options, "--microbatch \(microbatch)", ranks: ranks)
        #expect(try run.report().ranks == ranks)
        try expectSameRun(run, reference, "\(ranks) ranks, microbatch \(microbatch)")
      }
      try expectSameRun(TrainingRun(Self.options, "--mode hooks --microbatch 3", ranks: 3), reference, "hooks on 3 ranks")
    }

    @Test(arguments: ["none", "optimizer", "node"]) func sameRunForAnySharding(sharding: String) throws {
      let reference = try TrainingRun(Self.options)
      for (ranks, mode) in [(2, "ghost"), (4, "ghost"), (3, "hooks")] {
        let run = try TrainingRun(Self.options, "--mode \(mode) --shard \(sharding)", ranks: ranks)
        #expect(try run.object("run.json")["sharding"] as? String == sharding)
        try expectSameRun(run, reference, "\(mode) on \(ranks) ranks, --shard \(sharding)")
      }
      let momentum = "--optimizer sgd --momentum 0.9 --learning-rate 0.1"
      try expectSameRun(
        TrainingRun(Self.options, momentum, "--shard \(sharding)", ranks: 2), TrainingRun(Self.options, momentum), "sgd, --shard \(sharding)")
    }

    @Test func noiseDrawnInSlicesIsTheNoiseThatRank0Draws() throws {
      let reference = try TrainingRun(Self.options)
      let run = try TrainingRun(Self.options, "--shard none --noise sharded", ranks: 3)
      #expect(try run.object("run.json")["noise_placement"] as? String == "sharded")
      try expectSameRun(run, reference, "noise in slices on 3 ranks")
    }

    @Test func sameRunForAnyRanksWithPerLayerClipping() throws {
      let reference = try TrainingRun(Self.options, "--clipping per-layer")
      try expectSameRun(
        TrainingRun(Self.options, "--clipping per-layer --microbatch 1", ranks: 3), reference, "ghost on 3 ranks")
      try expectSameRun(
        TrainingRun(Self.options, "--clipping per-layer --mode hooks --microbatch 8", ranks: 2), reference, "hooks on 2 ranks")
    }

    /// The baseline draws the batches of the private modes.
    @Test func sameRunForAnyRanksWithoutPrivacy() throws {
      let options = "--mode standard --batch-size 8 --steps 20 --seed 20"
      let reference = try TrainingRun(options)
      try expectSameRun(TrainingRun(options, "--microbatch 3", ranks: 3), reference, "standard on 3 ranks")
      #expect(try reference.metrics().map(\.examples) == TrainingRun(Self.options).metrics().map(\.examples))
    }

    @Test func ranksWithAnEmptyShareTakePartInEveryStep() throws {
      let options = "--batch-size 2 --steps 20 --noise-multiplier 0.05 --accountant rdp --seed 3 --log-every 1"
      let reference = try TrainingRun(options)
      let drawn = try reference.metrics().map(\.examples)
      #expect(drawn.contains { (1..<4).contains($0) }, "draws that leave some ranks without a record: \(drawn)")
      #expect(drawn.contains(0), "draws that leave all ranks without a record: \(drawn)")
      try expectSameRun(TrainingRun(options, ranks: 4), reference, "4 ranks, 2 records expected")
    }
  }
}
