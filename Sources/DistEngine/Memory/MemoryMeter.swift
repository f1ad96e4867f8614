import Foundation

/// What the operating system says that this process holds.
public enum MemoryMeter {
  /// Bytes in a megabyte, as all figures of this program count them.
  public static let megabyte = 1 << 20

  /// Largest resident set so far (VmHWM), in bytes; 0 where the system doesn't tell. Shared pages count in each rank.
  public static var peakResidentBytes: Int { kilobytes(of: "VmHWM:", in: "/proc/self/status") * 1024 }

  /// Resident set now (VmRSS), in bytes.
  public static var residentBytes: Int { kilobytes(of: "VmRSS:", in: "/proc/self/status") * 1024 }

  /// Proportional set size now, in bytes: shared pages count by their share, so that ranks of a node can be added up.
  public static var proportionalBytes: Int { kilobytes(of: "Pss:", in: "/proc/self/smaps_rollup") * 1024 }

  /// Makes the peak what is resident now (proc(5), /proc/pid/clear_refs).
  ///
  /// - Returns: nil, or why the kernel refuses it; the peak is then that of the process's whole life.
  package static func resetPeak() -> String? {
    let file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return String(cString: strerror(errno)) }
    defer { close(file) }
    return write(file, "5", 1) == 1 ? nil : String(cString: strerror(errno))
  }

  private static func kilobytes(of key: String, in path: String) -> Int {
    guard let text = SystemFile.text(path) else { return 0 }
    for line in text.split(separator: "\n") where line.hasPrefix(key) {
      return line.dropFirst(key.count).split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) } ?? 0
    }
    return 0
  }
}
