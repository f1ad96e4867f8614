import Foundation
import TestSupport
import Testing

/// A run of `dp-mpirun train` that ended well, on hosts of the cluster or in one process, and what it left behind.
struct ClusterRun {
  struct Metrics: Decodable {
    let examples: Int
    let loss, epsilon: Double?
  }

  /// `run.json`
  struct Description: Decodable {
    struct Shape: Decodable {
      let parameters: Int
    }

    let ranks, steps: Int
    let hosts: [String]
    let sharding, noisePlacement: String
    let modelShape: Shape
  }

  /// Little noise, so that the records' own part of the sum shows.
  private static let options =
    "--batch-size 12 --steps 5 --noise-multiplier 0.05 --accountant rdp --seed 5 --log-every 1 --seq-len 32"

  let metrics: [Metrics]
  let description: Description
  let parameters: [Double]
  /// Bytes that each host has sent.
  let sent: [String: Int]

  /// - Parameters:
  ///   - ranks: nil: one process, without mpirun and beside the cluster.
  ///   - hosts: as mpirun's `--host` has it; nil: all.
  init(_ options: String, ranks: Int?, hosts: String? = nil, launcherOptions: [String] = []) throws {
    let directory = try TemporaryDirectory()
    let run = "\(directory.path)/run"
    let arguments =
      PretendCluster.words("train \(Self.options) \(options)")
      + ["--data", PretendCluster.records, "--output", run]
    let before = try PretendCluster.sentBytes()
    let outcome =
      if let ranks {
        try PretendCluster.run("dp-mpirun", arguments, ranks: ranks, hosts: hosts, launcherOptions: launcherOptions)
      } else {
        try MPILauncher(built: "dp-mpirun").run(arguments, ranks: nil, environment: ["CI": "1"])
      }
    try #require(outcome.status == 0, "\(options): \(outcome.standardError)")
    sent = try PretendCluster.sentBytes().merging(before) { $0 - $1 }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    metrics = try String(contentsOfFile: "\(run)/metrics.jsonl", encoding: .utf8).split(separator: "\n").map {
      try decoder.decode(Metrics.self, from: Data($0.utf8))
    }
    description = try decoder.decode(Description.self, from: Data(contentsOf: URL(filePath: "\(run)/run.json")))
    parameters = try TensorFile("\(run)/model/model.safetensors").elements()
  }

  /// One process, ghost: what every other run is compared with.
  static let reference = Result { try ClusterRun("", ranks: nil) }

  /// Same batches, losses, ε and parameters as on one rank.
  func expectSame(_ what: String) throws {
    let expected = try Self.reference.get()
    let drawn = expected.metrics.map(\.examples)
    #expect(drawn.count == 5 && Set(drawn).count > 1, "Poisson draws differ from step to step: \(drawn)")
    #expect(metrics.map(\.examples) == drawn, "\(what): drawn batches")
    #expect(metrics.map(\.epsilon) == expected.metrics.map(\.epsilon), "\(what): epsilon by step")
    let losses = Mismatch.between(
      metrics.map { $0.loss ?? 0 }, expected.metrics.map { $0.loss ?? 0 }, relative: 1e-4, absolute: 0, of: "loss of step")
    #expect(losses == nil, "\(what): \(losses?.description ?? "")")
    let distance = relativeDistance(parameters, expected.parameters)
    #expect(distance < 1e-4, "\(what): parameters differ by \(distance)")
  }

  /// The run's ranks were on these hosts, and its sums went over their networks. Whatever the way, a sum over n hosts of which all
  /// get the result sends 2(n - 1) times its size: each host's part has to be sent, and each host has to get the result.
  func expectHosts(_ hosts: [String], _ what: String) {
    #expect(description.hosts == hosts, "\(what): hosts")
    let size = MemoryLayout<Float>.stride * description.modelShape.parameters
    let sent = hosts.map { self.sent[$0] ?? 0 }
    let least = description.steps * 2 * (hosts.count - 1) * size
    #expect(sent.reduce(0, +) > least, "\(what): \(sent) bytes sent, in all \(least) at least")
    #expect(sent.allSatisfy { $0 > description.steps * size / 2 }, "\(what): \(sent) bytes sent")
  }
}
