import DistEngine
import Testing

/// A control group's quota of processor time, from made-up files of the kernel's.
@Suite struct CoreQuotaTests {
  private func quota(_ files: [String: String]) -> Double? { ProcessorAffinity.coreQuota { files[$0] } }

  @Test func theTightestGroupOfVersion2Counts() {
    var files = [
      "/proc/self/cgroup": "0::/kubepods/pod\n",
      "/proc/self/mountinfo": "30 1 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n",
      "/sys/fs/cgroup/kubepods/pod/cpu.max": "max 100000\n", "/sys/fs/cgroup/kubepods/cpu.max": "250000 100000\n",
    ]
    #expect(quota(files) == 2.5)
    files["/sys/fs/cgroup/kubepods/pod/cpu.max"] = "50000 100000\n"
    #expect(quota(files) == 0.5)
    files["/sys/fs/cgroup/kubepods/pod/cpu.max"] = "max 100000\n"
    files["/sys/fs/cgroup/kubepods/cpu.max"] = nil
    #expect(quota(files) == nil)
  }

  /// Beside a hierarchy of version 2 without controllers, as on older systems.
  @Test func aGroupOfVersion1() {
    var files = [
      "/proc/self/cgroup": "4:memory:/other\n3:cpu,cpuacct:/docker/abc\n0::/\n",
      "/proc/self/mountinfo":
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n", "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    ]
    #expect(quota(files) == 1.5)
    files["/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us"] = "-1\n"
    #expect(quota(files) == nil)
  }

  @Test func aSystemThatTellsNothing() { #expect(quota([:]) == nil) }

  @Test func thisSystem() { #expect((1...ProcessorAffinity.usableCores).contains(ProcessorAffinity.affordableCores.count)) }
}
