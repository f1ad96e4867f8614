import Foundation
import PrivacyAccounting

/// One line of `metrics.jsonl`.
struct MetricsLine: Encodable {
  let step: Int
  let loss: Double?
  let examples: Int
  let tokens: Int
  let clippedFraction: Double?
  let meanGradientNorm: Double?
  let nonFiniteExamples: Int
  let learningRate: Double
  let seconds: Double
  let collectiveSeconds: Double
  /// At the steps that are logged.
  let epsilon: ExtendedReal?
  /// The keys of this line that are computed from private data without noise: not covered by the guarantee.
  let withoutNoise: [String]?

  init(_ report: StepReport, epsilon: Double?, isPrivateRun: Bool) {
    step = report.step
    loss = report.loss
    examples = report.examples
    tokens = report.targets
    clippedFraction = report.clippedFraction
    meanGradientNorm = report.meanGradientNorm
    nonFiniteExamples = report.nonFiniteExamples
    learningRate = report.learningRate
    seconds = report.seconds
    collectiveSeconds = report.collectiveSeconds
    self.epsilon = epsilon.map(ExtendedReal.init(value:))
    withoutNoise =
      isPrivateRun
      ? [
        "loss", "examples", "tokens", "clipped_fraction", "mean_grad_norm", "non_finite_examples", "seconds",
        "collective_seconds",
      ] : nil
  }

  enum CodingKeys: String, CodingKey {
    case step, loss, examples, tokens, seconds, epsilon
    case clippedFraction = "clipped_fraction"
    case meanGradientNorm = "mean_grad_norm"
    case nonFiniteExamples = "non_finite_examples"
    case learningRate = "learning_rate"
    case collectiveSeconds = "collective_seconds"
    case withoutNoise = "computed_without_noise"
  }
}

/// What the metrics tell of the steps before those of this start.
struct EarlierSteps {
  /// By step; NaN for a step that drew no record.
  private(set) var losses: [Double] = []
  private(set) var seconds: [Double] = []
  private(set) var tokens = 0
}

extension RunDirectory {
  /// Of the steps that the model has been through. A step that was lost and done again stands twice: the later line is the model's.
  func earlierSteps(before step: Int) throws -> EarlierSteps {
    guard step > 0 else { return EarlierSteps() }
    struct Line: Decodable {
      let step: Int
      let loss: ExtendedReal?
      let tokens: Int
      let seconds: Double
    }
    let decoder = JSONDecoder()
    var lines: [Int: Line] = [:]
    for text in try DurableLog.lines(at: "\(path)/metrics.jsonl") {
      guard let line = try? decoder.decode(Line.self, from: Data(text.utf8)), line.step < step else { continue }
      lines[line.step] = line
    }
    var earlier = EarlierSteps()
    for line in lines.sorted(by: { $0.key < $1.key }).map(\.value) {
      earlier.add(loss: line.loss?.value ?? (line.tokens > 0 ? .infinity : .nan), seconds: line.seconds, tokens: line.tokens)
    }
    return earlier
  }
}

extension EarlierSteps {
  fileprivate mutating func add(loss: Double, seconds: Double, tokens: Int) {
    losses.append(loss)
    self.seconds.append(seconds)
    self.tokens += tokens
  }
}
