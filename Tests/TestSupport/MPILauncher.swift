import Foundation

/// Starts a built program under mpirun, as a user would, and keeps what it printed. Nothing that it starts outlives its timeout.
public struct MPILauncher: Sendable {
  public struct Outcome: Sendable {
    /// The launcher's exit status; 128 + the signal's number where a signal ended it.
    public let status: Int32
    public let standardOutput: String
    public let standardError: String
    public let seconds: Double
    /// The program was ended because it took too long.
    public let timedOut: Bool

    /// The lines on standard error that start with `Error: `: a failure is exactly one.
    public var errorLines: [String] {
      standardError.split(whereSeparator: \.isNewline).map(String.init).filter { $0.hasPrefix("Error: ") }
    }

    public var outputLines: [String] { standardOutput.split(whereSeparator: \.isNewline).map(String.init) }
  }

  public struct NotBuilt: Error, CustomStringConvertible {
    public let description: String
  }

  public let executable: URL

  public init(executable: URL) {
    self.executable = executable
  }

  /// A product or executable target of this package, next to the test bundle.
  public init(built name: String) throws {
    let runner = URL(
      fileURLWithPath: (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0])
    for folder in sequence(
      first: runner.deletingLastPathComponent(), next: { $0.path == "/" ? nil : $0.deletingLastPathComponent() }
    ).prefix(4) {
      let candidate = folder.appendingPathComponent(name)
      var isDirectory: ObjCBool = false
      if FileManager.default.fileExists(atPath: candidate.path, isDirectory: &isDirectory), !isDirectory.boolValue {
        executable = candidate
        return
      }
    }
    throw NotBuilt(description: "no executable \(name) near \(runner.path): build it in the same configuration as the tests")
  }

  /// Runs the program and waits for it.
  ///
  /// - Parameter ranks: nil starts the program by itself, without mpirun.
  /// - Parameter isOversubscribed: more ranks than cores are fine. Off where a hostfile gives the slots.
  /// - Parameter environment: added to this process's; a nil value takes a variable away.
  public func run(
    _ arguments: [String] = [], ranks: Int?, launcherOptions: [String] = [], isOversubscribed: Bool = true,
    environment: [String: String?] = [:], directory: URL? = nil, timeout: Duration = .seconds(60)
  ) throws -> Outcome {
    let process = Process()
    // `env` finds mpirun on the path.
    process.executableURL = ranks == nil ? executable : URL(fileURLWithPath: "/usr/bin/env")
    let launcher = ["mpirun"] + (isOversubscribed ? ["--oversubscribe"] : []) + launcherOptions
    process.arguments = (ranks.map { launcher + ["-np", "\($0)", executable.path] } ?? []) + arguments
    process.currentDirectoryURL = directory
    process.standardInput = FileHandle.nullDevice

    // Files and not pipes: a full pipe that nobody reads would stop the program.
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("mpi-launcher-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    process.environment = Self.environment(sessions: folder, adding: environment)
    let (output, error) = (folder.appendingPathComponent("out"), folder.appendingPathComponent("err"))
    for file in [output, error] { try Data().write(to: file) }
    process.standardOutput = try FileHandle(forWritingTo: output)
    process.standardError = try FileHandle(forWritingTo: error)

    let start = ContinuousClock.now
    try Self.withoutBlockedSignals { try process.run() }
    let timedOut = !Self.wait(for: process, until: start + timeout)
    if timedOut { Self.end(process) }
    let spent = (ContinuousClock.now - start).components
    return Outcome(
      // What it started may hold on to it when it is gone itself.
      status: process.isRunning ? 124 : process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus,
      standardOutput: String(decoding: try Data(contentsOf: output), as: UTF8.self),
      standardError: String(decoding: try Data(contentsOf: error), as: UTF8.self),
      seconds: Double(spent.seconds) + Double(spent.attoseconds) * 1e-18, timedOut: timedOut)
  }

  /// What Open MPI needs to run as root, and nothing of a launcher that the tests themselves run under.
  ///
  /// - Parameter sessions: where Open MPI keeps what a job needs. Jobs that begin and end at the same time make and remove one directory
  ///   for all where they are not told otherwise, and may fail over it.
  private static func environment(sessions: URL, adding changes: [String: String?]) -> [String: String] {
    var result = ProcessInfo.processInfo.environment.filter { name, _ in
      !["OMPI_COMM_WORLD_", "PMI_", "PMIX_", "SLURM_"].contains { name.hasPrefix($0) }
    }
    result["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
    result["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    result["OMPI_MCA_orte_tmpdir_base"] = sessions.path
    for (name, value) in changes { result[name] = value }
    return result
  }

  /// A child inherits its thread's blocked signals, and the threads of the tests block nearly all: mpirun would never see a TERM.
  private static func withoutBlockedSignals(_ body: () throws -> Void) rethrows {
    var none = sigset_t()
    var before = sigset_t()
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    try body()
  }

  private static func wait(for process: Process, until deadline: ContinuousClock.Instant) -> Bool {
    while process.isRunning {
      guard ContinuousClock.now < deadline else { return false }
      usleep(5000)
    }
    return true
  }

  /// mpirun passes TERM on to its ranks; KILL is for an mpirun that doesn't answer, whose ranks then miss it and end.
  private static func end(_ process: Process) {
    process.terminate()
    if !wait(for: process, until: .now + .seconds(10)) {
      kill(process.processIdentifier, SIGKILL)
      _ = wait(for: process, until: .now + .seconds(10))
    }
  }
}
