import DistEngine
import Foundation

/// A prediction for people.
struct TimeText {
  private let plan: TimePlan

  init(_ plan: TimePlan) { self.plan = plan }

  var lines: [String] {
    ["", "Time, predicted: \(Self.seconds(plan.step.seconds)) s a step, \(plan.step.tokensPerSecond.formatted(digits: 0)) tokens a second on \(job)"]
      + ["  of it " + Self.parts(of: plan.step)]
      + ["  timed in \(plan.calibrationSeconds.formatted(digits: 1)) s on this machine, taken for a node: \(plan.calibration)"]
      + (plan.processorPart < 0.9
        ? ["  other work took \(Self.percent(1 - plan.processorPart)) of its cores meanwhile: nodes as busy need \(Self.seconds(plan.busyStep.seconds)) s a step"] : [])
      + ["  not in it: ledger, checkpoints and evaluations"]
      + ["", "   ranks   nodes      s/step    tokens/s  efficiency   most of it"]
      + plan.table.map(row) + ["", scaling]
  }

  private var job: String {
    let ranks = Self.counted(plan.step.ranks, "rank") + " of \(Self.counted(plan.threads, "thread"))"
    guard let link = plan.link, plan.step.nodes > 1 else { return ranks + ", one node" }
    return ranks + ", \(plan.step.nodes) nodes, links of \(Self.plain(link.gigabits)) Gbit/s and \(Self.plain(link.latencyMicroseconds)) us"
  }

  private func row(_ step: StepPrediction) -> String {
    let most = StepPrediction.Part.allCases.max { step[$0] < step[$1] }!
    return String(format: "%8d%8d", step.ranks, step.nodes)
      + String(format: "%12.4g%12.0f%11.0f%%", step.seconds, step.tokensPerSecond, 100 * step.efficiency(beside: plan.table[0]))
      + "   \(Self.name(most)) \(Self.percent(step[most] / step.seconds))"
  }

  private var scaling: String {
    guard let limit = plan.limit else {
      return "Scales as far as the table goes: at \(Self.counted(plan.table.last!.ranks, "rank")) efficiency is "
        + "\(Self.percent(plan.table.last!.efficiency(beside: plan.table[0]))) of one rank's"
        + (plan.link == nil ? "; of more nodes with --link GBIT" : "")
    }
    let part = limit.limit(beside: plan.table[0])
    return "Stops scaling at \(Self.counted(limit.ranks, "rank")) (efficiency below \(Self.percent(TimePlan.scalingLimit))): \(Self.reason(part)), "
      + "\(Self.percent(limit[part] / limit.seconds)) of the step"
  }

  private static func parts(of step: StepPrediction) -> String {
    StepPrediction.Part.allCases.filter { step[$0] > 0 }.map { "\(name($0)) \(seconds(step[$0]))" }.joined(separator: ", ")
  }

  private static func name(_ part: StepPrediction.Part) -> String {
    switch part {
    case .gradients: "products and kernels"
    case .waiting: "waiting for the largest share"
    case .noise: "noise"
    case .optimizer: "optimizer"
    case .nodeSums: "sums within nodes"
    case .wire: "wire"
    case .sampling: "sampling"
    }
  }

  /// Why more ranks don't help.
  private static func reason(_ part: StepPrediction.Part) -> String {
    switch part {
    case .gradients: "shares no longer fill microbatches"
    case .waiting: "shares are too small to be even, and all wait for the largest"
    case .noise: "the noise, which isn't divided among all ranks"
    case .optimizer: "the optimizer, which isn't divided among all ranks"
    case .nodeSums: "sums within nodes"
    case .wire: "sums between nodes, on the wire"
    case .sampling: "the draw, which every rank makes"
    }
  }

  private static func counted(_ count: Int, _ noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }
  private static func percent(_ part: Double) -> String { "\((100 * part).formatted(digits: 0))%" }
  private static func seconds(_ seconds: Double) -> String { String(format: "%.3g", seconds) }
  private static func plain(_ number: Double) -> String { String(format: "%g", number) }
}
