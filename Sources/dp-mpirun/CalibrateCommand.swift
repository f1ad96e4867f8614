import ArgumentParser
import PrivacyAccounting

/// `dp-mpirun calibrate`: the smallest noise that keeps a run within a budget. Makes no MPI call.
struct CalibrateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "calibrate",
    abstract: "The smallest noise multiplier for a target epsilon.",
    discussion: """
      The noise multiplier printed is verified to meet the target, and at most 0.1% above the smallest that does. \
      What a run on the same data has used already is given by --spent q:σ:steps, repeated for several phases.
      """)

  @Option(help: "The epsilon to keep within, above 0.") var targetEpsilon: Double
  @Option(help: "The delta of (epsilon, delta), strictly between 0 and 1.") var delta: Double
  @Option(help: "Expected batch size / data set size (q).") var samplingRate: Double
  @Option(help: "Number of optimizer steps.") var steps: Int
  @Option(help: "pld (alias prv), rdp or gdp.") var accountant = AccountantKind.pld.rawValue
  @Option(help: "A phase spent before, as 0.01:1.1:5000; repeated for several.") var spent: [String] = []
  @Flag(help: "Print one JSON object.") var json = false

  mutating func run() throws {
    guard targetEpsilon > 0, targetEpsilon < .infinity else {
      throw UsageError(
        description: "--target-epsilon \(targetEpsilon): \(AccountingError.invalidEpsilon(targetEpsilon))")
    }
    try PhaseOptions.check(delta: delta)
    let kind = try PhaseOptions.accountant(accountant)
    _ = try PhaseOptions.phase(noiseMultiplier: 1, samplingRate: samplingRate, steps: steps)
    var before: [DPSGDPhase] = []
    for text in spent { before.append(try PhaseOptions.phase("--spent", text)) }

    let noise = try Accounting.noiseMultiplier(
      targetEpsilon: targetEpsilon, delta: delta, samplingRate: samplingRate, steps: steps, accountant: kind,
      spent: before)
    let phases = before + [try DPSGDPhase(samplingRate: samplingRate, noiseMultiplier: noise, steps: steps)]
    let bounds = try Accounting.calibratedEpsilon(
      of: phases, delta: delta, accountant: kind, targetEpsilon: targetEpsilon)
    if json {
      try StandardOutput.printJSON(
        CalibrationReport(
          noiseMultiplier: noise, bounds: bounds, targetEpsilon: targetEpsilon, delta: delta, accountant: kind,
          samplingRate: samplingRate, steps: steps, spent: before))
    } else {
      StandardOutput.write(line:
        "noise multiplier \(noise): epsilon \(bounds.upper) at delta \(delta) (\(kind.rawValue)"
          + (bounds.isUpperBound ? ", upper bound)" : ", not a bound)"))
    }
  }
}

/// What `calibrate --json` prints.
private struct CalibrationReport: Encodable {
  var noiseMultiplier: Double
  var bounds: EpsilonBounds
  var targetEpsilon: Double
  var delta: Double
  var accountant: AccountantKind
  var samplingRate: Double
  var steps: Int
  var spent: [DPSGDPhase]

  private enum CodingKeys: String, CodingKey {
    case noiseMultiplier = "noise_multiplier"
    case targetEpsilon = "target_epsilon"
    case delta, accountant
    case samplingRate = "sampling_rate"
    case steps, spent
  }

  func encode(to encoder: any Encoder) throws {
    try bounds.encode(to: encoder)
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(noiseMultiplier, forKey: .noiseMultiplier)
    try fields.encode(targetEpsilon, forKey: .targetEpsilon)
    try fields.encode(delta, forKey: .delta)
    try fields.encode(accountant, forKey: .accountant)
    try fields.encode(samplingRate, forKey: .samplingRate)
    try fields.encode(steps, forKey: .steps)
    try fields.encode(spent, forKey: .spent)
  }
}
