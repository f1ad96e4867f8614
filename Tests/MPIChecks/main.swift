// Runs one scenario of the MPI layer under a launcher, for DistEngineMPITests: MPIChecks SCENARIO [ARGUMENT …].
//
// `collectives` compares with closed forms in the rank and prints a line a check; with `--shift` every expectation is off by
// one, and every check has to fail. The other scenarios end as their names say, and the tests look at how.

import DistEngine
import Foundation

let arguments = Array(CommandLine.arguments.dropFirst())
let scenario = arguments.first ?? "collectives"

/// The number behind the scenario's name, or 0.
func number(_ index: Int) -> Int {
  arguments.indices.contains(index) ? Int(arguments[index]) ?? 0 : 0
}

if scenario == "refused-before-start" {
  LauncherRank.refuse(MadeUpError(description: "--ranks: no such option", exitStatus: ExitStatus.usage))
}

if arguments.contains("--one-funneled") && LauncherRank.beforeInit == 1 { setenv("DP_MPIRUN_MPI_THREADS", "funneled", 1) }

let collectiveTimeout = Duration.milliseconds(scenario == "stuck" || scenario == "stopped" ? 2000 : 100_000)
exit(
  MPIEnvironment.run(collectiveTimeout: collectiveTimeout) { environment in
    switch scenario {
    case "collectives":
      let shift = arguments.contains("--shift") ? 1 : 0
      return try CollectiveChecks(environment: environment, shift: shift).run()
    case "sharded-sums", "sums-over-hosts":
      let shift = arguments.contains("--shift") ? 1e-3 : 0
      if arguments.contains("--one-without-thread") && environment.world.rank == environment.world.size - 1 { refuseThreads() }
      return try ShardedSumChecks(environment: environment, shift: shift).run(
        overHosts: scenario == "sums-over-hosts", atOnce: arguments.contains("--at-once"))
    case "training-over-nodes":
      return try TrainingOverNodes(environment: environment, shift: arguments.contains("--shift") ? 1e-2 : 0, isAtOnce: arguments.contains("--at-once")).run()
    case "data": return try DataChecks(environment: environment, directory: arguments[1]).run()
    case "drifting-parameters", "statement-first", "charge-first": return try runTrainingFault(scenario, environment)
    case "fixed-batch": return try fixedBatch(environment)
    case "checkpoint-order": return try checkpointOrder(environment)
    case "train-twice": return try trainTwice(environment)
    case "fast-barriers": return try fastBarriers(environment)
    default: return try runFault(scenario, environment)
    }
  })
