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
    AvailableMemory(sharedByteCount: freeBytes(ofFileSystemAt: "/dev/shm"), readingFilesBy: SystemFile.text)
  }

  package init(byteCount: Int?, limit: String, sharedByteCount: Int?) {
    (self.byteCount, self.limit, self.sharedByteCount) = (byteCount, limit, sharedByteCount)
  }

  /// - Parameter read: the text of a file, nil where there is none.
  package init(sharedByteCount: Int?, readingFilesBy read: (String) -> String?) {
    self.sharedByteCount = sharedByteCount
    let kernel = Self.kilobytes(of: "MemAvailable:", in: read("/proc/meminfo") ?? "").map { ("MemAvailable", $0 * 1024) }
    let groups = ControlGroup.all(of: "memory", readingFilesBy: read).compactMap { group in
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
