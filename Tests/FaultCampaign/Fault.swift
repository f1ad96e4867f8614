import Foundation

/// What befalls a run.
enum Fault: String, CaseIterable {
  case killRank = "KILL of a rank"
  case killRanks = "KILL of all ranks"
  case killLauncher = "KILL of mpirun"
  case killAll = "KILL of mpirun and all ranks"
  case stopRank = "STOP of a rank"
  case terminateRank = "TERM to a rank"
  case terminateRanks = "TERM to all ranks"
  case terminateLauncher = "TERM to mpirun"
  case interruptRank = "INT to a rank"
  case interruptTwice = "INT twice to all ranks"
  case interruptLauncher = "INT to mpirun"
  case stopRequestRank = "USR1 to a rank"
  case stopRequestLauncher = "USR1 to mpirun"
  case checkpointRequestRank = "USR2 to a rank"
  case checkpointRequestLauncher = "USR2 to mpirun"
  case fullDisk = "disk full"
  case cable = "cable of a host out"

  /// How often it is drawn. What has to wait for a time-out is rare.
  var weight: Int {
    switch self {
    case .stopRank, .cable: 2
    case .fullDisk: 12
    case .killRank, .killAll: 8
    default: 5
    }
  }

  /// The signal, for those that are one.
  var signal: Int32? {
    switch self {
    case .killRank, .killRanks, .killLauncher, .killAll: SIGKILL
    case .stopRank: SIGSTOP
    case .terminateRank, .terminateRanks, .terminateLauncher: SIGTERM
    case .interruptRank, .interruptTwice, .interruptLauncher: SIGINT
    case .stopRequestRank, .stopRequestLauncher: SIGUSR1
    case .checkpointRequestRank, .checkpointRequestLauncher: SIGUSR2
    case .fullDisk, .cable: nil
    }
  }

  /// Whether mpirun is what gets the signal.
  var hitsLauncher: Bool {
    [.killLauncher, .killAll, .terminateLauncher, .interruptLauncher, .stopRequestLauncher, .checkpointRequestLauncher].contains(self)
  }

  /// How many of the ranks get it.
  var hitsRanks: Int {
    switch self {
    case .killRanks, .killAll, .terminateRanks, .interruptTwice: .max
    case .killRank, .stopRank, .terminateRank, .interruptRank, .stopRequestRank, .checkpointRequestRank: 1
    default: 0
    }
  }

  /// Statuses of the launcher that a run may end with, beside the 0 of one that is done.
  ///
  /// - Parameter isEarly: no step was done yet: a process may not have got its handlers, and the launcher not its ranks.
  func statuses(isEarly: Bool) -> Set<Int32> {
    let bySignal: Set<Int32> = isEarly ? Set(signal.map { [128 + $0] } ?? []) : []
    // An early signal finds mpirun before it knows what to do with it, or in the middle of starting ranks, which it then calls a failure.
    return switch self {
    case .killRank, .killRanks, .killLauncher, .killAll: isEarly ? [137, 1] : [137]
    case .stopRank: [75]
    case .terminateRank, .terminateRanks, .interruptRank, .stopRequestRank: bySignal.union([85])
    // mpirun kills what hasn't ended a moment later.
    case .terminateLauncher, .interruptLauncher: Set([85, 137, 143, 130, 1]).union(bySignal)
    case .interruptTwice: [130, 85]
    case .stopRequestLauncher: bySignal.union(isEarly ? [85, 1] : [85])
    case .checkpointRequestRank, .checkpointRequestLauncher: bySignal.union(isEarly ? [1] : [])
    case .fullDisk: [1]
    // mpirun's own for a lost host, a peer that MPI misses, the watchdog's; one host alone is not cut off from anything.
    case .cable: [205, 75, 70, 137, 1]
    }
  }

  /// Whether Open MPI may leave its segments: nobody is left who could take them away (docs/clusters.md).
  var mayLeaveSegments: Bool { [.killAll, .killLauncher].contains(self) }
}

/// When it comes.
enum Moment: CustomStringConvertible {
  case milliseconds(Int)
  /// Steps done in this start, and then a little.
  case steps(Int, microseconds: Int)
  /// A checkpoint is being written: the n-th of this start, and then a little.
  case checkpoint(Int, microseconds: Int)
  /// The model's directory is there.
  case model(microseconds: Int)

  var description: String {
    switch self {
    case .milliseconds(let count): "\(count) ms after the start"
    case .steps(let count, _): "after \(count) steps of the start"
    case .checkpoint(let count, _): "in checkpoint \(count) of the start"
    case .model: "while the model is written"
    }
  }

  init(by dice: inout Dice) {
    switch dice.below(10) {
    case 0..<2: self = .milliseconds(dice.below(1800))
    case 2..<6: self = .steps(dice.below(40), microseconds: dice.below(20_000))
    case 6..<9: self = .checkpoint(dice.below(6), microseconds: dice.below(6000))
    default: self = .model(microseconds: dice.below(6000))
    }
  }
}

/// Random numbers from a seed (SplitMix64: Steele, Lea, Flood 2014).
struct Dice {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  private mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
  mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }
}
