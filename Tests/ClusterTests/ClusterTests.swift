import DistEngine
import Foundation
import Synchronization
import TestSupport
import Testing

/// Three hosts over real TCP, pretended on one machine (scripts/cluster): one test after another, since they share its cores.
@Suite(.serialized, .enabled(if: PretendCluster.isUp, "make cluster-test starts three hosts and runs this on them"))
struct ClusterTests {
  // MARK: Training

  /// `--shard`, `--noise`, and the two that the run has to end up with.
  static let shardings = [
    ("none", "rank0", "none", "rank0"), ("none", "sharded", "none", "sharded"), ("optimizer", "sharded", "optimizer", "sharded"),
    ("node", "auto", "node", "sharded"), ("auto", "auto", "node", "sharded"),
  ]

  @Test(arguments: ["ghost", "hooks"], shardings)
  func sixRanksOnThreeHostsTrainAsOne(
    mode: String, sharding: (shard: String, noise: String, used: String, placement: String)
  ) throws {
    let options = "--mode \(mode) --shard \(sharding.shard) --noise \(sharding.noise)"
    let run = try ClusterRun(options, ranks: 6)
    #expect(run.description.ranks == 6)
    #expect(run.description.sharding == sharding.used && run.description.noisePlacement == sharding.placement, "\(options)")
    run.expectHosts(PretendCluster.hosts, options)
    try run.expectSame(options)
  }

  /// Slices are those of the host with the fewest ranks: a rank of the other owns none.
  @Test(arguments: ["ghost", "hooks"]) func hostsWithUnequalNumbersOfRanksTrainAsOne(mode: String) throws {
    let options = "--mode \(mode) --shard node"
    let run = try ClusterRun(options, ranks: 3, hosts: "node1:2,node2:1")
    #expect(run.description.ranks == 3 && run.description.sharding == "node")
    run.expectHosts(["node1", "node2"], options)
    try run.expectSame(options)
  }

  /// Ranks 0 and 3 on the first host, 1 and 4 on the second, 2 on the third.
  @Test func ranksDealtOutByHostTrainAsOne() throws {
    let options = "--shard node"
    let run = try ClusterRun(options, ranks: 5, launcherOptions: ["--map-by", "node"])
    #expect(run.description.ranks == 5 && run.description.sharding == "node")
    run.expectHosts(PretendCluster.hosts, options)
    try run.expectSame(options)
  }

  // MARK: Collectives

  /// Also with hosts of unequal size, one of whose ranks own no slice.
  @Test(
    arguments: [
      ("collectives", 6, 61), ("sharded-sums", 6, 142), ("sharded-sums", 5, 142), ("sums-over-hosts", 6, 40), ("sums-over-hosts", 5, 40),
      ("sums-over-hosts", 3, 40), ("training-over-nodes", 3, 8),
    ])
  func collectivesHaveTheirClosedFormsOverHosts(scenario: String, ranks: Int, lines: Int) throws {
    let outcome = try PretendCluster.run("MPIChecks", [scenario], ranks: ranks, timeout: .seconds(240))
    #expect(outcome.status == 0, "\(outcome.standardError)")
    #expect(outcome.outputLines.filter { !$0.hasPrefix("ok ") } == [])
    #expect(outcome.outputLines.count == lines)
  }

  // MARK: Faults

  /// /dev/shm is each host's own: the third one lacks the file.
  @Test func aFileThatOneHostLacksIsOneLineAndNoHang() throws {
    let name = "/dev/shm/records-\(UUID().uuidString).txt"
    for host in PretendCluster.hosts.dropLast() { try PretendCluster.execute("cp", PretendCluster.records, name, on: host) }
    let directory = try TemporaryDirectory()
    let outcome = try PretendCluster.run(
      "dp-mpirun",
      PretendCluster.words("train --steps 1 --noise-multiplier 1 --data \(name) --output \(directory.path)/run"), ranks: 6,
      timeout: .seconds(30))
    #expect(!outcome.timedOut)
    #expect(outcome.status == ExitStatus.refused, "\(outcome.standardError)")
    #expect(outcome.errorLines.count == 1, "\(outcome.standardError)")
    let line = outcome.errorLines.first ?? ""
    #expect(line.contains("on node3") && line.contains(name) && line.contains("No such file"), "\(line)")
    #expect(outcome.standardOutput == "")
    #expect(!FileManager.default.fileExists(atPath: "\(directory.path)/run/run.json"))
    for host in PretendCluster.hosts.dropLast() { try PretendCluster.execute("rm", name, on: host) }
  }

