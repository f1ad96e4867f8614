/// The events of an accountant in normal form: how often each (sampling rate, noise multiplier) occurred.
///
/// Events that release nothing (no steps, q = 0) are dropped and equal ones added up, so that an answer can't
/// depend on how a run was cut into phases.
struct GaussianComposition: Hashable, Sendable {
  struct Mechanism: Hashable, Sendable {
    var samplingRate: Double
    var noiseMultiplier: Double
  }

  /// Number of steps by mechanism; none is zero.
  private(set) var counts: [Mechanism: Int] = [:]
  /// Whether something was released without noise.
  private(set) var hasUnprotectedRelease = false

  /// The steps with 0 < q < 1, in a fixed order.
  var sampled: [DPSGDPhase] {
    phases.filter { $0.samplingRate < 1 }
  }

  /// Σ 1/σ² over the steps with q = 1: together they are one Gaussian mechanism of this μ² (Dong, Roth & Su
  /// 2022, arXiv 1905.02383v3, Corollary 3.3).
  var fullBatchSquaredMu: Double {
    phases.filter { $0.samplingRate == 1 }.reduce(0) {
      $0 + Double($1.steps) / $1.noiseMultiplier / $1.noiseMultiplier
    }
  }

  /// All steps, in a fixed order.
  var phases: [DPSGDPhase] {
    counts.compactMap { mechanism, steps in
      try? DPSGDPhase(
        samplingRate: mechanism.samplingRate, noiseMultiplier: mechanism.noiseMultiplier, steps: steps)
    }.sorted { ($0.samplingRate, $0.noiseMultiplier) < ($1.samplingRate, $1.noiseMultiplier) }
  }

  var isEmpty: Bool { counts.isEmpty && !hasUnprotectedRelease }

  /// Adds `event` `count` times, or throws and stays as it was.
  mutating func add(_ event: PrivacyEvent, count: Int, for kind: AccountantKind) throws(AccountingError) {
    var next = self
    try next.merge(event, count: count, for: kind)
    self = next
  }

  private mutating func merge(
    _ event: PrivacyEvent, count: Int, for kind: AccountantKind
  ) throws(AccountingError) {
    guard count >= 0 else { throw .invalidSteps(count) }
    switch event {
    case .gaussian(let noise):
      try record(DPSGDPhase(samplingRate: 1, noiseMultiplier: noise, steps: count))
    case .poissonSampledGaussian(let rate, let noise):
      try record(DPSGDPhase(samplingRate: rate, noiseMultiplier: noise, steps: count))
    case .nonPrivate:
      if count > 0 { hasUnprotectedRelease = true }
    case .repeated(let inner, let times):
      guard times >= 0 else { throw .invalidSteps(times) }
      let (total, overflow) = times.multipliedReportingOverflow(by: count)
      guard !overflow else { throw .invalidSteps(times) }
      try merge(inner, count: total, for: kind)
    case .composed(let events):
      for inner in events { try merge(inner, count: count, for: kind) }
    case .shuffledGaussian:
      throw .unsupportedEvent(event.label, accountant: kind)
    }
  }

  private mutating func record(_ phase: DPSGDPhase) throws(AccountingError) {
    guard phase.steps > 0, phase.samplingRate > 0 else { return }
    guard phase.noiseMultiplier > 0 else {
      hasUnprotectedRelease = true
      return
    }
    let mechanism = Mechanism(samplingRate: phase.samplingRate, noiseMultiplier: phase.noiseMultiplier)
    let (total, overflow) = counts[mechanism, default: 0].addingReportingOverflow(phase.steps)
    guard !overflow, total <= DPSGDPhase.maximumSteps else { throw .invalidSteps(phase.steps) }
    counts[mechanism] = total
  }
}

extension GaussianComposition: Codable {
  private enum CodingKeys: String, CodingKey {
    case phases
    case hasUnprotectedRelease = "unprotected_release"
  }

  init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    for phase in try fields.decode([DPSGDPhase].self, forKey: .phases) { try record(phase) }
    if try fields.decode(Bool.self, forKey: .hasUnprotectedRelease) { hasUnprotectedRelease = true }
  }

  func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(phases, forKey: .phases)
    try fields.encode(hasUnprotectedRelease, forKey: .hasUnprotectedRelease)
  }
}
