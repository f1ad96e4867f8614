import DistEngine
import Foundation
import TestSupport
import Testing

/// Gram matrices of operands whose products underflow say nothing: the gradient itself is computed.
@Suite struct GramUnderflowTests {
  /// Sizes of inputs and output gradients.
  static let sizes: [(Float, Float)] = [
    (1, 1), (1e-20, 1e-20), (1e-20, 1e10), (1e10, 1e-20), (1e-25, 1e15), (1e15, 1e-25), (1e-30, 1e18), (1e-17, 1e5), (1e-12, 1e-3), (1e-38, 1e18),
  ]

  @Test(arguments: sizes, [1, 2, 9])
  func aContributionIsAtMostTheBound(size: (Float, Float), positions: Int) {
    let (d, p) = (24, 17)
    var random = TestRandom(seed: 7)
    let a = random.floats(positions * d).map { $0 * size.0 }
    let g = random.floats(positions * p).map { $0 * size.1 }
    let buffers = [a, g].map { values in
      let buffer = AlignedBuffer<Float>(count: values.count)
      _ = buffer.elements.update(from: values)
      return buffer
    }
    let scratch = (0..<5).map { _ in AlignedBuffer<Float>(count: max(positions * positions, d * p)) }
    let places = AlignedBuffer<Int32>(count: positions)
    let workspace = GradientWorkspace(
      rows: scratch[0].elements, gramOfInputs: scratch[1].elements, gramOfGradients: scratch[4].elements, gramRows: positions,
      exampleGradient: scratch[2].elements, columnSums: scratch[3].elements, lastPosition: places.elements, previousPosition: places.elements,
      norms: .always(.gram))
    let gradient = LinearGradient(
      primary: 0, secondary: nil, layout: .inputByOutput, input: .stored(Matrix(buffers[0].base, rows: positions, columns: d)),
      outputGradient: Matrix(buffers[1].base, rows: positions, columns: p))
    // Views don't keep their buffers.
    let norm = withExtendedLifetime((buffers, scratch, places)) {
      gradient.squaredGradientNorms(rows: 0..<positions, workspace: workspace).primary.squareRoot()
    }

    var square = 0.0
    for i in 0..<d {
      for j in 0..<p {
        let element = (0..<positions).reduce(0.0) { $0 + Double(a[$1 * d + i]) * Double(g[$1 * p + j]) }
        square += element * element
      }
    }
    let exact = square.squareRoot()
    // The least C that there may be, and one that is half of the norm.
    for bound in [1e-12, max(1e-12, exact / 2)] {
      let contribution = (norm > bound ? bound / norm : 1) * exact
      #expect(contribution <= bound * (1 + 0x1p-12), "\(size): \(contribution) of \(bound), norm \(norm) for \(exact)")
    }
  }
}
