extension ModelConfiguration {
  /// The different shapes of a block's linear layers.
  package var blockShapes: [LinearShape] {
    var shapes: [LinearShape] = []
    for (inputs, outputs) in [(width, 3 * width), (width, width), (width, innerWidth), (innerWidth, width)] {
      let shape = LinearShape(inputs: inputs, outputs: outputs)
      if !shapes.contains(shape) { shapes.append(shape) }
    }
    return shapes
  }

  package var headShape: LinearShape { LinearShape(inputs: width, outputs: vocabularySize) }

  /// Flops of the model's own matrix products for one record, forward and backward, whatever the mode adds: 6 a target and
  /// element of a matrix, and the visible half of attention's two products forward and four backward.
  package func trainingFlops(targets: Int) -> Double {
    let block = width * (4 * width + 2 * innerWidth)
    let matrices = Double(layers * block + vocabularySize * width)
    let attention = Double(layers * width) * Double(targets) * 6
    return Double(targets) * (6 * matrices + attention)
  }
}