  /// One host's file has another letter, another record, or its records in another order; of the data that is trained on, or evaluated.
  @Test(arguments: [
    ("train --data", "one\ntwo\nthree\n", "one\ntwo\nthrex\n", "node3", 4), ("train --data", "one\ntwo\nthree\n", "one\ntwo\nthree\nfour\n", "node2", 2),
    ("train --data builtin --eval-data", "one\ntwo\nthree\n", "one\nthree\ntwo\n", "node2", 2), ("evaluate --data", "one\ntwo\n", "one\ntwx\n", "node3", 4),
  ])
  func otherDataOnOneHostAreOneLineAndNoRun(command: String, common: String, other: String, host: String, rank: Int) throws {
    let name = "/dev/shm/records-\(UUID().uuidString).txt"
    let directory = try TemporaryDirectory()
    let files = (common: try directory.file("common.txt", common), other: try directory.file("other.txt", other))
    for node in PretendCluster.hosts { try PretendCluster.execute("cp", node == host ? files.other : files.common, name, on: node) }
    defer { for node in PretendCluster.hosts { try? PretendCluster.execute("rm", name, on: node) } }
    let isTraining = command.hasPrefix("train")
    let more = isTraining ? "--noise-multiplier 1 --accountant rdp --steps 1 --batch-size 2 --output \(directory.path)/run" : "--model \(PretendCluster.model)"
    let outcome = try PretendCluster.run("dp-mpirun", PretendCluster.words("\(command) \(name) \(more)"), ranks: 6, timeout: .seconds(30))
    #expect(!outcome.timedOut)
    #expect(outcome.status == ExitStatus.refused, "\(outcome.standardError)")
    #expect(outcome.errorLines.count == 1, "\(outcome.standardError)")
    let what = command.contains("--eval-data") ? "--eval-data" : "--data"
    #expect(outcome.errorLines.first?.hasPrefix("Error: \(what) of rank \(rank) on \(host) differ from those of rank 0") == true, "\(outcome.errorLines)")
    #expect(outcome.standardOutput == "")
    #expect(!FileManager.default.fileExists(atPath: "\(directory.path)/run/run.json"))
  }

  // MARK: Checkpoints

  /// /dev/shm is each host's own: the first host's ranks write all of the state, and what they don't hold comes to them.
  @Test(arguments: ["none", "optimizer", "node"]) func aRunGoesOnInADirectoryThatHostsDoNotShare(sharding: String) throws {
    let path = "/dev/shm/run-\(UUID().uuidString)"
    defer { try? PretendCluster.execute("rm", "-r", path, on: "node1") }
    let options = "train --batch-size 12 --noise-multiplier 0.05 --accountant rdp --seed 5 --seq-len 32 --data \(PretendCluster.records)"
    for (steps, ranks, shard) in [(3, 6, sharding), (5, 4, sharding), (6, 3, "auto")] {
      let outcome = try PretendCluster.run(
        "dp-mpirun", PretendCluster.words("\(options) --steps \(steps) --shard \(shard) --checkpoint-every 1 --resume --output \(path)"), ranks: ranks)
      #expect(outcome.status == 0, "\(steps) steps: \(outcome.standardError)")
    }
    for host in PretendCluster.hosts.dropFirst() { try PretendCluster.execute("test", "!", "-e", path, on: host) }
    let directory = try TemporaryDirectory()
    try PretendCluster.execute("cp", "\(path)/model/model.safetensors", "\(directory.path)/resumed.safetensors", on: "node1")
    let whole = try MPILauncher(built: "dp-mpirun").run(
      PretendCluster.words("\(options) --steps 6 --output \(directory.path)/whole"), ranks: nil, environment: ["CI": "1"])
    #expect(whole.status == 0, "\(whole.standardError)")
    let (one, other) = try (
      TensorFile("\(directory.path)/whole/model/model.safetensors").elements(), TensorFile("\(directory.path)/resumed.safetensors").elements())
    #expect(relativeDistance(one, other) < 1e-4)
  }

