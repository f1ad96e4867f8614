import ArgumentParser
import Foundation
import PrivacyAccounting

/// `dp-mpirun epsilon`: what a run, or several on the same data, cost. Makes no MPI call.
struct EpsilonCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "epsilon",
    abstract: "The epsilon that DP-SGD's phases cost, by one accountant or by all.",
    discussion: """
      One phase from --noise-multiplier, --sampling-rate and --steps, or any number of --phase q:σ:steps. Without \
      --accountant a table of all accountants is printed (with --json or --curve: pld).
      """)

  @Option(help: "Noise deviation / clipping norm (σ).") var noiseMultiplier: Double?
  @Option(help: "Expected batch size / data set size (q).") var samplingRate: Double?
  @Option(help: "Number of optimizer steps.") var steps: Int?
  @Option(name: .customLong("phase"), help: "A phase, as 0.01:1.1:5000; repeated for several.")
  var phases: [String] = []
  @Option(help: "The delta of (epsilon, delta), strictly between 0 and 1.") var delta: Double
  @Option(help: "pld (alias prv), rdp or gdp.") var accountant: String?
  @Option(help: "How far apart pld's bounds may be, relative to epsilon (at least 0.001 absolute is allowed).")
  var accountantGap: Double = AccountingGap.standard.relative
  @Flag(help: "Print epsilon as a curve over steps, as CSV or JSON.") var curve = false
  @Argument(
    help: ArgumentHelp(
      "The curve's steps, with commas or spaces between; by default 1, 2, 5, 10 … up to all.",
      valueName: "curve-steps"))
  var curveSteps: [String] = []
  @Flag(help: "Print one JSON object.") var json = false

  mutating func run() throws {
    let phases = try parsedPhases()
    try PhaseOptions.check(delta: delta)
    let kind = try accountant.map(PhaseOptions.accountant)
    let gap = try PhaseOptions.naming("--accountant-gap \(accountantGap)") { () throws(AccountingError) in
      try AccountingGap(relative: accountantGap)
    }
    let counts = try countsOfCurve(over: phases)
    guard json || !counts.isEmpty || kind != nil else { return try printTable(phases, gap) }

    let chosen = kind ?? .pld
    let curve = try Accounting.epsilonCurve(of: phases, delta: delta, at: counts, accountant: chosen, gap: gap)
    if json {
      let bounds = try Accounting.epsilon(of: phases, delta: delta, accountant: chosen, gap: gap)
      let report = EpsilonReport(
        bounds: bounds, delta: delta, accountant: chosen, phases: phases, curve: counts.isEmpty ? nil : curve)
      return try StandardOutput.printJSON(report)
    }
    guard counts.isEmpty else {
      StandardOutput.write(line: "steps,epsilon,epsilon_lower")
      for point in curve {
        StandardOutput.write(line: "\(point.steps),\(point.bounds.upper),\(point.bounds.lower.map { "\($0)" } ?? "")")
      }
      return
    }
    let bounds = try Accounting.epsilon(of: phases, delta: delta, accountant: chosen, gap: gap)
    StandardOutput.write(line: "epsilon \(bounds.upper) at delta \(delta) (\(chosen.rawValue)\(Self.remark(bounds)))")
  }

  private func parsedPhases() throws -> [DPSGDPhase] {
    var result: [DPSGDPhase] = []
    for text in phases {
      result.append(try PhaseOptions.phase("--phase", text))
    }
    guard noiseMultiplier != nil || samplingRate != nil || steps != nil else {
      guard !result.isEmpty else {
        throw UsageError(
          description: "--phase: missing; give --noise-multiplier, --sampling-rate and --steps, or --phase q:σ:steps")
      }
      return result
    }
    guard let noiseMultiplier, let samplingRate, let steps else {
      let missing = noiseMultiplier == nil ? "--noise-multiplier" : samplingRate == nil ? "--sampling-rate" : "--steps"
      throw UsageError(
        description: "\(missing): missing; a phase needs --noise-multiplier, --sampling-rate and --steps")
    }
    guard result.isEmpty else {
      throw UsageError(description: "--phase: not together with --noise-multiplier, --sampling-rate and --steps")
    }
    return [try PhaseOptions.phase(noiseMultiplier: noiseMultiplier, samplingRate: samplingRate, steps: steps)]
  }

  /// The steps of the curve that was asked for; none without `--curve`.
  private func countsOfCurve(over phases: [DPSGDPhase]) throws -> [Int] {
    guard curve else {
      if let stray = curveSteps.first { throw UsageError(description: "'\(stray)': steps are for --curve") }
      return []
    }
    let total = phases.reduce(0) { $0 + $1.steps }
    if curveSteps.isEmpty {
      let decades = (0...16).flatMap { exponent in [1, 2, 5].map { $0 * Int(pow(10, Double(exponent))) } }
      return decades.filter { $0 < total } + [total]
    }
    return try curveSteps.flatMap { $0.split(separator: ",") }.map { text in
      guard let count = Int(text), (0...total).contains(count) else {
        throw UsageError(description: "--curve \(text): must be numbers of steps in 0...\(total)")
      }
      return count
    }
  }

  private func printTable(_ phases: [DPSGDPhase], _ gap: AccountingGap) throws {
    StandardOutput.write(line: "accountant  epsilon        at delta \(delta), \(NeighbouringRelation.addOrRemoveOne.rawValue), Poisson sampling")
    for kind in AccountantKind.allCases {
      let bounds = try Accounting.epsilon(of: phases, delta: delta, accountant: kind, gap: gap)
      let name = kind.rawValue.padding(toLength: 12, withPad: " ", startingAt: 0)
      let value = "\(bounds.upper)".padding(toLength: 22, withPad: " ", startingAt: 0)
      StandardOutput.write(line: "\(name)\(value)\(Self.remark(bounds).dropFirst(2))")
    }
  }

  private static func remark(_ bounds: EpsilonBounds) -> String {
    var remark = bounds.isUpperBound ? ", upper bound" : ", not a bound"
    if let lower = bounds.lower { remark += ", lower bound \(lower)" }
    for note in bounds.notes { remark += "; \(note)" }
    return remark
  }
}

