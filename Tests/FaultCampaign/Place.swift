import Foundation

/// Where the campaign works: directories of its own, a small disk and a /dev/shm that nobody else uses where the system allows mounts, and
/// pretend hosts where they are asked for.
final class Place {
  let work: String
  let program: String
  /// A disk of a few MB; nil where none can be mounted.
  let smallDisk: String?
  let hosts: Int
  private(set) var environment: [String: String]
  private let cluster = "f\(getpid())"
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .path(percentEncoded: false)
  static let fixture = root + "Tests/Fixtures/gpt2-tiny"
  private static let script = root + "scripts/cluster"
  private static let isInside = "DP_MPIRUN_CAMPAIGN_INSIDE"

  init(program: String, hosts: Int) throws {
    (self.program, self.hosts) = (program, hosts)
    work = FileManager.default.temporaryDirectory.resolvingSymlinksInPath().path(percentEncoded: false) + "/dp-faults-\(getpid())"
    for name in ["", "/sessions", "/room", "/disk"] { try FileManager.default.createDirectory(atPath: work + name, withIntermediateDirectories: true) }
    var environment = ProcessInfo.processInfo.environment.filter { name, _ in
      !["OMPI_COMM_WORLD_", "PMI_", "PMIX_", "SLURM_"].contains { name.hasPrefix($0) }
    }
    environment.merge(["CI": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "CLUSTER": cluster]) { $1 }
    let canMount = environment[Self.isInside] != nil
    smallDisk = canMount ? work + "/disk" : nil
    self.environment = environment
    if canMount {
      // Before the hosts are made: they see what is mounted then.
      try run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", work + "/disk"])
      try run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"])
    }
    if hosts > 0 {
      // Four slots: any number of ranks fits on any choice of hosts.
      try run([Self.script, "start", "--hosts", "\(hosts)", "--slots", "4"])
    }
    self.environment["OMPI_MCA_orte_tmpdir_base"] = work + "/sessions"
  }

  func remove() {
    if hosts > 0 { _ = try? run([Self.script, "stop"]) }
    if let smallDisk { _ = try? run(["umount", smallDisk]) }
    try? FileManager.default.removeItem(atPath: work)
  }

  @discardableResult
  func run(_ command: [String]) throws -> String { try Child.run(command, environment: environment, log: work + "/command") }

  /// Starts the program again in a mount namespace, as the root of a user namespace where it isn't root; returns where that is refused, and
  /// when it is there.
  static func enterNamespace() {
    guard getenv(isInside) == nil, let own = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else { return }
    let namespace = ["unshare", "--mount"] + (getuid() == 0 ? [] : ["--map-root-user"])
    let log = FileManager.default.temporaryDirectory.path(percentEncoded: false) + "/dp-faults-trial-\(getpid())"
    defer { for end in [".out", ".err"] { unlink(log + end) } }
    let environment = ProcessInfo.processInfo.environment
    guard (try? Child.run(namespace + ["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], environment: environment, log: log)) != nil else { return }
    for end in [".out", ".err"] { unlink(log + end) }
    setenv(isInside, "1", 1)
    let arguments = (namespace + [own] + CommandLine.arguments.dropFirst()).map { strdup($0) } + [nil]
    arguments.withUnsafeBufferPointer { _ = execvp($0[0]!, $0.baseAddress!) }
    unsetenv(isInside)
  }

  /// mpirun, on some of the hosts or here.
  ///
  /// - Parameter hosts: nil: here.
  func launcher(ranks: Int, hosts: [Int]?) -> [String] {
    guard let hosts else { return ["mpirun", "--oversubscribe", "-np", "\(ranks)"] }
    // A lost host is noticed in seconds.
    return [Self.script, "run", "--", "--mca", "oob_tcp_keepalive_time", "1", "--mca", "oob_tcp_keepalive_intvl", "1", "--mca", "oob_tcp_keepalive_probes", "2"]
      + ["--oversubscribe", "--map-by", "node", "--host", hosts.map { "node\($0):4" }.joined(separator: ","), "-np", "\(ranks)"]
  }

  func takeCableOut(ofHost host: Int) throws { try run(["ip", "-n", "dpm-\(cluster)-switch", "link", "set", "node\(host)", "down"]) }

  /// Joins all hosts again, and waits until they reach one another.
  func putCablesIn() throws {
    for host in 1...hosts { try run(["ip", "-n", "dpm-\(cluster)-switch", "link", "set", "node\(host)", "up"]) }
    // Nobody listens there: being refused is an answer.
    let look = "for try in $(seq 50); do timeout 1 bash -c \"</dev/tcp/$0/1\" 2>&1 | grep -q refused && exit 0; sleep 0.1; done; exit 1"
    for host in 1...hosts { try run([Self.script, "exec", "node1", "bash", "-c", look, "node\(host)"]) }
  }

  /// Names in the shared memory of this machine or its hosts; they are removed. Empty where others use it, too.
  func takeSegments(hosts: [Int]?) throws -> [String] {
    let command = ["find", "/dev/shm", "-mindepth", "1", "-print", "-delete"]
    let text: String
    if let hosts {
      text = try hosts.map { try run([Self.script, "exec", "node\($0)"] + command) }.joined()
    } else {
      text = smallDisk == nil ? "" : try run(command)
    }
    return text.split(separator: "\n").map(String.init)
  }

  func clearSessions() {
    let folder = work + "/sessions"
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] { try? FileManager.default.removeItem(atPath: "\(folder)/\(name)") }
  }
}
