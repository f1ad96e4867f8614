/// What one combination was planned to take and took, over all ranks. MB are 2^20 bytes.
public struct MemoryRecord: Codable, Equatable, Sendable {
  public enum Outcome: String, Codable, Sendable {
    case measured
    /// By the plan it doesn't fit: nothing was allocated.
    case skipped
    /// The system refused it.
    case failed
  }

  public var combination: MemoryCombination
  public var parameters: Int
  public var outcome: Outcome
  /// Why it wasn't measured.
  public var reason: String?
  public var byRank: [RankMemory]
  public var byNode: [NodeMemory]
  public var total: NodeMemory
  /// Median over the steps but the first, of the slowest rank.
  public var stepSecondsMedian: Double?
  /// The largest b, all else equal, whose plan fits in the budget or in what is available, on every node; 0 where not even one record does, nil where
  /// nothing limits it.
  public var largestMicrobatch: Int?
  /// False where a kernel refuses to reset the peak: `peak` is then that of the process's whole life.
  public var peakWasReset: Bool

  public var ranks: Int { byRank.count }
}

/// A quantity of memory, in MB, at the fixed points of a combination's life.
public struct MemoryStages: BitwiseCopyable, Codable, Equatable, Sendable {
  /// Before anything was allocated: the program, its libraries, what earlier combinations left.
  public var before: Double
  /// With the plan's slab allocated and the parameters written. The system gives the rest of the slab at its first use.
  public var allocated: Double
  /// The most there was, from `before` on. Of a rank the kernel's high-water mark, of nodes the most at the other points.
  public var peak: Double
  public var afterStep: Double
  public var afterRelease: Double

  /// What the combination took at most.
  public var growth: Double { peak - before }
}

public struct RankMemory: Codable, Equatable, Sendable {
  public var host: String
  /// The plan's slab.
  public var plannedMb: Double
  /// The plan's buffers at the fullest point of a step, by category.
  public var plannedByCategoryMb: [String: Double]
  /// Of those buffers' places, what was in memory after the last step.
  public var residentByCategoryMb: [String: Double]?
  /// Resident set: memory that ranks share counts in each.
  public var rssMb: MemoryStages?
}

/// One node, or all of them.
public struct NodeMemory: Codable, Equatable, Sendable {
  public var hosts: [String]
  public var ranks: Int
  public var plannedMb: Double
  /// Before anything was allocated; nil where the system tells nothing.
  public var availableMb: Double?
  /// Proportional set sizes of the ranks, added up: memory that ranks share counts once.
  public var pssMb: MemoryStages?
}

extension MemoryPlan.Category {
  /// As a key of JSON, or part of a column's name.
  var key: String { String(rawValue.map { $0.isLetter ? $0 : "_" }) }
}

extension Int {
  /// Bytes in MB.
  var megabytes: Double { Double(self) / Double(MemoryMeter.megabyte) }
}