/// What `epsilon --json` prints.
private struct EpsilonReport: Encodable {
  var bounds: EpsilonBounds
  var delta: Double
  var accountant: AccountantKind
  var phases: [DPSGDPhase]
  var curve: [EpsilonCurvePoint]?

  private enum CodingKeys: String, CodingKey {
    case delta, accountant, relation, sampler, phases, curve
  }

  func encode(to encoder: any Encoder) throws {
    try bounds.encode(to: encoder)
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(delta, forKey: .delta)
    try fields.encode(accountant, forKey: .accountant)
    try fields.encode(NeighbouringRelation.addOrRemoveOne, forKey: .relation)
    try fields.encode("poisson", forKey: .sampler)
    try fields.encode(phases, forKey: .phases)
    try fields.encodeIfPresent(curve, forKey: .curve)
  }
}

/// Options that name phases and budgets, checked so that a failure names the option.
enum PhaseOptions {
  static func phase(_ option: String, _ text: String) throws -> DPSGDPhase {
    try naming("\(option) \(text)") { () throws(AccountingError) in try DPSGDPhase(parsing: text) }
  }

  static func phase(noiseMultiplier: Double, samplingRate: Double, steps: Int) throws -> DPSGDPhase {
    do {
      return try DPSGDPhase(samplingRate: samplingRate, noiseMultiplier: noiseMultiplier, steps: steps)
    } catch {
      let option =
        switch error {
        case .invalidSamplingRate: "--sampling-rate \(samplingRate)"
        case .invalidNoiseMultiplier: "--noise-multiplier \(noiseMultiplier)"
        default: "--steps \(steps)"
        }
      throw UsageError(description: "\(option): \(error)")
    }
  }

  static func accountant(_ name: String) throws -> AccountantKind {
    guard let kind = AccountantKind(name: name) else {
      throw UsageError(description: "--accountant \(name): \(AccountingError.unknownAccountant(name))")
    }
    return kind
  }

  static func check(delta: Double) throws {
    guard delta > 0, delta < 1 else {
      throw UsageError(description: "--delta \(delta): \(AccountingError.invalidDelta(delta))")
    }
  }

  /// Runs `body` and lets its failure name the option and the value.
  static func naming<Value>(_ option: String, _ body: () throws(AccountingError) -> Value) throws -> Value {
    do {
      return try body()
    } catch {
      throw UsageError(description: "\(option): \(error)")
    }
  }
}
