import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a node has left for its processes: the least of what the kernel and every control group above this process leave.
///
/// The ranks of a node share it, so it is read by one of them, or by all before any of them allocates.
public struct AvailableMemory: Sendable, Equatable {
  /// Bytes that can still be taken; nil where the system tells nothing.
  public let byteCount: Int?
  /// Who sets the limit: `MemAvailable`, or the control group's directory.
  public let limit: String
  /// Bytes free in /dev/shm, where shared windows lie. They count against `byteCount`, too. nil where there is no /dev/shm.
  public let sharedByteCount: Int?

  /// This process's node, now.
  public static var current: AvailableMemory {
    AvailableMemory(sharedByteCount: freeBytes(ofFileSystemAt: "/dev/shm")) {
      try? String(contentsOfFile: $0, encoding: .utf8)
    }
  }

  package init(byteCount: Int?, limit: String, sharedByteCount: Int?) {
    (self.byteCount, self.limit, self.sharedByteCount) = (byteCount, limit, sharedByteCount)
  }

  /// - Parameter read: the text of a file, nil where there is none.
  package init(sharedByteCount: Int?, readingFilesBy read: (String) -> String?) {
    self.sharedByteCount = sharedByteCount
    let kernel = Self.kilobytes(of: "MemAvailable:", in: read("/proc/meminfo") ?? "").map { ("MemAvailable", $0 * 1024) }
    let groups = MemoryControlGroup.all(readingFilesBy: read).compactMap { group in
      group.availableBytes(readingFilesBy: read).map { (group.directory, $0) }
    }
    let least = ([kernel].compactMap { $0 } + groups).min { $0.1 < $1.1 }
    byteCount = least?.1
    limit = least?.0 ?? "nothing known"
  }

  private static func kilobytes(of key: String, in text: String) -> Int? {
    let line = text.split(separator: "\n").first { $0.hasPrefix(key) }
    return line?.dropFirst(key.count).split(separator: " ").first.flatMap { Int($0) }
  }

  /// Bytes that an unprivileged process can still write.
  private static func freeBytes(ofFileSystemAt path: String) -> Int? {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return nil }
    return Int(status.f_bavail) * Int(status.f_frsize)
  }
}

/// A control group that counts memory: this process's own, or one above it. Each one's limit holds.
private struct MemoryControlGroup {
  enum Version { case one, two }

  let version: Version
  let directory: String

  /// From the group of this process up to the mount point, in both hierarchies: a system may have either or both.
  static func all(readingFilesBy read: (String) -> String?) -> [MemoryControlGroup] {
    let mounts = (read("/proc/self/mountinfo") ?? "").split(separator: "\n").compactMap(Mount.init)
    return (read("/proc/self/cgroup") ?? "").split(separator: "\n").flatMap { line -> [MemoryControlGroup] in
      // hierarchy:controllers:path; version 2 has hierarchy 0 and no controllers.
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
      guard fields.count == 3 else { return [] }
      let version: Version? =
        fields[0] == "0" && fields[1].isEmpty ? .two : fields[1].split(separator: ",").contains("memory") ? .one : nil
      guard let version, let mount = mounts.last(where: { $0.version == version }) else { return [] }
      return mount.directories(of: fields[2]).map { MemoryControlGroup(version: version, directory: $0) }
    }
  }

  /// What is left below the limit. Cache that the kernel drops first (inactive file pages) is not counted as used. nil without a limit.
  func availableBytes(readingFilesBy read: (String) -> String?) -> Int? {
    let (limitFile, usageFile, cacheKey) =
      version == .one
      ? ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
      : ("memory.max", "memory.current", "inactive_file")
    func number(_ file: String) -> Int? {
      read("\(directory)/\(file)").flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    }
    // Without a limit version 2 says "max", which is no number; version 1 says the largest multiple of a page.
    guard let limit = number(limitFile), limit < 1 << 62, let usage = number(usageFile) else { return nil }
    let lines = (read("\(directory)/memory.stat") ?? "").split(separator: "\n").map { $0.split(separator: " ") }
    let cache = lines.first { $0.count == 2 && $0[0] == cacheKey }.flatMap { Int($0[1]) } ?? 0
    return max(0, limit - max(0, usage - cache))
  }

  /// A line of /proc/self/mountinfo that mounts control groups with memory (proc(5)).
  private struct Mount {
    let version: Version
    /// The group that is seen at `point`: that of a container, where it has no name space of its own.
    let root: String
    let point: String

    init?(line: Substring) {
      let fields = line.split(separator: " ").map(String.init)
      guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { return nil }
      switch fields[dash + 1] {
      case "cgroup2": version = .two
      case "cgroup" where fields[dash + 3].split(separator: ",").contains("memory"): version = .one
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
