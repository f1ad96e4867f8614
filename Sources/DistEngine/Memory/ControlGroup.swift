import Foundation

/// A control group of some controller: this process's own, or one above it. Each one's limit holds.
struct ControlGroup {
  enum Version { case one, two }

  let version: Version
  let directory: String

  /// From the group of this process up to the mount point, in both hierarchies: a system may have either or both.
  static func all(of controller: String, readingFilesBy read: (String) -> String?) -> [ControlGroup] {
    let mounts = (read("/proc/self/mountinfo") ?? "").split(separator: "\n").compactMap { Mount(line: $0, controller: controller) }
    return (read("/proc/self/cgroup") ?? "").split(separator: "\n").flatMap { line -> [ControlGroup] in
      // hierarchy:controllers:path; version 2 has hierarchy 0 and no controllers.
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
      guard fields.count == 3 else { return [] }
      let version: Version? =
        fields[0] == "0" && fields[1].isEmpty ? .two : fields[1].split(separator: ",").contains(controller[...]) ? .one : nil
      guard let version, let mount = mounts.last(where: { $0.version == version }) else { return [] }
      return mount.directories(of: fields[2]).map { ControlGroup(version: version, directory: $0) }
    }
  }

  /// What is left below the limit. Pages of files are not counted as used: the kernel drops them, those in use last; a model that is mapped is among
  /// them, and counted by who needs it. nil without a limit.
  func availableBytes(readingFilesBy read: (String) -> String?) -> Int? {
    let (limitFile, usageFile, cacheKeys) =
      version == .one
      ? ("memory.limit_in_bytes", "memory.usage_in_bytes", ["total_inactive_file", "total_active_file"])
      : ("memory.max", "memory.current", ["inactive_file", "active_file"])
    func number(_ file: String) -> Int? {
      read("\(directory)/\(file)").flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }
    // Without a limit version 2 says "max", which is no number; version 1 says the largest multiple of a page.
    guard let limit = number(limitFile), limit < 1 << 62, let usage = number(usageFile) else { return nil }
    let lines = (read("\(directory)/memory.stat") ?? "").split(separator: "\n").map { $0.split(separator: " ") }
    let cache = lines.filter { $0.count == 2 && cacheKeys.contains(String($0[0])) }.reduce(0) { $0 + (Int($1[1]) ?? 0) }
    return max(0, limit - max(0, usage - cache))
  }

  /// Cores' worth of time that the group may use; nil without a quota.
  func coreQuota(readingFilesBy read: (String) -> String?) -> Double? {
    func numbers(_ file: String) -> [Double?] {
      (read("\(directory)/\(file)") ?? "").split { $0 == " " || $0 == "\n" }.map { Double($0) }
    }
    // Version 2 says "max 100000" without a quota, version 1 a quota of -1.
    let values = version == .two ? numbers("cpu.max") : numbers("cpu.cfs_quota_us") + numbers("cpu.cfs_period_us")
    guard values.count == 2, let quota = values[0], let period = values[1], quota > 0, period > 0 else { return nil }
    return quota / period
  }

  /// A line of /proc/self/mountinfo that mounts control groups with a controller (proc(5)).
  private struct Mount {
    let version: Version
    /// The group that is seen at `point`: that of a container, where it has no name space of its own.
    let root: String
    let point: String

    init?(line: Substring, controller: String) {
      let fields = line.split(separator: " ").map(String.init)
      guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { return nil }
      switch fields[dash + 1] {
      case "cgroup2": version = .two
      case "cgroup" where fields[dash + 3].split(separator: ",").contains(controller[...]): version = .one
      default: return nil
      }
      (root, point) = (fields[3], fields[4])
    }

    /// The directories of a group and of those above it, as far as they are seen.
    func directories(of group: String) -> [String] {
      let inside = root != "/" && group.hasPrefix(root) ? String(group.dropFirst(root.count)) : group
      var parts = inside.split(separator: "/").filter { $0 != ".." }
      var result: [String] = []
      while true {
        result.append(([point] + parts.map(String.init)).joined(separator: "/"))
        guard parts.popLast() != nil else { return result }
      }
    }
  }
}
