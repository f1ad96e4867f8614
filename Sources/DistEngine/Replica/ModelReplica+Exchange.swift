/// A batch's gradient sum over the ranks of a job, and the update by it. Parts of the sum are on their way to other hosts while later ones are
/// made, and what is there is updated by while others are on the way, where the exchange has them travel (``ModelStateExchange``).
extension ModelReplica {
  /// Sets this rank's gradient sum to that of `batches`, with noise, and gives away what is final of it.
  ///
  /// - Parameters:
  ///   - exchange: nil: this process alone.
  ///   - addNoise: adds the noise of this rank's to elements of the sum; called for each element once, when nothing else is added to it.
  package func accumulateGradients(
    of batches: Batches, in dataset: TokenizedDataset, exchange: ModelStateExchange?, inspect: (Microbatch, ClipFactors?) -> Void = { _, _ in },
    addNoise: (_ elements: Range<Int>) -> Void
  ) -> Totals {
    exchange?.begin(gradientSum, parts: plan.parts, through: exchangeBuffer)
    return accumulateGradients(of: batches, in: dataset, inspect: inspect) { part in
      addNoise(plan.parts[part])
      exchange?.send(part: part)
    }
  }

  /// Updates the parameters by the sum over all ranks, on all ranks. Collective.
  ///
  /// - Parameter gradientScale: of the sum.
  package func update(by optimizer: inout Optimizer, exchange: ModelStateExchange?, gradientScale: Double, learningRate: Double) throws {
    optimizer.begin()
    let update = { [optimizer] (elements: Range<Int>) in
      optimizer.update(
        self.updatedParts(of: elements), offset: self.plan.shards.place(of: elements).lowerBound, gradientScale: gradientScale,
        learningRate: learningRate)
    }
    guard let exchange else { return plan.parts.forEach(update) }
    try exchange.reduce(gradientSum, parts: plan.parts, through: exchangeBuffer, update)
    try exchange.publish(parameters, through: exchangeBuffer)
  }
}
