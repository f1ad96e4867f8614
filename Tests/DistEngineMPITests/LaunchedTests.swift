import DistEngine
import Foundation
import TestSupport
import Testing

/// Everything that starts mpirun: one test after another, since they share the machine's cores.
@Suite(.serialized) struct LaunchedTests {
  let checks: MPILauncher

  init() throws {
    checks = try MPILauncher(built: "MPIChecks")
  }

  func check(_ scenario: String, _ arguments: String..., ranks: Int?, environment: [String: String?] = [:]) throws -> MPILauncher.Outcome {
    try checks.run([scenario] + arguments, ranks: ranks, environment: environment, timeout: .seconds(180))
  }

  // MARK: Collectives

  /// The number of lines that `MPIChecks collectives` prints, so that none is lost.
  static let collectiveChecks = 61

  @Test(arguments: [1, 2, 3, 4]) func collectivesHaveTheirClosedForms(ranks: Int) throws {
    let outcome = try check("collectives", ranks: ranks)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines.filter { !$0.hasPrefix("ok ") } == [])
    #expect(outcome.outputLines.count == Self.collectiveChecks)
  }

  @Test func everyCheckOfCollectivesCanFail() throws {
    let outcome = try check("collectives", "--shift", ranks: 3)
    #expect(outcome.status == 1)
    #expect(outcome.outputLines.filter { $0.hasPrefix("ok ") } == [])
    #expect(outcome.outputLines.count == Self.collectiveChecks)
  }

  /// On one host nobody asks MPI for threads unless told to, and a node that is taken to have another beside it has sums that travel.
  static let threads: [String: String?] = ["DP_MPIRUN_MPI_THREADS": "multiple"]

  /// The number of lines that `MPIChecks sharded-sums` prints.
  static let shardedSumChecks = 142

  @Test(arguments: [1, 2, 3, 4]) func shardedSumsNoiseAndUpdatesAreThoseOfOneRank(ranks: Int) throws {
    let outcome = try check("sharded-sums", ranks: ranks, environment: Self.threads)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines.filter { !$0.hasPrefix("ok ") } == [])
    #expect(outcome.outputLines.count == Self.shardedSumChecks)
  }

  @Test func everyCheckOfShardedSumsCanFail() throws {
    let outcome = try check("sharded-sums", "--shift", ranks: 3)
    #expect(outcome.status == 1)
    #expect(outcome.outputLines.filter { !$0.hasPrefix("failed ") } == [])
    #expect(outcome.outputLines.count == Self.shardedSumChecks)
  }

  /// The number of lines that `MPIChecks sums-over-hosts` prints.
  static let sumOverHostsChecks = 40

  /// Ranks that are taken to be on several nodes: what is on its way while it is made is what one rank makes.
  @Test(arguments: [1, 2, 3, 4]) func sumsOnTheirWayAreThoseOfOneRank(ranks: Int) throws {
    let outcome = try check("sums-over-hosts", ranks: ranks, environment: Self.threads)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines.filter { !$0.hasPrefix("ok ") } == [])
    #expect(outcome.outputLines.count == Self.sumOverHostsChecks)
  }

  /// Where MPI grants no threads to a rank, or one has no thread to spare, no rank's sums travel.
  @Test(arguments: [[], ["--one-funneled"], ["--one-without-thread"]]) func sumsAreMadeAtOnceWhereARankHasNoThread(options: [String]) throws {
    let level = options.isEmpty ? "funneled" : "multiple"
    let outcome = try checks.run(
      ["sums-over-hosts", "--at-once"] + options, ranks: 3, environment: ["DP_MPIRUN_MPI_THREADS": level], timeout: .seconds(180))
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines.filter { !$0.hasPrefix("ok ") } == [])
    #expect(outcome.outputLines.count == Self.sumOverHostsChecks)
  }

  /// The number of lines that `MPIChecks training-over-nodes` prints.
  static let trainingOverNodesChecks = 8

  /// The trainer's own steps: every part of a sum that travels gets its noise, once.
  @Test(arguments: [2, 3, 4]) func trainingOverNodesIsThatOfOneRank(ranks: Int) throws {
    let outcome = try check("training-over-nodes", ranks: ranks, environment: Self.threads)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines.filter { !$0.hasPrefix("ok ") } == [])
    #expect(outcome.outputLines.count == Self.trainingOverNodesChecks)
  }

  @Test func aRunWhoseSumsDoNotTravelSaysWhy() throws {
    let outcome = try check("training-over-nodes", "--at-once", ranks: 3, environment: ["DP_MPIRUN_MPI_THREADS": "funneled"])
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines.filter { !$0.hasPrefix("ok ") } == [])
    #expect(outcome.outputLines.count == Self.trainingOverNodesChecks)
  }

  @Test func everyCheckOfTrainingOverNodesCanFail() throws {
    let outcome = try check("training-over-nodes", "--shift", ranks: 3, environment: Self.threads)
    #expect(outcome.status == 1)
    #expect(outcome.outputLines.filter { !$0.hasPrefix("failed ") } == [])
    #expect(outcome.outputLines.count == Self.trainingOverNodesChecks)
  }

  @Test func everyCheckOfSumsOnTheirWayCanFail() throws {
    // By what is expected of the numbers, and by whether they travel.
    for arguments in [["--shift"], ["--at-once"]] {
      let outcome = try checks.run(["sums-over-hosts"] + arguments, ranks: 3, environment: Self.threads, timeout: .seconds(180))
      #expect(outcome.status == 1)
      // With 16 floats a piece `optimizer` is no such sum.
      let passed = outcome.outputLines.filter { !$0.hasPrefix("failed ") }
      #expect(arguments == ["--shift"] ? passed == [] : passed.allSatisfy { $0.hasPrefix("ok optimizer") } && passed.count == 1, "\(passed)")
      #expect(outcome.outputLines.count == Self.sumOverHostsChecks)
    }
  }

  @Test func aThreadLevelThatDoesNotExistIsRefused() throws {
    let outcome = try check("collectives", ranks: 2, environment: ["DP_MPIRUN_MPI_THREADS": "serialised"])
    #expect(outcome.status != 0 && outcome.outputLines == [])
    #expect(outcome.standardError.contains("DP_MPIRUN_MPI_THREADS serialised: must be funneled or multiple"), "\(outcome.standardError)")
  }

  /// No bus error: a line that names file, rank and host, an end for all ranks.
  @Test(arguments: [0, 1]) func readingWhatAMappedFileNoLongerHasEndsTheJob(culprit: Int) throws {
    let directory = try TemporaryDirectory()
    let fixture = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures/llama-tiny-lora-bf16/model")
    let model = "\(directory.path)/model"
    try FileManager.default.copyItem(atPath: fixture.path(percentEncoded: false), toPath: model)
    let outcome = try check("cut-file", "\(culprit)", model, ranks: 2)
    #expect(outcome.status == ExitStatus.refused, "\(outcome.standardError)")
    let lines = outcome.errorLines
    #expect(lines.count == 1 && lines[0].hasPrefix("Error: rank \(culprit) on ") && lines[0].contains("\(model)/model.safetensors: can't be relied on: it was cut"), "\(lines)")
  }

  /// Data sets that ranks make side by side are what one makes alone: 5 lists of files, 3 sizes of blocks, shared or not.
  @Test(arguments: [1, 2, 3, 4]) func dataSetsAreThoseOfOneRank(ranks: Int) throws {
    let directory = try TemporaryDirectory()
    let text = { (record: Int) in String(repeating: "\(record) ", count: record * 7 % 23) }
    let lines = { (range: Range<Int>) in
      range.map { "{\"talk\":\"\(text($0))\",\"note\":\"\(text($0 + 3))\",\"who\":\($0 * $0 % 17)}\n" }.joined()
    }
    _ = try directory.file("a.jsonl", lines(0..<61))
    _ = try directory.file("b.csv", "who,note,talk\n" + (0..<40).map { "\($0 % 5),\"\(text($0))\n\",\"\(text($0 + 1)),\"\"\"\n" }.joined())
    let unpacked = try directory.file("c.jsonl", lines(50..<95))
    let gzip = Process()
    (gzip.executableURL, gzip.arguments) = (URL(filePath: "/usr/bin/env"), ["gzip", unpacked])
    try gzip.run()
    gzip.waitUntilExit()
    let outcome = try check("data", directory.path, ranks: ranks)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines.filter { !$0.hasPrefix("ok ") } == [] && outcome.outputLines.count == 30)
  }

  /// More than 2^31 bytes in one call of ours. Needs 2.2 GB a rank, so it is asked for: DP_MPIRUN_LARGE_TESTS=1.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["DP_MPIRUN_LARGE_TESTS"] != nil))
  func countsBeyond32Bits() throws {
    let outcome = try check("huge", ranks: 2)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines == ["survived huge"])
  }

  /// Steps for measurements: gradients are added up, noise is added once, all ranks have the same parameters.
  @Test(arguments: [1, 2, 3, 4]) func fixedBatchesAreOneBatch(ranks: Int) throws {
    let outcome = try check("fixed-batch", ranks: ranks)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines == ["ok"])
  }

  /// A second run of a trainer would draw the first one's noise again.
  @Test(arguments: [1, 2]) func aTrainerRunsOnce(ranks: Int) throws {
    let outcome = try check("train-twice", ranks: ranks)
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines == ["ok"])
  }

  // MARK: Start and end

  @Test func startsWithoutLauncherAsOneRank() throws {
    // As a plain user's shell has it: without what mpirun needs of root.
    let outcome = try checks.run(
      ["hello"], ranks: nil, environment: ["OMPI_ALLOW_RUN_AS_ROOT": nil, "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": nil])
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines == ["ranks 0"])
  }

  @Test func launcherGivesEveryRankItsNumber() throws {
    #expect(try check("hello", ranks: 3).outputLines == ["ranks 0 1 2"])
  }

  @Test(arguments: ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"])
  func anotherLibrarysLauncherIsRefused(variable: String) throws {
    let outcome = try checks.run(["hello"], ranks: nil, environment: [variable: "4"])
    #expect(outcome.status == ExitStatus.refused)
    #expect(outcome.errorLines.count == 1)
    #expect(outcome.errorLines.first?.contains("started 4 ranks (\(variable)) but MPI sees 1") == true)
    #expect(outcome.standardOutput == "")
  }

  @Test func mismatchIsSaidByRankZeroAlone() throws {
    let outcome = try checks.run(
      ["hello"], ranks: nil, environment: ["OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2"])
    #expect(outcome.status == ExitStatus.refused)
    #expect(outcome.errorLines == [])
  }

  /// Inside a Slurm allocation mpirun's own count is the one that matters.
  @Test func innermostLauncherCounts() throws {
    let outcome = try checks.run(["hello"], ranks: 2, environment: ["SLURM_STEP_NUM_TASKS": "7"])
    #expect(outcome.status == 0, "\(outcome.standardError)")
  }

  @Test(arguments: [1, 3]) func refusalBeforeStartIsOneLine(ranks: Int) throws {
    let outcome = try check("refused-before-start", ranks: ranks)
    #expect(outcome.status == ExitStatus.usage)
    #expect(outcome.errorLines == ["Error: --ranks: no such option"])
    #expect(outcome.seconds < 5)
  }

  @Test func statusOfAllRanksIsTheJobs() throws {
    #expect(try check("status", "85", ranks: 3).status == 85)
  }

  @Test func finalizingTwiceIsHarmless() throws {
    let outcome = try check("finalized-twice", ranks: 2)
    #expect(outcome.status == 0, "\(outcome.standardError)")
  }

  @Test func anotherThreadIsStopped() throws {
    let outcome = try check("wrong-thread", ranks: 1)
    #expect(outcome.status != 0)
    #expect(!outcome.standardOutput.contains("survived"))
  }

  /// With `slots=4` on 2 cores Open MPI spins, unless told otherwise: 8 to 33 ms a barrier in place of some microseconds.
  @Test func barriersYieldWithMoreSlotsThanCores() throws {
    let hostfile = FileManager.default.temporaryDirectory.appendingPathComponent("hostfile-\(UUID().uuidString)")
    let ranks = ProcessInfo.processInfo.activeProcessorCount * 2
    try "localhost slots=\(ranks)\n".write(to: hostfile, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(at: hostfile) }
    func microseconds(environment: [String: String?]) throws -> Double {
      let outcome = try checks.run(
        ["fast-barriers"], ranks: ranks, launcherOptions: ["--hostfile", hostfile.path],
        isOversubscribed: false, environment: environment)
      return try #require(
        outcome.outputLines.first?.split(separator: " ").last.flatMap { Double($0) }, "\(outcome.standardError)")
    }
    // By turns, so that other work on the machine slows down both; the user's own setting wins, and is as slow as ever. It is 100 times as
    // slow on an idle machine; without the program's own setting the two are the same.
    let rounds = try (0..<3).map { _ in
      (yielding: try microseconds(environment: [:]), spinning: try microseconds(environment: ["OMPI_MCA_mpi_yield_when_idle": "0"]))
    }
    let (yielding, spinning) = (rounds.map(\.yielding).sorted()[1], rounds.map(\.spinning).sorted()[1])
    #expect(yielding < spinning / 3, "\(rounds)")
  }

  // MARK: Agreement

  @Test(
    arguments: [
      (["agree-one", "-1"], ExitStatus.done, nil),
      (["agree-one", "0"], ExitStatus.refused, "rank 0 on HOST: no such file:; /tmp/data.txt"),
      (["agree-one", "2"], ExitStatus.refused, "rank 2 on HOST: no such file:; /tmp/data.txt"),
      (["agree-usage", "1"], ExitStatus.usage, "rank 1 on HOST: too long"),
      (["agree-defect", "1"], ExitStatus.internalError, "rank 1 on HOST: unexpected"),
      (["agree-same"], ExitStatus.refused, "no such file"),
      (["agree-different"], ExitStatus.refused, "rank 0 on HOST: no such file 0"),
      (["agree-nested", "1"], ExitStatus.refused, "rank 1 on HOST: deep down"),
    ] as [([String], Int32, String?)])
  func failuresAreAgreedUpon(arguments: [String], status: Int32, message: String?) throws {
    let outcome = try checks.run(arguments, ranks: 3)
    let host = ProcessInfo.processInfo.hostName
    #expect(outcome.status == status)
    #expect(outcome.errorLines == (message.map { ["Error: " + $0.replacing("HOST", with: host)] } ?? []))
    #expect(outcome.outputLines == (message == nil ? ["survived agree-one"] : []))
    #expect(outcome.seconds < 5)
  }

  @Test func agreementOfOneRankNeedsNoRankInItsMessage() throws {
    #expect(try check("agree-one", "0", ranks: 1).errorLines == ["Error: no such file:; /tmp/data.txt"])
  }

  // MARK: Errors of one rank, lost and stuck ranks

  @Test(arguments: ["own-error", "own-error-with-window"], [0, 2])
  func ownErrorEndsTheJob(scenario: String, rank: Int) throws {
    let outcome = try check(scenario, "\(rank)", ranks: 3)
    #expect(outcome.status == ExitStatus.internalError)
    #expect(
      outcome.errorLines == ["Error: rank \(rank) on \(ProcessInfo.processInfo.hostName), step 17: not a number; in layer 3"])
    #expect(outcome.seconds < 5)
  }

  @Test func errorsOfMPIHaveCallAndText() throws {
    let outcome = try check("invalid-root", ranks: 3)
    #expect(outcome.status == ExitStatus.internalError)
    #expect(outcome.errorLines.count == 1)
    #expect(outcome.errorLines.first?.contains("MPI_Bcast failed: MPI_ERR_ROOT: invalid root") == true)
  }

  @Test(arguments: [0, 2]) func deadRankEndsTheJob(rank: Int) throws {
    let outcome = try check("killed", "\(rank)", ranks: 3)
    #expect(outcome.status == 128 + SIGKILL)
    #expect(outcome.seconds < 8)
    #expect(!outcome.standardOutput.contains("survived"))
  }

  @Test(arguments: [("stuck", 1, 0), ("stuck", 0, 1), ("stopped", 1, 0)])
  func watchdogEndsAJobWithAStuckRank(scenario: String, culprit: Int, speaker: Int) throws {
    let outcome = try check(scenario, "\(culprit)", ranks: 3)
    let place = "rank \(speaker) on \(ProcessInfo.processInfo.hostName), step 5, MPI_Allreduce (checksum of the parameters)"
    #expect(outcome.status == ExitStatus.peerLost)
    #expect(outcome.errorLines.count == 1)
    #expect(outcome.errorLines.first?.hasPrefix("Error: \(place): no progress for") == true)
    #expect(outcome.standardError.contains("Warning: \(place): waiting for"))
    #expect(!outcome.standardError.contains("Warning: rank \(culprit) on"))
    #expect(outcome.seconds > 2 && outcome.seconds < 20)
  }

  @Test func launcherEndsWhatTakesTooLong() throws {
    let outcome = try checks.run(["sleep"], ranks: 2, timeout: .seconds(2))
    #expect(outcome.timedOut)
    #expect(outcome.seconds < 20)
  }
}
