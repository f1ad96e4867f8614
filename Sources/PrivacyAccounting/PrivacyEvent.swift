/// Which pairs of data sets a guarantee holds for.
public enum NeighbouringRelation: String, Codable, CaseIterable, Sendable {
  /// One data set has one unit (record) more than the other.
  case addOrRemoveOne = "add-or-remove-one"
}

/// What was released about the data, as an immutable description that accountants consume.
///
/// An event says what happened, not what it costs: which accountants model it, and how well, is theirs to
/// say. All noise multipliers are the noise's standard deviation divided by the L2 sensitivity under
/// ``NeighbouringRelation/addOrRemoveOne``.
public indirect enum PrivacyEvent: Codable, Hashable, Sendable {
  /// A sum of sensitivity 1 over all units, plus N(0, σ²).
  case gaussian(noiseMultiplier: Double)
  /// The Gaussian mechanism on a sample that holds every unit independently with probability `samplingRate`.
  case poissonSampledGaussian(samplingRate: Double, noiseMultiplier: Double)
  /// The Gaussian mechanism on consecutive batches of shuffled units, each unit once per epoch.
  ///
  /// No accountant here models it; above all it isn't a Poisson sample of the same rate, whose ε can be
  /// several times too small (Chua et al. 2024, arXiv 2403.17673).
  case shuffledGaussian(stepsPerEpoch: Int, noiseMultiplier: Double)
  /// A release without noise.
  case nonPrivate
  /// The same event `count` times, each time with fresh randomness.
  case repeated(PrivacyEvent, count: Int)
  /// Several events on the same data, each possibly chosen after the outcomes before it.
  case composed([PrivacyEvent])

  /// A phase of DP-SGD as an event.
  public init(_ phase: DPSGDPhase) {
    self = .repeated(
      .poissonSampledGaussian(samplingRate: phase.samplingRate, noiseMultiplier: phase.noiseMultiplier),
      count: phase.steps)
  }

  /// The event's name in an error message.
  var label: String {
    switch self {
    case .gaussian: "the Gaussian mechanism"
    case .poissonSampledGaussian: "the Poisson-sampled Gaussian mechanism"
    case .shuffledGaussian: "the Gaussian mechanism on shuffled batches"
    case .nonPrivate: "a release without noise"
    case .repeated(let event, _): event.label
    case .composed: "a composition"
    }
  }
}