  /// With one rank a host, and where each node has one sum: more than 16 M floats leave in parts while later ones are made. Some time after the first step
  /// a rank is killed, within another step or a checkpoint; the run that goes on ends with what one process makes without a break.
  @Test(arguments: [("none", 3, "node1:1,node2:1,node3:1", 0.3), ("node", 6, nil, 0.6)] as [(String, Int, String?, Double)])
  func aRunWhoseSumsTravelGoesOnWhereItWasKilled(sharding: String, ranks: Int, hosts: String?, delay: Double) throws {
    let directory = try TemporaryDirectory()
    let run = "\(directory.path)/run"
    let options = Self.largeRun
    let rest = ["--shard", sharding, "--checkpoint-every", "2", "--resume", "--output", run]
    let killer = DispatchQueue(label: "killer")
    let isOver = Atomic(false)
    killer.async {
      while Self.lines(of: "\(run)/metrics.jsonl") < 1 && !isOver.load(ordering: .relaxed) { usleep(5000) }
      usleep(UInt32(delay * 1e6))
      // Hosts share the machine's processes: the newest is a rank, on whichever host.
      if !isOver.load(ordering: .relaxed) { try? PretendCluster.execute("pkill", "-KILL", "-n", "-f", "dp-mpirun train.*\(run)", on: "node1") }
    }
    let killed = try PretendCluster.run("dp-mpirun", options + rest, ranks: ranks, hosts: hosts, timeout: .seconds(90))
    isOver.store(true, ordering: .relaxed)
    killer.sync {}
    #expect(killed.status != 0 && !killed.timedOut, "\(killed.standardError)")
    #expect((1..<8).contains(Self.lines(of: "\(run)/metrics.jsonl")), "it was killed before its first step or behind its end")
    let resumed = try PretendCluster.run("dp-mpirun", options + rest, ranks: ranks, hosts: hosts, timeout: .seconds(90))
    try #require(resumed.status == 0, "\(resumed.standardError)")
    for outcome in [killed, resumed] {
      #expect(outcome.standardError.contains("step") && !outcome.standardError.contains("sums over hosts are made when all of them is there"))
    }
    let (one, other) = try (Self.largeModel.get(), TensorFile("\(run)/model/model.safetensors").elements())
    #expect(one.count > 2 * ShardPlan.pieceCapacity)
    #expect(relativeDistance(one, other) < 1e-4)
    // A step that was lost and made again stands twice.
    #expect(try Self.steps(in: "\(run)/metrics.jsonl") == Set(0..<8))
  }

  /// Little noise, so that the records' own part of the sum shows.
  private static let largeRun = PretendCluster.words(
    "train --model minilm --label-field label --batch-size 12 --noise-multiplier 0.05 --accountant rdp --seed 5 --seq-len 32 --steps 8")

  /// What one process makes of it without a break.
  private static let largeModel = Result {
    let directory = try TemporaryDirectory()
    let whole = try MPILauncher(built: "dp-mpirun").run(largeRun + ["--output", "\(directory.path)/whole"], ranks: nil, environment: ["CI": "1"])
    try #require(whole.status == 0, "\(whole.standardError)")
    return try TensorFile("\(directory.path)/whole/model/model.safetensors").elements()
  }

  private static func steps(in metrics: String) throws -> Set<Int> {
    struct Line: Decodable { let step: Int }
    let lines = try String(contentsOfFile: metrics, encoding: .utf8).split(separator: "\n")
    return try Set(lines.map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)).step })
  }

  /// 0 where there is no such file.
  private static func lines(of path: String) -> Int {
    (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n").count ?? 0
  }

  // MARK: Memory

  @Test func memoryOverHostsIsOneReport() throws {
    let outcome = try PretendCluster.run(
      "dp-mpirun",
      PretendCluster.words("memory --modes ghost --shards none,node --microbatches 1 --seq-lens 8 --steps 1 --json"), ranks: 6)
    try #require(outcome.status == 0, "\(outcome.standardError)")
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let report = try decoder.decode(MemoryReport.self, from: Data(outcome.standardOutput.utf8))
    #expect(report.records.map(\.outcome) == [.measured, .measured])
    for record in report.records {
      #expect(record.byNode.map(\.hosts) == PretendCluster.hosts.map { [$0] })
      #expect(record.byNode.map(\.ranks) == [2, 2, 2])
      #expect(record.byRank.map(\.host) == PretendCluster.hosts.flatMap { [$0, $0] })
      #expect(record.total.hosts == PretendCluster.hosts && record.total.ranks == 6)
    }
  }
}
