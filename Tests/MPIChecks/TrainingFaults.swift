import DistEngine
import Foundation

/// Told of a run's progress on rank 0, it does something to the run there.
private final class Meddler: TrainingObserver {
  var start: () -> Void = {}
  var stepDone: (Int) -> Void = { _ in }

  func didStart(_ overview: TrainingOverview) { start() }
  func didFinish(_ step: StepReport, epsilon: Double?, isLogged: Bool) { stepDone(step.step) }
  func didEvaluate(step: Int, loss: Double, accuracy: Double?) {}
  func didEnd() {}
}

/// Trains two steps on the records of a file into a directory, MPIChecks SCENARIO FILE DIRECTORY, and meddles:
///
/// - `drifting-parameters`: rank 0's parameters change between the steps; the run has to end with an error.
/// - `statement-first`: the statement can't be written when the run ends; there must be no model without it.
/// - `charge-first`: the second step can't be charged; the parameters must stay as the first one left them.
func runTrainingFault(_ scenario: String, _ environment: MPIEnvironment) throws -> Int32 {
  let output = arguments[2]
  var configuration = TrainingConfiguration()
  (configuration.data, configuration.output) = ([arguments[1]], output)
  (configuration.batchSize, configuration.sequenceLength, configuration.length) = (2, 16, .steps(2))
  (configuration.noise, configuration.accountant) = (.multiplier(1), .rdp)
  configuration.performance.sharding = Sharding.none
  let meddler = Meddler()
  let trainer = try Trainer(configuration, environment: environment, observer: meddler)
  let statement = "\(output)/privacy.json"

  switch scenario {
  case "drifting-parameters":
    meddler.stepDone = { if $0 == 0 { trainer.replica.parameters[7] += 1 } }
    _ = try trainer.run()

  case "statement-first":
    meddler.start = { print("statement before the first step: \(FileManager.default.fileExists(atPath: statement))") }
    meddler.stepDone = { step in
      guard step == 1 else { return }
      try? FileManager.default.removeItem(atPath: statement)
      try? FileManager.default.createDirectory(atPath: statement, withIntermediateDirectories: false)
    }
    do { _ = try trainer.run() } catch { print("ended: \(error)") }
    print("model without a statement: \(FileManager.default.fileExists(atPath: "\(output)/model"))")

  default:
    var before: [Float] = []
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
    signal(SIGXFSZ, SIG_IGN)
    meddler.stepDone = { step in
      guard step == 0 else { return }
      before = Array(trainer.replica.parameters)
      // No file may grow beyond what the ledger has: the next charge can't be written.
      let size = (try? FileBytes.read("\(output)/checkpoints/ledger.jsonl").count) ?? 0
      var tight = rlimit(rlim_cur: rlim_t(size), rlim_max: limit.rlim_max)
      setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &tight)
    }
    var failure: (any Error)?
    do { _ = try trainer.run() } catch { failure = error }
    setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
    environment.step = nil
    print("ended: \(failure.map { "\($0)" } ?? "-")")
    print("moved without a charge: \(before != Array(trainer.replica.parameters))")
  }
  return 0
}
