import DistEngine
import Foundation
import Testing

/// What needs no MPI.
@Suite struct LauncherRankTests {
  @Test(
    arguments: [
      ([:], nil), (["OMPI_COMM_WORLD_RANK": "3"], 3), (["PMI_RANK": "2"], 2), (["PMIX_RANK": "1"], 1), (["SLURM_PROCID": "5"], 5),
      (["OMPI_COMM_WORLD_RANK": "3", "SLURM_PROCID": "0"], 3), (["PMI_RANK": "x", "PMIX_RANK": "4"], 4),
    ] as [([String: String], Int?)])
  func rank(environment: [String: String], expected: Int?) {
    #expect(LauncherRank.rank(in: environment) == expected)
  }

  @Test(
    arguments: [
      ([:], nil), (["OMPI_COMM_WORLD_SIZE": "4", "SLURM_STEP_NUM_TASKS": "2"], 4), (["PMI_SIZE": "3"], 3),
      (["SLURM_STEP_NUM_TASKS": "2"], 2), (["SLURM_NTASKS": "8"], nil),
    ] as [([String: String], Int?)])
  func size(environment: [String: String], expected: Int?) {
    #expect(LauncherRank.size(in: environment)?.ranks == expected)
  }
}

@Suite struct NodeTopologyTests {
  /// Ranks dealt out over three nodes in turn, the last node with one rank fewer.
  private func topology(rank: Int) -> NodeTopology {
    NodeTopology(rank: rank, nodeOfRank: [0, 1, 2, 0, 1], hosts: ["a", "b", "c"])
  }

  @Test func ranksOfANode() {
    #expect(topology(rank: 0).ranksPerNode == [2, 2, 1])
    #expect(topology(rank: 0).ranks(onNode: 1) == [1, 4])
    #expect(topology(rank: 0).nodeCount == 3)
  }

  @Test(arguments: zip(0..<5, [(0, 0, 2, "a"), (1, 0, 2, "b"), (2, 0, 1, "c"), (0, 1, 2, "a"), (1, 1, 2, "b")]))
  func placeOfARank(rank: Int, expected: (node: Int, local: Int, ranks: Int, host: String)) {
    let topology = topology(rank: rank)
    #expect(topology.nodeIndex == expected.node)
    #expect(topology.localRank == expected.local)
    #expect(topology.isNodeLeader == (expected.local == 0))
    #expect(topology.ranksOnNode == expected.ranks)
    #expect(topology.host == expected.host)
  }
}

@Suite struct ProcessorAffinityTests {
  @Test(
    arguments: [
      ("0-3,8,10-11", [0, 1, 2, 3, 8, 10, 11]), ("\t0\n", [0]), ("0-127", Array(0...127)), ("", []), ("x", nil), ("3-1", nil),
      ("1-2-3", nil),
    ] as [(String, [Int]?)])
  func coresOfAList(list: String, expected: [Int]?) {
    #expect(ProcessorAffinity.cores(ofList: list) == expected)
  }

  @Test(
    arguments: [
      ([[0, 1, 2, 3]], [4]),  // alone
      ([[0], [1]], [1, 1]),  // bound
      ([[0, 1], [2, 3, 4]], [2, 3]),
      ([[0, 1, 2, 3], [0, 1, 2, 3]], [2, 2]),  // unbound
      ([[0, 1, 2], [0, 1, 2], [0, 1, 2]], [1, 1, 1]),
      ([[0, 1], [0, 1], [0, 1], [0, 1]], [1, 1, 1, 1]),  // more ranks than cores
      ([[0, 1, 2, 3], [0, 1], [4]], [3, 1, 1]),  // overlapping
    ] as [([[Int]], [Int])])
  func ranksShareTheCoresThatTheyHaveInCommon(ranks: [[Int]], expected: [Int]) {
    #expect(ranks.indices.map { ProcessorAffinity.fairShare(of: $0, among: ranks) } == expected)
  }

  @Test func ownCores() {
    #expect((1...ProcessInfo.processInfo.processorCount).contains(ProcessorAffinity.usableCores))
  }

  @Test func warnsOfMoreThreadsThanCores() {
    #expect(ProcessorAffinity.warning(threads: 2, usableCores: 2) == nil)
    #expect(ProcessorAffinity.warning(threads: 2, usableCores: 1)?.hasPrefix("2 threads on 1 core:") == true)
  }
}

@Suite struct CollectiveActivityTests {
  @Test func remembersWhereTheThreadIs() throws {
    let activity = CollectiveActivity()
    #expect(activity.current == nil)
    activity.step = 3
    try activity.during(stage: "outer") {
      activity.during(stage: "inner") {}
      #expect(activity.current == nil)  // A stage is no call.
      try activity.during("MPI_Barrier") {
        let position = try #require(activity.current)
        #expect(position.call == "MPI_Barrier")
        #expect(position.stage == "outer")
        #expect(position.step == 3)
        usleep(20_000)
      }
    }
    #expect(activity.current == nil)
    #expect(activity.calls == 1)
    #expect(activity.seconds > 0.015 && activity.seconds < 5)
  }

  @Test func forgetsACallThatThrew() {
    struct Failure: Error {}
    let activity = CollectiveActivity()
    #expect(throws: Failure.self) { try activity.during("MPI_Barrier") { throw Failure() } }
    #expect(activity.current == nil)
  }

  /// A collective of some microseconds must not notice that it is watched.
  @Test func costsLittle() {
    let activity = CollectiveActivity()
    let (rounds, start) = (100_000, ContinuousClock.now)
    for _ in 0..<rounds { activity.during("MPI_Barrier") {} }
    let each = Double((ContinuousClock.now - start).components.attoseconds) * 1e-9 / Double(rounds)
    print("a watched call costs \(each) ns")
    #expect(each < 5000)
  }
}

@Suite struct ErrorTextTests {
  @Test func errorsOfMPINameCallAndText() {
    let error = MPIError(call: "MPI_Bcast", code: 8, text: "invalid root", rank: 2)
    #expect(error.description == "MPI_Bcast failed: invalid root (code 8)")
    #expect(error.exitStatus == ExitStatus.internalError)
  }
}
