extension ParameterLayout {
  /// Writes a fresh model: weights N(0, s²) with s the configuration's initializer range, those that add to the residual
  /// stream N(0, s²/2L), biases 0, gains 1 (GPT-2, as in Hugging Face's `_init_weights`).
  ///
  /// Element j's number is a function of the key and j alone.
  package func initialise(_ parameters: Vector, _ configuration: ModelConfiguration, from source: GaussianSource) {
    precondition(parameters.count == totalCount)
    parameters.update(repeating: 0)
    for tensor in self {
      let values = Vector(rebasing: parameters[tensor.range])
      switch tensor.name {
      case let name where name.hasSuffix(".bias"): continue
      case let name where tensor.shape.count == 1 && name.hasSuffix(".weight"): values.update(repeating: 1)
      case let name:
        let isResidual = name.hasSuffix("c_proj.weight")
        let scale = configuration.initializerRange / (isResidual ? Double(2 * configuration.layers).squareRoot() : 1)
        source.add(step: 0, elements: tensor.range, scale: scale, to: values)
      }
    }
  }
}
