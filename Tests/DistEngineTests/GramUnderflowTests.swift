import DistEngine
import Foundation
import TestSupport
import Testing

/// Gram matrices of operands whose products underflow, overflow or cancel say nothing: the gradient itself is computed.
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
    let norm = Self.norm(a, g, positions: positions)
    let exact = Self.exactNorm(a, g, positions: positions)
    // The least C that there may be, and one that is half of the norm.
    for bound in [1e-12, max(1e-12, exact / 2)] {
      let contribution = (norm > bound ? bound / norm : 1) * exact
      #expect(contribution <= bound * (1 + 0x1p-12), "\(size): \(contribution) of \(bound), norm \(norm) for \(exact)")
    }
  }
  /// Gram matrices that overflow while the gradient doesn't: whether the record counts mustn't hang on whether it is alone in its microbatch, where no
  /// Gram matrix is made.
  @Test(arguments: [(1e20, 1e-10), (1e-10, 1e20), (3e19, 1)] as [(Float, Float)], [1, 2, 9])
  func anOverflowingGramMatrixIsNoInfiniteNorm(size: (Float, Float), positions: Int) {
    var random = TestRandom(seed: 8)
    // Of one sign: no inner product is NaN, which would be seen by itself.
    let a = random.floats(positions * 24).map { (abs($0) + 1) * size.0 }
    let g = random.floats(positions * 17).map { (abs($0) + 1) * size.1 }
    let (norm, exact) = (Self.norm(a, g, positions: positions), Self.exactNorm(a, g, positions: positions))
    #expect(abs(norm - exact) <= 1e-6 * exact, "\(size): \(norm) for \(exact)")
  }

  /// Small numbers behind a 1 are lost from its square's sum, and it is they that are left where positions cancel: kinds of positions in which they are
  /// elsewhere, so that they are lost from some elements of a Gram matrix alone. What is left is from a thousandth of ‖A‖‖G‖ to all of it.
  @Test(arguments: [64, 384, 768, 1536], [(32, -0.95), (32, -0.75), (40, -1.05), (32, -0.5), (40, -0.75), (48, -1), (56, -0.5), (63, -0.25)] as [(Int, Float)])
  func whatGramMatricesLoseIsWithinHalfOfTheMargin(columns: Int, kinds: (first: Int, lead: Float)) {
    let positions = 64
    for exponent in [-12.0, -12.5] {
      let small = Float(exp2(exponent) * 0.999)
      for ownHalves in [true, false] {
        var a = [Float](repeating: 0, count: positions * columns)
        var g = [Float](repeating: small, count: positions * columns)
        for t in 0..<positions {
          let isFirst = t < kinds.first
          a[t * columns] = 1
          let half = ownHalves ? (isFirst ? 1..<columns / 2 : columns / 2..<columns) : 1..<columns
          for i in half { a[t * columns + i] = small }
          g[t * columns] = isFirst ? 1 : kinds.lead
        }
        let norm = Self.norm(a, g, positions: positions)
        // aᵀg of positions of two kinds, n₁ u vᵀ + n₂ u' v'ᵀ: four inner products.
        let rows = [0, positions - 1].map { t in (a[t * columns..<(t + 1) * columns].map(Double.init), g[t * columns..<(t + 1) * columns].map(Double.init)) }
        let counts = [Double(kinds.first), Double(positions - kinds.first)]
        let dot = { (x: [Double], y: [Double]) in zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
        var square = 0.0
        for i in 0..<2 { for j in 0..<2 { square += counts[i] * counts[j] * dot(rows[i].0, rows[j].0) * dot(rows[i].1, rows[j].1) } }
        let exact = square.squareRoot()
        #expect(exact <= norm * (1 + 0x1p-13) && norm <= exact * (1 + 0x1p-13), "own halves \(ownHalves), 2^\(exponent): \(norm) for \(exact)")
      }
    }
  }

  /// By Gram matrices, where they are trusted.
  private static func norm(_ a: [Float], _ g: [Float], positions: Int) -> Double {
    let (d, p) = (a.count / positions, g.count / positions)
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
    return withExtendedLifetime((buffers, scratch, places)) {
      gradient.squaredGradientNorms(rows: 0..<positions, workspace: workspace).primary.squareRoot()
    }
  }

  private static func exactNorm(_ a: [Float], _ g: [Float], positions: Int) -> Double {
    let (d, p) = (a.count / positions, g.count / positions)
    var square = 0.0
    for i in 0..<d {
      for j in 0..<p {
        let element = (0..<positions).reduce(0.0) { $0 + Double(a[$1 * d + i]) * Double(g[$1 * p + j]) }
        square += element * element
      }
    }
    return square.squareRoot()
  }
}
