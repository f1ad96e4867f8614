import DistEngine
import TestSupport
import Testing

extension LaunchedProgramTests {
  @Suite struct ThreadTests {
    /// Threads, like ranks, are a way to compute a batch.
    @Test func sameRunForAnyThreads() throws {
      let options = RankCountTests.options + " --seq-len 96"
      let reference = try TrainingRun(options, "--threads 1")
      for (threads, ranks) in [(3, 1), (2, 2)] {
        let run = try TrainingRun(options, "--threads \(threads)", ranks: ranks)
        let distance = relativeDistance(try run.parameters(), try reference.parameters())
        #expect(distance < 1e-4, "\(threads) threads on \(ranks) ranks: parameters differ by \(distance)")
        #expect(try run.report().epsilon == reference.report().epsilon)
        #expect(try run.object("run.json")["threads"] as? [Int] == [Int](repeating: threads, count: ranks))
      }
    }

    @Test func theDefaultIsTheCoresThatARankWasGiven() throws {
      let alone = try TrainingRun("--batch-size 4 --noise-multiplier 1 --accountant rdp")
      #expect(try alone.object("run.json")["threads"] as? [Int] == [ProcessorAffinity.usableCores])
      // Bound or not, ranks don't have more threads together than there are cores, as long as there is one for each.
      let shared = try TrainingRun("--batch-size 4 --noise-multiplier 1 --accountant rdp", ranks: 3)
      let threads = try #require(try shared.object("run.json")["threads"] as? [Int])
      #expect(threads.count == 3 && threads.allSatisfy { $0 >= 1 })
      #expect(threads.reduce(0, +) <= max(3, ProcessorAffinity.usableCores))
    }
  }
}
