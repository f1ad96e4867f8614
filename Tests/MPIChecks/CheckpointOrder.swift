import CSyncCounter
import DistEngine
import Foundation

/// Trains two steps on the records of a file into a directory, MPIChecks checkpoint-order FILE DIRECTORY, with a checkpoint behind each, and prints
/// what every rank flushed and renamed, in order, by rank.
func checkpointOrder(_ environment: MPIEnvironment) throws -> Int32 {
  var configuration = TrainingConfiguration()
  (configuration.data, configuration.output) = ([arguments[1]], arguments[2])
  (configuration.batchSize, configuration.sequenceLength, configuration.length) = (2, 16, .steps(2))
  (configuration.noise, configuration.accountant, configuration.checkpointEvery) = (.multiplier(1), .rdp, 1)
  _ = try Trainer(configuration, environment: environment).run()
  let events = try environment.world.gather(String(cString: sc_events()))
  for (rank, text) in (events ?? []).enumerated() {
    for line in text.split(separator: "\n") { print(rank, line.replacing(arguments[2], with: "DIR")) }
  }
  return 0
}
