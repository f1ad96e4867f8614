import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  @Suite struct CoreDumpTests {
    /// What the system says of a run that is under way: the soft limit of a dump's size, and the kinds of memory in one.
    private func limits(_ more: [String]) throws -> (limit: String, filter: String) {
      let directory = try TemporaryDirectory()
      let process = Process()
      process.executableURL = URL(filePath: "/bin/sh")
      let options = ["--data", Fixture.records, "--batch-size", "4", "--noise-multiplier", "1", "--accountant", "rdp", "--steps", "1000000"]
      process.arguments =
        ["-c", "ulimit -S -c 4096; exec \"$0\" \"$@\"", try MPILauncher(built: "dp-mpirun").executable.path, "--output", "\(directory.path)/run"]
        + options + more
      (process.standardError, process.standardOutput) = (FileHandle.nullDevice, FileHandle.nullDevice)
      try process.run()
      let number = process.processIdentifier
      defer {
        kill(number, SIGKILL)
        process.waitUntilExit()
      }
      // Its first file is made long after MPI was started.
      let deadline = ContinuousClock.now + .seconds(60)
      while !FileManager.default.fileExists(atPath: "\(directory.path)/run/privacy.json") {
        try #require(process.isRunning && ContinuousClock.now < deadline, "no run came about")
        usleep(20_000)
      }
      let limits = try String(contentsOfFile: "/proc/\(number)/limits", encoding: .utf8)
      let line = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") })
      let filter = try String(contentsOfFile: "/proc/\(number)/coredump_filter", encoding: .utf8)
      return (String(line.dropFirst(18).split(separator: " ")[0]), filter.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    @Test func aCrashLeavesNoMemoryBehindUnlessAsked() throws {
      let usual = try limits([])
      #expect(usual.limit == "0" && usual.filter == "00000000")
      let allowed = try limits(["--allow-core-dumps"])
      #expect(allowed.limit != "0" && allowed.filter != "00000000")
    }
  }
}
