import ArgumentParser
import DistEngine
import PrivacyAccounting

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train or fine-tune a model (the default).",
    discussion: """
      A private mode (ghost, hooks) needs --noise-multiplier or --target-epsilon on your own data. With --output, the \
      directory gets the model in Hugging Face's layout, run.json, metrics.jsonl and privacy.json.
      """)

  @OptionGroup var data: DataOptions
  @OptionGroup var clipping: ClippingOptions
  @OptionGroup var privacy: PrivacyOptions
  @OptionGroup var optimization: OptimizationOptions
  @OptionGroup var sharding: ShardingOptions
  @OptionGroup var runOptions: RunOptions

  func validate() throws { _ = try makeConfiguration() }

  mutating func run() throws {
    let configuration = try makeConfiguration()
    let options = runOptions
    try runUnderMPI(collectiveTimeout: .seconds(options.collectiveTimeout)) { environment in
      let observer = TrainingConsole(showsProgress: !options.noProgress, showsTimings: options.timings)
      let trainer = try Trainer(configuration, environment: environment, observer: observer)
      let report = try trainer.run()
      guard environment.world.rank == 0 else { return }
      if options.json {
        try StandardOutput.printJSON(report)
      } else {
        TrainingSummary(report, hosts: environment.topology.hosts).print()
      }
    }
  }

  private func makeConfiguration() throws -> TrainingConfiguration {
    var configuration = TrainingConfiguration()
    data.apply(to: &configuration)
    clipping.apply(to: &configuration)
    try privacy.apply(to: &configuration)
    try optimization.apply(to: &configuration)
    sharding.apply(to: &configuration)
    runOptions.apply(to: &configuration)
    try configuration.validate()
    return configuration
  }
}

/// Starts MPI, runs a command's body on every rank, and ends the process with the status that all ranks share.
func runUnderMPI(collectiveTimeout: Duration = .seconds(600), _ body: (MPIEnvironment) throws -> Void) throws {
  let status = MPIEnvironment.run(collectiveTimeout: collectiveTimeout) { environment in
    try body(environment)
    return ExitStatus.done
  }
  throw ExitCode(status)
}
