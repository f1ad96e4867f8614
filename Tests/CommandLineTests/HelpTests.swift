import Testing

extension LaunchedProgramTests {
  @Suite struct HelpTests {
    @Test(
      arguments: [
        [], ["train"], ["test"], ["evaluate"], ["generate"], ["inspect"], ["epsilon"], ["calibrate"], ["plan"], ["memory"], ["merge"],
      ])
    func helpIsPrintedWithoutMPI(command: [String]) throws {
      // A launcher that MPI would refuse: it isn't asked.
      let outcome = try Program.run(command + ["--help"], environment: ["OMPI_COMM_WORLD_SIZE": "4"])
      #expect(outcome.status == 0, "\(outcome.standardError)")
      #expect(outcome.standardOutput.contains("USAGE: dp-mpirun"))
      #expect(outcome.standardError == "")
    }

    @Test func helpAndVersionArePrintedByOneRank() throws {
      let version = try Program.run(["--version"], ranks: 3)
      #expect(version.status == 0)
      #expect(version.outputLines.count == 1 && version.outputLines.first?.first?.isNumber == true, "\(version.outputLines)")
      let help = try Program.run(["--help"], ranks: 3)
      #expect(help.outputLines.filter { $0.hasPrefix("USAGE") }.count == 1)
    }

    @Test func selfTestPasses() throws {
      let outcome = try Program.run(["--mode", "test"], timeout: .seconds(120))
      #expect(outcome.status == 0, "\(outcome.standardError)")
      #expect(outcome.outputLines.count > 10)
      #expect(outcome.outputLines.filter { !$0.hasPrefix("ok ") } == [])
    }
  }
}
