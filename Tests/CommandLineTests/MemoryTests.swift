import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// `dp-mpirun memory`, small.
  @Suite struct MemoryTests {
    /// b of the larger combination: its examples' gradients are what is looked for among everything else.
    static let microbatch = 32
    static let parametersMb = 462_464 * 4 / Double(1 << 20)

    private func measure(_ options: String, ranks: Int?, in directory: TemporaryDirectory, _ name: String) throws -> MemoryReport
    {
      let outcome = try Program.run(
        ["--mode", "memory", "--seq-lens", "16", "--steps", "2"] + options.split(separator: " ").map(String.init)
          + ["--output", "\(directory.path)/\(name)"], ranks: ranks)
      try #require(outcome.status == 0, "\(outcome.standardError)")
      #expect(outcome.standardOutput.contains("NOT private"))
      return try MemoryReport(merging: ["\(directory.path)/\(name)/memory.json"])
    }

    /// Hooks first, so that a peak that isn't reset shows in what comes after.
    @Test(arguments: [nil, 2]) func everyCombinationIsMeasured(ranks: Int?) throws {
      let directory = try TemporaryDirectory()
      let report = try measure(
        "--modes hooks,ghost,standard --shards none --microbatches 1,\(Self.microbatch)", ranks: ranks, in: directory, "run")
      #expect(report.records.map(\.outcome) == [MemoryRecord.Outcome](repeating: .measured, count: 6))
      for record in report.records {
        let what = "\(record.combination)"
        #expect(record.ranks == ranks ?? 1 && record.byNode.count == 1 && record.parameters == 462_464, "\(what)")
        #expect(record.peakWasReset && record.stepSecondsMedian ?? 0 > 0, "\(what)")
        #expect(try #require(record.largestMicrobatch) > Self.microbatch, "\(what)")
        #expect(abs(record.total.plannedMb - record.byRank.reduce(0) { $0 + $1.plannedMb }) < 1e-9, "\(what)")
        for rank in record.byRank {
          let rss = try #require(rank.rssMb)
          // What the plan says is what the process grows by, then it's given back. 6 MB: counters of the kernel, buffers of MPI.
          #expect(abs(rss.growth - rank.plannedMb) < 6, "\(what): \(rss), planned \(rank.plannedMb)")
          #expect(rss.before <= rss.allocated && rss.allocated <= rss.afterStep && rss.afterStep <= rss.peak, "\(what): \(rss)")
          #expect(rss.afterRelease < rss.before + 6 && rss.afterStep > rss.before + rank.plannedMb - 6, "\(what): \(rss)")
          // The steps have used what they were planned to use. Ghost's scratch and some workspace are for longer records.
          let mayStayUnused: Set = record.combination.mode == .ghost ? ["workspace", "per_example_gradients"] : ["workspace"]
          for (category, planned) in rank.plannedByCategoryMb {
            let resident = rank.residentByCategoryMb?[category] ?? 0
            #expect(
              resident <= planned && (mayStayUnused.contains(category) || resident >= 0.99 * planned), "\(what): \(category)")
          }
        }
        let pss = try #require(record.total.pssMb)
        #expect(abs(pss.growth - record.total.plannedMb) < 6 * Double(record.ranks), "\(what): \(pss)")
      }
      let peaks = report.records.map { record in record.byRank.map { $0.rssMb?.growth ?? 0 }.max() ?? 0 }
      // Hooks hold every example's gradient, ghost none of them.
      let gradients = Double(Self.microbatch) * Self.parametersMb
      #expect(
        abs(peaks[1] - peaks[3] - gradients) < 0.2 * gradients,
        "hooks \(peaks[1]) MB, ghost \(peaks[3]) MB, gradients \(gradients) MB")
      try checkFiles("\(directory.path)/run", records: 6, ranks: ranks ?? 1)
    }

    /// What ranks share is planned and measured once a node, however it is divided.
    @Test func everyShardingIsMeasured() throws {
      let directory = try TemporaryDirectory()
      let report = try measure("--modes ghost --shards none,optimizer,node,auto --microbatches 1", ranks: 2, in: directory, "run")
      #expect(report.records.map(\.combination.sharding) == [.none, .optimizer, .node])
      #expect(report.records.map(\.outcome) == [MemoryRecord.Outcome](repeating: .measured, count: 3))
      let planned = report.records.map(\.total.plannedMb)
      // AdamW on 2 ranks: 8 copies of the parameters' size; 2 less, and each rank's memory for what it exchanges, as much as the parameters up to 16 MB;
      // 4 in all and what is exchanged.
      #expect(abs(planned[0] - planned[1] - (2 * Self.parametersMb - 2 * min(16 * 1.048576, Self.parametersMb))) < 0.5, "\(planned)")
      #expect(planned[2] < planned[1], "\(planned)")
      for record in report.records {
        let pss = try #require(record.total.pssMb)
        #expect(abs(pss.growth - record.total.plannedMb) < 12, "\(record.combination): \(pss), planned \(record.total.plannedMb)")
        #expect(pss.afterRelease < pss.before + 12, "\(record.combination): \(pss)")
      }
    }

    private func checkFiles(_ path: String, records: Int, ranks: Int) throws {
      #expect(try FileManager.default.contentsOfDirectory(atPath: path).sorted() == ["memory.csv", "memory.html", "memory.json"])
      let csv = try String(contentsOfFile: "\(path)/memory.csv", encoding: .utf8).split(separator: "\n")
      #expect(csv.count == 1 + records * (ranks + 2))
      #expect(csv.filter { $0.contains(",measured,") }.count == csv.count - 1)
      let page = try String(contentsOfFile: "\(path)/memory.html", encoding: .utf8)
      #expect(page.components(separatedBy: "<svg").count == 2)
    }

    @Test func runsOnSeveralNumbersOfRanksMakeOneReport() throws {
      let directory = try TemporaryDirectory()
      _ = try measure("--modes ghost --microbatches 1", ranks: 1, in: directory, "1")
      let report = try measure(
        "--modes ghost --shards none --microbatches 1 --merge \(directory.path)/1/memory.json", ranks: 3, in: directory, "3")
      #expect(report.records.map(\.ranks) == [1, 3])
      // Microbatches at 1 and at 3 ranks, and memory against ranks.
      let page = try String(contentsOfFile: "\(directory.path)/3/memory.html", encoding: .utf8)
      #expect(page.components(separatedBy: "<svg").count == 4)
    }

    @Test func whatDoesNotFitIsSkippedAndTheRunGoesOn() throws {
      let outcome = try Program.run(
        "memory --microbatches 64,1 --modes hooks --shards none --seq-lens 8 --steps 1 --memory-budget 40 --json".split(separator: " ").map(
          String.init),
        ranks: 2)
      try #require(outcome.status == 0, "\(outcome.standardError)")
      let records = try #require(try jsonObject(outcome.standardOutput)["records"] as? [[String: Any]])
      #expect(records.map { $0["outcome"] as? String } == ["skipped", "measured"])
      let reason = try #require(records[0]["reason"] as? String)
      #expect(reason.contains("(2 ranks), which has 40 MB for it (--memory-budget)"), "\(reason)")
      let largest = try #require(records[0]["largest_microbatch"] as? Int)
      #expect(records[1]["largest_microbatch"] as? Int == largest && (1..<64).contains(largest))
    }

    /// The system refuses the address space: that combination failed, on all ranks together, and the next is run.
    @Test(.enabled(if: AvailableMemory.current.byteCount ?? 0 > 6 << 30)) func whatTheSystemRefusesFailsAndTheRunGoesOn() throws {
      let program = try MPILauncher(built: "dp-mpirun").executable.path
      let command = "ulimit -v 1500000; exec \(program) memory --microbatches 1024,1 --modes hooks --shards none --seq-lens 4 --steps 1 --json"
      let outcome = try MPILauncher(executable: URL(filePath: "/bin/sh")).run(["-c", command], ranks: 2)
      try #require(outcome.status == 0, "\(outcome.standardError)")
      let records = try #require(try jsonObject(outcome.standardOutput)["records"] as? [[String: Any]])
      #expect(records.map { $0["outcome"] as? String } == ["failed", "measured"])
      #expect((records[0]["reason"] as? String)?.contains("address space") == true)
    }

    @Test func impossibleListsAreRefused() throws {
      let directory = try TemporaryDirectory()
      let report = try directory.file("memory.json", "{}")
      let cases: [(arguments: [String], status: Int32, culprits: [String])] = [
        (["--modes", "ghost,magic"], ExitStatus.usage, ["--modes magic", "standard, hooks, ghost"]),
        (["--modes", ""], ExitStatus.usage, ["--modes"]),
        (["--microbatches", "1,0"], ExitStatus.usage, ["--microbatches 1,0", "from 1 to"]),
        (["--microbatches", "1,,2"], ExitStatus.usage, ["--microbatches 1,,2", "numbers"]),
        (["--microbatches", "2,1,2"], ExitStatus.usage, ["--microbatches 2,1,2", "twice"]),
        (["--seq-lens", "x"], ExitStatus.usage, ["--seq-lens x", "numbers"]),
        (["--seq-lens", "8,257"], ExitStatus.usage, ["--seq-lens 257", "256", "tiny"]),
        (["--shards", "none,half"], ExitStatus.usage, ["--shards half", "none"]),
        (["--steps", "0"], ExitStatus.usage, ["--steps 0"]),
        (["--memory-budget", "0"], ExitStatus.usage, ["--memory-budget 0"]),
        (["--models", "tiny,gigantic"], ExitStatus.refused, ["gigantic", "tiny"]),
        (["--merge", report], ExitStatus.refused, ["--merge \(report)"]),
        (["--merge", "\(directory.path)/missing"], ExitStatus.refused, ["\(directory.path)/missing", "No such file"]),
        (["--output", directory.path], ExitStatus.refused, ["--output \(directory.path)", "holds a run"]),
      ]
      for (arguments, status, culprits) in cases {
        let others = [["--microbatches", "1"], ["--seq-lens", "8"]].filter { !arguments.contains($0[0]) }.flatMap { $0 }
        let outcome = try Program.run(["memory"] + others + arguments, ranks: 2)
        let what = "\(arguments): \(outcome.standardError)"
        #expect(outcome.status == status && outcome.errorLines.count == 1, "\(what)")
        for culprit in culprits { #expect(outcome.errorLines.first?.contains(culprit) == true, "\(culprit): \(what)") }
        #expect(outcome.standardOutput == "", "\(what)")
      }
    }
  }
}
