import Foundation

/// The cores that this process may run on.
///
/// Launchers bind: Open MPI ties each of up to two ranks to one core, whatever number of threads it is then given.
public enum ProcessorAffinity {
  /// The number of cores in the affinity mask, at least 1.
  public static var usableCores: Int { cores.count }

  /// The cores in the affinity mask, by number: at least one.
  package static var cores: [Int] {
    // Glibc hides sched_getaffinity from Swift; the kernel shows the same mask as text.
    let status = SystemFile.text("/proc/thread-self/status") ?? ""
    for line in status.split(separator: "\n") where line.hasPrefix("Cpus_allowed_list:") {
      if let cores = cores(ofList: line.drop { $0 != ":" }.dropFirst()), !cores.isEmpty { return cores }
    }
    return Array(0..<max(1, ProcessInfo.processInfo.activeProcessorCount))
  }

  /// Cores' worth of time that the control groups above this process leave it (a container's `--cpus`); nil without a quota.
  package static func coreQuota(readingFilesBy read: (String) -> String?) -> Double? {
    ControlGroup.all(of: "cpu", readingFilesBy: read).compactMap { $0.coreQuota(readingFilesBy: read) }.min()
  }

  /// The cores of the affinity mask that the quota lets this process keep busy, at least 1. More threads than that wait for each other.
  package static var affordableCores: [Int] {
    let quota = coreQuota(readingFilesBy: SystemFile.text) ?? .infinity
    return Array(cores.prefix(max(1, Int(min(quota, 1e6)))))
  }

  /// The cores of a list such as `0-3,8,10-11`; nil where it is none.
  package static func cores(ofList list: some StringProtocol) -> [Int]? {
    var cores: [Int] = []
    for range in list.trimmingCharacters(in: .whitespacesAndNewlines).split(separator: ",") {
      let bounds = range.split(separator: "-").map { Int($0) }
      guard bounds.count <= 2, let first = bounds.first ?? nil, let last = bounds.last ?? nil, first <= last else { return nil }
      cores += first...last
    }
    return cores
  }

  /// A rank's part of its cores, at least 1: a core that several ranks of the node may use is shared by them.
  ///
  /// - Parameter ranks: the cores of every rank of the node.
  package static func fairShare(of rank: Int, among ranks: [[Int]]) -> Int {
    let users = ranks.joined().reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
    let share = ranks[rank].reduce(0.0) { $0 + 1 / Double(users[$1]!) }
    // Thirds add up to a whole one but for rounding.
    return max(1, Int(share + 1e-9))
  }

  /// What to say at start when a rank is given more threads than cores; nil when all is well.
  public static func warning(threads: Int, usableCores: Int) -> String? {
    guard threads > usableCores else { return nil }
    return "\(threads) threads on \(usableCores) core\(usableCores == 1 ? "" : "s"): the launcher has bound this rank; "
      + "mpirun --bind-to none, or --map-by slot:PE=\(threads), gives it more"
  }
}
