/// Where a step's seconds went, on one rank. The parts add up to the whole.
public struct StepTimings: Sendable {
  public enum Part: Int, CaseIterable, Sendable {
    /// The ledger's entry, on disk.
    case charge
    case sample
    /// Forward and backward passes, norms and weighted sums.
    case gradients
    case noise
    /// The optimizer, and what is counted.
    case update
    /// Collectives of all other parts, waiting for slower ranks included.
    case communication
    /// Checkpoints, which the steps wait for.
    case checkpoint
  }

  private var parts = [Double](repeating: 0, count: Part.allCases.count)

  public var seconds: Double { parts.reduce(0, +) }

  public fileprivate(set) subscript(part: Part) -> Double {
    get { parts[part.rawValue] }
    set { parts[part.rawValue] = newValue }
  }

  /// Adds another step's, part by part.
  public static func += (sum: inout StepTimings, step: StepTimings) {
    for part in Part.allCases { sum[part] += step[part] }
  }

  public init() {}

  /// The wait for one checkpoint.
  public init(checkpointSeconds: Double) { self[.checkpoint] = checkpointSeconds }
}

/// Divides a step's time among its parts as it goes on, and takes what was spent in collectives out of each.
struct StepClock {
  private let activity: CollectiveActivity
  private var time = ContinuousClock.now
  private var collectiveSeconds: Double
  private(set) var timings = StepTimings()

  init(_ activity: CollectiveActivity) {
    self.activity = activity
    collectiveSeconds = activity.seconds
  }

  /// Ends a part that began at the last mark.
  ///
  /// - Parameter other: a part that was done in between, piece by piece, and its seconds.
  mutating func mark(_ part: StepTimings.Part, without other: (part: StepTimings.Part, seconds: Double)? = nil) {
    let (now, collective) = (ContinuousClock.now, activity.seconds)
    timings[part] += (now - time).seconds - (collective - collectiveSeconds) - (other?.seconds ?? 0)
    if let other { timings[other.part] += other.seconds }
    timings[.communication] += collective - collectiveSeconds
    (time, collectiveSeconds) = (now, collective)
  }
}
