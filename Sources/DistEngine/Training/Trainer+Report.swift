import Foundation
import PrivacyAccounting

extension Trainer {
  func makeReport(stepsDone: Int, statement: PrivacyStatement?) throws -> TrainingReport {
    let megabytes = { (bytes: Int) in Double(bytes) / Double(MemoryMeter.megabyte) }
    let stepSeconds = earlier.seconds + stepSeconds
    let tokens = earlier.tokens + tokens
    let seconds = stepSeconds.reduce(0, +)
    let seen = (earlier.losses + losses).filter { !$0.isNaN }
    let tenth = max(1, seen.count / 10)
    let mean = { (values: ArraySlice<Double>) in
      values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }
    let communicator = environment.world
    if communicator.rank == 0, losses.contains(.infinity) {
      StandardError.write(
        line: "Warning: some losses are not finite: the run diverged, and went on, since when a private run ends must not depend on its records")
    }
    let leaders = try communicator.allgather(environment.topology.isNodeLeader ? nodePeakBytes.max() ?? 0 : -1)
    return TrainingReport(
      mode: setup.configuration.mode, ranks: communicator.size, steps: stepsDone, lossFirst: mean(seen.prefix(tenth)),
      lossLast: mean(seen.suffix(tenth)), evalLoss: evaluationLoss, evalAccuracy: evaluationAccuracy,
      lossUnit: setup.model.labels == nil ? "target" : "record", epsilon: statement?.epsilon ?? ExtendedReal(value: .infinity), delta: setup.privacy?.delta,
      noiseMultiplier: setup.privacy?.noiseMultiplier ?? 0, tokens: tokens,
      tokensPerSecond: seconds > 0 ? Double(tokens) / seconds : 0,
      stepSecondsMedian: stepSeconds.isEmpty ? 0 : stepSeconds.sorted()[stepSeconds.count / 2],
      secondsPerToken: tokens > 0 ? seconds / Double(tokens) : 0,
      peakRssMb: try communicator.allgather(MemoryMeter.peakResidentBytes).map(megabytes),
      nodePssMb: leaders.filter { $0 >= 0 }.map(megabytes),
      plannedMb: try communicator.allgather(replica.plan.memory.byteCountOfRank).map(megabytes),
      baselineRssMb: try communicator.allgather(baselineBytes).map(megabytes),
      parameters: setup.model.parameterCount, parametersL2: RowKernels.squaredNorm(replica.parameters).squareRoot(),
      output: directory?.path ?? setup.configuration.output, isPrivate: PrivacyStatement.isPrivate(setup),
      warnings: statement?.warnings ?? PrivacyStatement.warnings(setup))
  }
}
