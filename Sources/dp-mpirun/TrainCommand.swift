import ArgumentParser
import DistEngine
import PrivacyAccounting

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train or fine-tune a model (the default).",
    discussion: """
      A private mode (ghost, hooks) needs --noise-multiplier or --target-epsilon on your own data. With --output, the \
      directory gets the model in Hugging Face's layout (with --trainable lora the adapter in PEFT's), run.json, metrics.jsonl and privacy.json.
      """)

  @OptionGroup var options: TrainOptions

  func validate() throws { _ = try options.makeConfiguration() }

  mutating func run() throws {
    let configuration = try options.makeConfiguration()
    let options = options.run
    // From before MPI starts: a scheduler's signal must not find a rank without its handler. Without a directory there is nothing to go on
    // from, and a signal ends the run as it always does.
    let signals = options.output.map { _ in RunSignals.shared }
    signals?.install()
    let status = MPIEnvironment.run(
      collectiveTimeout: .seconds(options.collectiveTimeout), allowsCoreDumps: options.allowCoreDumps
    ) { environment in
      let observer = TrainingConsole(showsProgress: !options.noProgress, showsTimings: options.timings)
      let trainer = try Trainer(configuration, environment: environment, observer: observer, signals: signals)
      let report: TrainingReport
      do { report = try trainer.run() } catch let stop as StoppedOnRequest {
        if environment.world.rank == 0 { Notes.say("\(stop)") }
        return stop.exitStatus
      }
      guard environment.world.rank == 0 else { return ExitStatus.done }
      if options.json {
        try StandardOutput.printJSON(report)
      } else {
        TrainingSummary(report, hosts: environment.topology.hosts).print()
      }
      return ExitStatus.done
    }
    throw ExitCode(status)
  }
}

/// Starts MPI, runs a command's body on every rank, and ends the process with the status that all ranks share.
func runUnderMPI(
  collectiveTimeout: Duration = .seconds(600), allowsCoreDumps: Bool = false, _ body: (MPIEnvironment) throws -> Void
) throws {
  let status = MPIEnvironment.run(collectiveTimeout: collectiveTimeout, allowsCoreDumps: allowsCoreDumps) { environment in
    try body(environment)
    return ExitStatus.done
  }
  throw ExitCode(status)
}
