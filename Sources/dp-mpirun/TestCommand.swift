import ArgumentParser
import DistEngine

struct TestCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "test", abstract: "Check this build on this machine: trainers, norms, noise, accountants. One process.")

  mutating func run() throws {
    try runUnderMPI { environment in
      let failures = try SelfTest.run(environment: environment) { check in
        guard environment.world.rank == 0 else { return }
        StandardOutput.write(line: "\(check.passed ? "ok  " : "FAIL")  \(check.name): \(check.detail)")
      }
      guard failures == 0 else { throw SelfTest.Failure(count: failures) }
    }
  }
}
