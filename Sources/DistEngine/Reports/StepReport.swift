/// What one step did, over all ranks. All but the step, the rate and the times is computed from private data without noise.
public struct StepReport: Sendable {
  public let step: Int
  package let totals: ModelReplica.Totals
  public let learningRate: Double
  public let timings: StepTimings

  public var seconds: Double { timings.seconds }
  /// Of this rank, waiting for slower ranks included.
  public var collectiveSeconds: Double { timings[.communication] }
  public var examples: Int { totals.units }
  public var targets: Int { totals.targets }
  /// Mean over the drawn records of their mean loss over targets, in nats; nil for an empty draw.
  public var loss: Double? { totals.finiteLosses == 0 ? nil : totals.lossSum / Double(totals.finiteLosses) }
  /// Part of the examples whose gradient was cut; nil in `standard` and for an empty draw.
  public var clippedFraction: Double? {
    totals.clipping.units == 0 ? nil : Double(totals.clipping.clipped) / Double(totals.clipping.units)
  }
  public var meanGradientNorm: Double? {
    let finite = totals.clipping.units - totals.clipping.nonFinite
    return finite == 0 ? nil : totals.clipping.normSum / Double(finite)
  }
  public var nonFiniteExamples: Int { totals.clipping.nonFinite }
}
