import DistEngine
import TestSupport
import Testing

/// Losses, norms and sums of every mode with several threads, against one.
@Suite struct TeamTests {
  /// Records are shared out where there are enough of them, heads always.
  @Test(arguments: TrainingMode.allCases, Clipping.allCases) func sameSums(mode: TrainingMode, clipping: Clipping) throws {
    for tied in [true, false] {
      for microbatch in [1, 3, 16] {
        let model = try SmallModels.configuration(tied: tied)
        let dataset = SmallModels.dataset()
        func run(threads: Int) throws -> (sum: [Double], losses: [Double], norms: [Double]) {
          let replica = try SmallModels.replica(mode, model, clipping: clipping, microbatch: microbatch, threads: threads)
          var (losses, norms): ([Double], [Double]) = ([], [])
          _ = replica.team.use {
            replica.accumulateGradients(of: 0..<dataset.count, in: dataset) { batch, factors in
              for record in batch.units.indices {
                losses.append(batch.loss(ofUnit: record))
                for group in 0..<(factors?.groups ?? 0) { norms.append(factors!.norm(unit: record, group: group)) }
              }
            }
          }
          return (replica.gradientSum.map(Double.init), losses, norms)
        }
        let expected = try run(threads: 1)
        for threads in 2...4 {
          let actual = try run(threads: threads)
          let what = "\(threads) threads, tied \(tied), microbatch \(microbatch)"
          #expect(relativeDistance(actual.sum, expected.sum) < 1e-6, "sum, \(what)")
          #expect(relativeDistance(actual.losses, expected.losses) < 1e-6, "losses, \(what)")
          #expect(relativeDistance(actual.norms, expected.norms) < 1e-6, "norms, \(what)")
        }
      }
    }
  }

  /// Large enough for products and rows to be cut.
  @Test(arguments: [1, 4]) func sameSumOfAWiderModel(microbatch: Int) throws {
    let model = try SmallModels.configuration(tied: true, layers: 1, width: 192, positions: 160)
    let dataset = TokenizedDataset(
      RecordStore((0..<4).map { String(repeating: "record \($0), of some length. ", count: 7) }),
      tokenizer: SmallModels.SmallTokenizer(), longestSequence: 160)
    func sum(threads: Int) throws -> [Double] {
      let replica = try SmallModels.replica(.ghost, model, microbatch: microbatch, positions: 160, threads: threads)
      _ = replica.team.use { replica.accumulateGradients(of: 0..<dataset.count, in: dataset) }
      return replica.gradientSum.map(Double.init)
    }
    let expected = try sum(threads: 1)
    for threads in 2...4 { #expect(relativeDistance(try sum(threads: threads), expected) < 1e-5, "\(threads) threads") }
    #expect(try sum(threads: 3) == sum(threads: 3), "a team of a given size gives the same bits")
  }
}
