extension Precision? {
  /// What a run of a model gets; nil is `auto`.
  ///
  /// - Parameter refusal: why there are no bfloat16 products, asked where they would be taken.
  /// - Throws: ``TrainingError/noBFloat16(_:)`` where they were asked for.
  package func decided(_ model: ModelConfiguration, refusal: @autoclosure () throws -> String?) throws -> Precision {
    // With a single head of keys attention's products are cut for the threads where a microbatch is one sequence, and aren't where it is several.
    let oneHead = model.keyHeads == 1 ? "attention with a single head of keys rounds by how many records there are" : nil
    switch self {
    case .f32?: return .f32
    case .bf16?:
      if let reason = try oneHead ?? refusal() { throw TrainingError.noBFloat16(reason) }
      return .bf16
    case nil:
      guard oneHead == nil, model.parameterCount >= Precision.smallestAutomaticModel else { return .f32 }
      return try refusal() == nil ? .bf16 : .f32
    }
  }
}

extension Communicator {
  /// The same on all ranks, or the same refusal. Collective.
  func decidedPrecision(_ precision: Precision?, _ model: ModelConfiguration) throws -> Precision {
    do {
      return try precision.decided(model, refusal: bfloat16Refusal())
    } catch let error as TrainingError {
      throw try agreed(error)
    }
  }

  /// Why not all ranks have the same bfloat16 products; nil where they do. Collective.
  ///
  /// Other products have other last bits, and the next rounding makes more of them: a record's gradient would then hang on the rank that it
  /// falls to, which other records decide.
  private func bfloat16Refusal() throws -> String? {
    let refusals = try allgather(BFloat16Probe.refusal().map { "\($0) on \(host)" } ?? "")
    if let refusal = refusals.first(where: { !$0.isEmpty }) { return refusal }
    let products = try allgather("\(BFloat16Probe.description()), \(MatrixProducts.kernelFamily), \(ProcessorModel.name)")
    return products.firstIndex { $0 != products[0] }.map { "rank \($0) has \(products[$0]), and rank 0 \(products[0]): they round differently" }
  }
}

/// What the system calls the processor.
enum ProcessorModel {
  /// Empty where it isn't told.
  static let name: String = {
    let text = SystemFile.text("/proc/cpuinfo") ?? ""
    let lines = text.split(separator: "\n")
    // The same name may stand for several steppings, with other units.
    return ["model name", "stepping"].compactMap { key in lines.first { $0.hasPrefix(key) }?.split(separator: ":").last?.description }.joined()
  }()
}
