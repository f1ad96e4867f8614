import DistEngine
import Foundation
import Logging

/// What a person sees of a run, on standard error of rank 0.
struct TrainingConsole: TrainingObserver {
  private let log = Logger(label: "dp-mpirun")
  private let showsProgress: Bool
  private let showsTimings: Bool
  private var timings = StepTimings()
  private var steps = 0
  private var unigramEntropy: Double?
  private var labels: [String]?
  private var bar: ProgressBar?

  init(showsProgress: Bool, showsTimings: Bool) {
    self.showsTimings = showsTimings
    self.showsProgress = showsProgress && isatty(STDERR_FILENO) == 1
      && ProgressBar.isWanted(in: ProcessInfo.processInfo.environment)
  }

  mutating func didRead(_ progress: String) { say(progress) }

  mutating func didStart(_ overview: TrainingOverview) {
    let (nodes, threads) = (overview.hosts.count, overview.threads[0])
    say(
      "\(overview.mode.rawValue): \(overview.parameters) parameters, \(overview.ranks) rank\(overview.ranks == 1 ? "" : "s") on "
        + "\(nodes) node\(nodes == 1 ? "" : "s"), \(threads) thread\(threads == 1 ? "" : "s") on \(overview.usableCores) core\(overview.usableCores == 1 ? "" : "s") usable by rank 0, "
        + (overview.precision == .f32 ? "" : "products of \(overview.precision.rawValue), ")
        + (overview.ranks == 1 ? "" : "state divided: \(overview.sharding.rawValue), ")
        + "\((Double(overview.plannedBytes) / Double(MemoryMeter.megabyte)).formatted(digits: 0)) MB planned a rank")
    say(
      "\(overview.trainingRecords) training records, \(overview.evaluationRecords) held out, longest \(overview.longestRecord) "
        + "targets; \(overview.steps) steps of \(overview.expectedBatchSize) records expected")
    if let privacy = overview.privacy {
      say(
        "sampling rate \(privacy.samplingRate.formatted(digits: 6)), noise multiplier \(privacy.noiseMultiplier.formatted(digits: 4)), "
          + "C \(privacy.maxGradNorm) (\(privacy.clipping.rawValue)), delta \(privacy.delta), accountant \(privacy.accountant.rawValue)")
    }
    for warning in overview.warnings { log.warning("\(warning)") }
    (unigramEntropy, labels) = (overview.unigramEntropy, overview.labels)
    if showsProgress { bar = ProgressBar(steps: overview.steps) }
  }

  mutating func didFinish(_ step: StepReport, epsilon: Double?, isLogged: Bool) {
    timings += step.timings
    steps += 1
    if bar != nil {
      bar?.advance(step, epsilon: epsilon)
    } else if isLogged {
      say(
        "step \(step.step + 1): loss \(step.loss.map { $0.formatted(digits: 4) } ?? "-"), \(step.examples) records, "
          + (epsilon.map { "epsilon \($0.formatted(digits: 3)), " } ?? "") + "\(step.seconds.formatted(digits: 3)) s")
    }
  }

  mutating func didCheckpoint(stepsDone: Int, seconds: Double) {
    timings += StepTimings(checkpointSeconds: seconds)
  }

  mutating func didEnd() {
    guard showsTimings, timings.seconds > 0 else { return }
    let parts = StepTimings.Part.allCases.map { part in
      "\(part) \((timings[part] / Double(steps)).formatted(digits: 4)) s (\((100 * timings[part] / timings.seconds).formatted(digits: 1))%)"
    }
    say("a step of rank 0, mean of \(steps): \((timings.seconds / Double(steps)).formatted(digits: 4)) s: \(parts.joined(separator: ", "))")
  }

  mutating func didEvaluate(step: Int, loss: Double, accuracy: Double?) {
    bar?.clear()
    let beside = unigramEntropy.map { "; the \(labels == nil ? "bytes' unigram" : "labels'") entropy is \($0.formatted(digits: 4))" } ?? ""
    let right = accuracy.map { ", accuracy \($0.formatted(digits: 4))" } ?? ""
    say("held-out loss after \(step + 1) steps: \(loss.formatted(digits: 4)) nats a \(labels == nil ? "target" : "record")\(right)\(beside)")
  }

  private func say(_ line: String) {
    log.info("\(line)")
  }
}

/// What a command says of its model and records before it computes.
enum Notes {
  static func say(_ note: String) { Logger(label: "dp-mpirun").warning("\(note)") }
}

/// The end of a run, on standard output.
struct TrainingSummary {
  private let report: TrainingReport
  private let hosts: [String]

  init(_ report: TrainingReport, hosts: [String]) {
    self.report = report
    self.hosts = hosts
  }

  func print() {
    let list = { (values: [Double]) in values.map { $0.formatted(digits: 0) }.joined(separator: " ") }
    let number = { (value: Double?) in value.map { $0.formatted(digits: 4) } ?? "-" }
    var lines = [
      ("mode", "\(report.mode.rawValue), \(report.ranks) rank\(report.ranks == 1 ? "" : "s"), \(report.steps) steps"),
      ("loss", "\(number(report.lossFirst)) at first, \(number(report.lossLast)) at last (nats a \(report.lossUnit), without noise: not for release)"),
      ("held-out loss", number(report.evalLoss) + (report.evalAccuracy.map { ", accuracy \($0.formatted(digits: 4))" } ?? "")),
    ]
    if let delta = report.delta {
      lines.append(
        (
          "privacy",
          "epsilon \(report.epsilon.value.isFinite ? report.epsilon.value.formatted(digits: 4) : "inf") at delta \(delta), noise multiplier "
            + report.noiseMultiplier.formatted(digits: 4) + "; unit: a record, relation: add or remove one, sampler: Poisson"
        ))
    } else {
      lines.append(("privacy", "none"))
    }
    lines.append(("private", report.isPrivate ? "yes" : "no: " + (report.warnings.first { $0.contains("NOT private") } ?? "see privacy.json")))
    lines.append(("not covered", "losses, tokens, times and memory are computed from private data without noise: not for release"))
    lines += [
      ("speed", "\(Int(report.tokensPerSecond)) tokens/s, median step \(report.stepSecondsMedian.formatted(digits: 3)) s"),
      (
        "peak memory",
        "\(list(report.peakRssMb)) MB by rank, \(list(report.nodePssMb)) MB by node; beyond the program's own "
          + "\(list(report.baselineRssMb)): planned \(list(report.plannedMb)), "
          + "measured \(list(zip(report.peakRssMb, report.baselineRssMb).map { $0 - $1 }))"
      ),
    ]
    if let output = report.output { lines.append(("output", output)) }
    for (name, value) in lines { StandardOutput.write(line: name.padding(toLength: 14, withPad: " ", startingAt: 0) + value) }
  }
}
