import DistEngine
import Testing

@Suite struct AvailableMemoryTests {
  static let mebibyte = 1 << 20
  static let meminfo = "MemTotal:       24684024 kB\nMemFree:         1024000 kB\nMemAvailable:   8388608 kB\n"

  private func read(_ files: [String: String]) -> AvailableMemory {
    AvailableMemory(sharedByteCount: 7) { files[$0] }
  }

  @Test func withoutGroupsTheKernelSaysWhatIsLeft() {
    let memory = read(["/proc/meminfo": Self.meminfo])
    #expect(memory == AvailableMemory(byteCount: 8192 * Self.mebibyte, limit: "MemAvailable", sharedByteCount: 7))
  }

  @Test func aSystemThatTellsNothing() {
    #expect(read([:]).byteCount == nil)
    #expect(
      read(["/proc/meminfo": "MemTotal: 5 kB\n", "/proc/self/cgroup": "nonsense\n::\n", "/proc/self/mountinfo": "1 2 - x\n"])
        .byteCount == nil)
  }

  /// Version 2: the limit of a group above holds, cache that the kernel drops first is not used.
  @Test func theTightestGroupOfVersion2Counts() {
    var files = [
      "/proc/meminfo": Self.meminfo,
      "/proc/self/cgroup": "0::/system.slice/job\n",
      "/proc/self/mountinfo":
        "24 1 0:22 / /proc rw shared:5 - proc proc rw\n30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
      "/sys/fs/cgroup/system.slice/job/memory.max": "max\n",
      "/sys/fs/cgroup/system.slice/job/memory.current": "123456\n",
      "/sys/fs/cgroup/system.slice/memory.max": "\(2000 * Self.mebibyte)\n",
      "/sys/fs/cgroup/system.slice/memory.current": "\(1500 * Self.mebibyte)\n",
      "/sys/fs/cgroup/system.slice/memory.stat": "anon 5\ninactive_anon 9\ninactive_file \(300 * Self.mebibyte)\nactive_file \(100 * Self.mebibyte)\n",
    ]
    #expect(
      read(files) == AvailableMemory(byteCount: 900 * Self.mebibyte, limit: "/sys/fs/cgroup/system.slice", sharedByteCount: 7))
    files["/sys/fs/cgroup/system.slice/job/memory.max"] = "1000000"
    #expect(read(files).byteCount == 1_000_000 - 123456)
    #expect(read(files).limit == "/sys/fs/cgroup/system.slice/job")
    // More used than allowed, where a limit was lowered: nothing is left, not less than nothing.
    files["/sys/fs/cgroup/system.slice/job/memory.max"] = "100000"
    #expect(read(files).byteCount == 0)
    // The system has less than the group leaves.
    files["/sys/fs/cgroup/system.slice/job/memory.max"] = "max"
    files["/proc/meminfo"] = "MemAvailable: 1024 kB\n"
    #expect(read(files) == AvailableMemory(byteCount: Self.mebibyte, limit: "MemAvailable", sharedByteCount: 7))
  }

  /// Version 1 beside an unused version 2, as on older systems.
  @Test func aGroupOfVersion1() {
    var files = [
      "/proc/meminfo": Self.meminfo,
      "/proc/self/cgroup": "9:name=systemd:/\n4:memory:/slurm/job_7\n3:cpu,cpuacct:/elsewhere\n0::/\n",
      "/proc/self/mountinfo":
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
      "/sys/fs/cgroup/memory/memory.usage_in_bytes": "4096\n",
      "/sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes": "\(64 * Self.mebibyte)\n",
      "/sys/fs/cgroup/memory/slurm/job_7/memory.usage_in_bytes": "\(60 * Self.mebibyte)\n",
      "/sys/fs/cgroup/memory/slurm/job_7/memory.stat": "inactive_file 1\nactive_file 1\ntotal_inactive_file \(2 * Self.mebibyte)\ntotal_active_file \(Self.mebibyte)\n",
    ]
    #expect(
      read(files) == AvailableMemory(byteCount: 7 * Self.mebibyte, limit: "/sys/fs/cgroup/memory/slurm/job_7", sharedByteCount: 7)
    )
    files["/sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes"] = "9223372036854771712\n"
    #expect(read(files).limit == "MemAvailable")
  }

  /// A container without a name space of its own sees its group at the mount point.
  @Test func aContainersGroup() {
    let files = [
      "/proc/self/cgroup": "4:memory:/docker/abc/inner\n",
      "/proc/self/mountinfo": "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
      "/sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000",
      "/sys/fs/cgroup/memory/memory.usage_in_bytes": "1000",
    ]
    #expect(read(files) == AvailableMemory(byteCount: 999_000, limit: "/sys/fs/cgroup/memory", sharedByteCount: 7))
  }

  @Test func thisSystem() throws {
    let memory = AvailableMemory.current
    #expect(try #require(memory.byteCount) > 0)
    #expect(memory.limit == "MemAvailable" || memory.limit.hasPrefix("/"))
  }
}

@Suite struct SystemFileTests {
  /// /proc/self/smaps is many pages long; its last mapping is the kernel's.
  @Test func filesWithoutASizeAreReadToTheirEnd() throws {
    let text = try #require(SystemFile.text("/proc/self/smaps"))
    #expect(text.utf8.count > 1 << 13 && text.contains("[stack]"))
    #expect(SystemFile.text("/proc/self/no such file") == nil)
  }
}
