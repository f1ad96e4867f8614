/// What an accountant refuses, in one line: what is wrong and what would be right.
public enum AccountingError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A sampling rate outside [0, 1], or not a number.
  case invalidSamplingRate(Double)
  /// A noise multiplier below 0, infinite, or not a number.
  case invalidNoiseMultiplier(Double)
  /// A number of steps, or a repetition count, below 0 or beyond ``DPSGDPhase/maximumSteps``.
  case invalidSteps(Int)
  /// A δ outside (0, 1), or not a number.
  case invalidDelta(Double)
  /// An ε below 0, or not a number; a target ε must also be finite and above 0.
  case invalidEpsilon(Double)
  /// A phase that is not written `q:σ:steps`.
  case malformedPhase(String)
  /// An accountant's name that is not known.
  case unknownAccountant(String)
  /// A gap between the bounds that is not a positive number.
  case invalidGap(Double)
  /// A Rényi order that is not a finite number above 1, or no order at all.
  case invalidOrder(Double)
  /// A public data set size below 1.
  case invalidDatasetSize(Int)
  /// An event that the accountant does not model.
  case unsupportedEvent(String, accountant: AccountantKind)
  /// What was spent before leaves nothing of the budget, whatever the noise.
  case budgetAlreadySpent(targetEpsilon: Double, delta: Double)
  /// No noise multiplier up to `limit` reaches the target.
  case unreachableTarget(targetEpsilon: Double, delta: Double, limit: Double)
  /// Not even with the whole data set as the batch is noise multiplier / batch size as small as `ratio`.
  case noBatchFits(targetEpsilon: Double, delta: Double, ratio: Double)

  public var description: String {
    switch self {
    case .invalidSamplingRate(let value):
      "sampling rate \(value) is not in [0, 1]; it is expected batch size / data set size"
    case .invalidNoiseMultiplier(let value):
      "noise multiplier \(value) is not a finite number of at least 0; it is noise deviation / clipping norm"
    case .invalidSteps(let value):
      "number of steps \(value) is not in 0...\(DPSGDPhase.maximumSteps)"
    case .invalidDelta(let value):
      "delta \(value) is not strictly between 0 and 1; a usual choice is below 1 / data set size"
    case .invalidEpsilon(let value):
      "epsilon \(value) is not a positive number that can be aimed at; a usual choice is between 0.1 and 10"
    case .malformedPhase(let text):
      "phase \(Self.quoted(text)) is not 'sampling-rate:noise-multiplier:steps', as in '0.01:1.1:5000'"
    case .unknownAccountant(let name):
      "accountant '\(name)' is not known; there are pld (alias prv), rdp and gdp"
    case .invalidGap(let value):
      "accountant gap \(value) is not a positive number below 1, as 0.01 for 1%"
    case .invalidOrder(let value):
      "Rényi order \(value) is not a finite number above 1"
    case .invalidDatasetSize(let value):
      "data set size \(value) is not at least 1"
    case .unsupportedEvent(let event, let accountant):
      "the \(accountant.rawValue) accountant does not model \(event); it models Gaussian mechanisms, "
        + "full-batch or on Poisson samples"
    case .budgetAlreadySpent(let epsilon, let delta):
      "the phases already spent use up epsilon \(epsilon) at delta \(delta), whatever the noise; "
        + "raise the target or spend less"
    case .unreachableTarget(let epsilon, let delta, let limit):
      "no noise multiplier up to \(limit) reaches epsilon \(epsilon) at delta \(delta); "
        + "raise the target, or lower the sampling rate or the steps"
    case .noBatchFits(let epsilon, let delta, let ratio):
      "with the whole data set as the batch, epsilon \(epsilon) at delta \(delta) needs more noise a unit than "
        + "\(ratio); raise the target, lower the steps or tolerate more noise"
    }
  }

  /// Text of the command line within single quotes: some of it, control characters escaped.
  private static func quoted(_ text: String) -> String {
    let shown = text.unicodeScalars.prefix(80).map { scalar in
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator: "\\u{\(String(scalar.value, radix: 16))}"
      default: String(scalar)
      }
    }
    return "'\(shown.joined())\(text.unicodeScalars.count > shown.count ? "…" : "")'"
  }
}
