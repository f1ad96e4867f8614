import DistEngine
import Foundation

/// Every rank is refused a second run of its trainer, and the first was as it should be.
func trainTwice(_ environment: MPIEnvironment) throws -> Int32 {
  var configuration = TrainingConfiguration()
  configuration.batchSize = 8
  configuration.sequenceLength = 16
  configuration.length = .steps(1)
  configuration.noise = .multiplier(1)
  configuration.accountant = .rdp
  let trainer = try Trainer(configuration, environment: environment)
  let first = try trainer.run()
  var refusal: TrainingError?
  do { _ = try trainer.run() } catch let error as TrainingError { refusal = error }
  let isRight = first.steps == 1 && refusal == .alreadyRun
  let all = try environment.world.allreduceMin(isRight ? 1 : 0)
  if environment.world.rank == 0 { print(all == 1 ? "ok" : "\(first.steps) steps, then \(refusal.map { "\($0)" } ?? "a second run")") }
  return all == 1 ? 0 : 1
}
