import Foundation
import TestSupport
import Testing

/// The hosts that `scripts/cluster-test` has started: node1, node2, node3, with 2 ranks each.
enum PretendCluster {
  static let hosts = ["node1", "node2", "node3"]

  /// Set by `scripts/cluster-test` (`make cluster-test`); by hand these tests have no hosts to run on.
  static var isUp: Bool { ProcessInfo.processInfo.environment["DP_MPIRUN_CLUSTER_TESTS"] != nil }

  /// The root of the repository.
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  private static let script = MPILauncher(executable: root.appending(path: "scripts/cluster"))

  /// 43 records of up to 64 targets.
  static let records = root.appending(path: "Tests/Fixtures/gpt2-tiny/records.txt").path(percentEncoded: false)

  /// A model directory of bytes.
  static let model = root.appending(path: "Tests/Fixtures/gpt2-tiny/model").path(percentEncoded: false)

  /// Options that hold no spaces.
  static func words(_ options: String) -> [String] { options.split(separator: " ").map(String.init) }

  /// Starts a built program by mpirun on node1.
  ///
  /// - Parameter hosts: which hosts, and how many ranks on each, as mpirun's `--host` has it; nil: all of them.
  static func run(
    _ program: String, _ arguments: [String], ranks: Int, hosts: String? = nil, launcherOptions: [String] = [],
    timeout: Duration = .seconds(60)
  ) throws -> MPILauncher.Outcome {
    let executable = try MPILauncher(built: program).executable.path(percentEncoded: false)
    let launcher = (hosts.map { ["--host", $0] } ?? []) + launcherOptions + ["-np", "\(ranks)"]
    // Without a progress bar on the ranks of node1; those of other hosts have no environment of ours. Each host has a place for sessions.
    return try script.run(
      ["run", "--"] + launcher + [executable] + arguments, ranks: nil,
      environment: ["CI": "1", "OMPI_MCA_orte_tmpdir_base": nil], timeout: timeout)
  }

  /// Runs a command on one host.
  static func execute(_ command: String..., on host: String) throws {
    let outcome = try script.run(["exec", host] + command, ranks: nil)
    try #require(outcome.status == 0, "\(command) on \(host): \(outcome.standardError)")
  }

  /// Bytes that each host has sent over its network so far, as the kernel counts them.
  static func sentBytes() throws -> [String: Int] {
    let lines = try script.run(["traffic"], ranks: nil).outputLines.map { $0.split(separator: " ").map(String.init) }
    return try Dictionary(uniqueKeysWithValues: lines.map { ($0[0], try #require(Int($0[2]))) })
  }
}
