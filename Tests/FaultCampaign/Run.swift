import Foundation

/// One run of the campaign: what makes its result, the same at each of its starts.
struct Run: CustomStringConvertible {
  enum Noise { case none, multiplier, target }

  let number: Int
  let directory: String
  /// Steps asked for.
  let steps: Int
  let noise: Noise
  let isOnSmallDisk: Bool
  let hosts: Int
  private let options: [String]

  init(_ number: Int, in place: Place, by dice: inout Dice) {
    self.number = number
    isOnSmallDisk = place.smallDisk != nil && dice.below(3) == 0
    directory = (isOnSmallDisk ? place.smallDisk! : place.work + "/room") + "/run-\(number)"
    hosts = place.hosts > 0 && dice.below(2) == 0 ? place.hosts : 0
    steps = 20 + dice.below(220)
    noise = [.none, .target, .multiplier, .multiplier, .multiplier, .multiplier][dice.below(6)]
    let model = isOnSmallDisk || dice.below(6) > 0 ? Place.fixture + "/model" : "tiny"
    options =
      ["train", "--data", Place.fixture + "/records.txt", "--model", model, "--seq-len", "16", "--batch-size", "8", "--steps", "\(steps)"]
      + ["--threads", "1", "--no-progress", "--output", directory, "--resume"]
      + (noise == .none ? ["--mode", "standard"] : ["--mode", dice.pick(["ghost", "ghost", "hooks"]), "--accountant", "rdp"])
      + (noise == .multiplier ? ["--noise-multiplier", "1"] : noise == .target ? ["--target-epsilon", "6"] : [])
      + ["--optimizer", dice.pick(["adamw", "sgd"])]
  }

  var description: String { "run \(number), \(steps) steps: \(options.joined(separator: " "))" }

  /// How it is started once: ranks, hosts, sharding and intervals are another's each time.
  struct Start: CustomStringConvertible {
    let command: [String]
    let ranks: Int
    /// nil: this machine.
    let hosts: [Int]?
    let timeout: Int
    var description: String { "\(ranks) ranks\(hosts.map { " on hosts \($0)" } ?? "")" }
  }

  func start(for fault: Fault?, in place: Place, by dice: inout Dice) -> Start {
    let all = Array(1...max(1, hosts))
    var chosen = all
    while chosen.count > 1, dice.below(3) == 0 { chosen.remove(at: dice.below(chosen.count)) }
    if fault == .cable { chosen = all }
    let ranks = max(fault == .cable ? 2 : 1, 1 + dice.below(4))
    let where_ = hosts > 0 ? chosen : nil
    // A machine of many other jobs must not look stuck: the time-out is short where it is waited for alone.
    let timeout = fault == .stopRank ? 6 : fault == .cable ? 15 : 90
    let command =
      place.launcher(ranks: ranks, hosts: where_) + [place.program] + options
      + ["--shard", dice.pick(["auto", "none", "optimizer", "node"]), "--checkpoint-every", "\(2 + dice.below(9))"]
      + ["--keep-checkpoints", "\(1 + dice.below(3))", "--collective-timeout", "\(timeout)", "--log-every", "\(1 + dice.below(50))"]
    return Start(command: command, ranks: ranks, hosts: where_, timeout: timeout)
  }

  func path(_ name: String) -> String { "\(directory)/\(name)" }
}

/// What there is of a run's directory, as far as the checks compare it from start to end.
struct Trail {
  var ledger = Data()
  var metricsLines = 0
  var newestStep = -1

  init() {}

  /// Reads it without any check.
  init(of run: Run) {
    ledger = FileManager.default.contents(atPath: run.path("checkpoints/ledger.jsonl")) ?? Data()
    metricsLines = Self.wholeLines(FileManager.default.contents(atPath: run.path("metrics.jsonl")) ?? Data())
    newestStep = Self.checkpoints(of: run).max() ?? -1
  }

  /// Charges: a torn last line counts.
  var charges: Int { Self.wholeLines(ledger) + (ledger.last.map { $0 == 10 ? 0 : 1 } ?? 0) }

  static func wholeLines(_ bytes: Data) -> Int { bytes.count { $0 == 10 } }

  static func checkpoints(of run: Run) -> [Int] {
    ((try? FileManager.default.contentsOfDirectory(atPath: run.path("checkpoints"))) ?? []).compactMap { $0.hasPrefix("step-") ? Int($0.dropFirst(5)) : nil }
  }
}
