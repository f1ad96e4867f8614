import CKernels
import TestSupport

/// One kernel against its naive twin, at any shape: a row of the table that drives the tests.
struct KernelCheck: Sendable, CustomStringConvertible {
  struct Shape: Sendable, CustomStringConvertible {
    let rows: Int
    let columns: Int
    var description: String { "\(rows)x\(columns)" }
    var count: Int { rows * columns }
    /// A distance between rows that leaves a gap.
    var stride: Int { columns + 3 }
  }

  let description: String
  let run: @Sendable (Shape, inout TestRandom, inout Findings) -> Void

  init(_ name: String, _ run: @escaping @Sendable (Shape, inout TestRandom, inout Findings) -> Void) {
    description = name
    self.run = run
  }

  static let all = layerNormalisation + llama + rows + sums + skinny + attention + losses + optimizers

  static let shapes: [Shape] =
    [0, 1, 15, 16, 17].flatMap { rows in [0, 1, 15, 16, 17, 1003].map { Shape(rows: rows, columns: $0) } }
    + [Shape(rows: 1003, columns: 1), Shape(rows: 1003, columns: 17), Shape(rows: 3, columns: 2049)]
}

/// What a check found wrong.
struct Findings {
  private(set) var failures: [String] = []

  /// A buffer without gaps: its values, and that nothing around it was written.
  mutating func expect(
    _ buffer: GuardedFloats, _ expected: [Double], relative: Double = 5e-7, absolute: Double = 1e-6, _ what: String
  ) {
    compare(buffer.values, expected, relative: relative, absolute: absolute, what)
    if !buffer.sentinelsAreIntact { failures.append("\(what): wrote outside of its output") }
  }

  /// A matrix with gaps between its rows.
  mutating func expect(
    _ buffer: GuardedFloats, shape: KernelCheck.Shape, _ expected: [Double], relative: Double = 5e-7,
    absolute: Double = 1e-6, _ what: String
  ) {
    compare(
      buffer.rows(columns: shape.columns, stride: shape.stride), expected, relative: relative, absolute: absolute, what)
    if !buffer.sentinelsAreIntact { failures.append("\(what): wrote outside of its output") }
    if !buffer.gapsAreIntact(columns: shape.columns, stride: shape.stride) {
      failures.append("\(what): wrote between rows")
    }
  }

  mutating func compare(
    _ actual: [Float], _ expected: [Double], relative: Double, absolute: Double, _ what: String
  ) {
    compare(actual.doubles, expected, relative: relative, absolute: absolute, what)
  }

  mutating func compare(
    _ actual: [Double], _ expected: [Double], relative: Double, absolute: Double, _ what: String
  ) {
    if let mismatch = Mismatch.between(actual, expected, relative: relative, absolute: absolute, of: what) {
      failures.append(mismatch.description)
    }
  }
}

extension KernelCheck.Shape {
  /// `values` with this shape's gaps.
  func spread(_ values: [Float]) -> GuardedFloats {
    columns == 0 ? GuardedFloats([]) : GuardedFloats(values, columns: columns, stride: stride)
  }

  /// Weights of rows, every fifth one 0.
  func weights(_ random: inout TestRandom) -> [Float] {
    random.floats(rows).enumerated().map { $0 % 5 == 3 ? 0 : $1 }
  }

  /// `values` with NaN in the rows of weight 0.
  func poisoned(_ values: [Float], _ weights: [Float]) -> [Float] {
    values.enumerated().map { columns > 0 && weights[$0 / columns] == 0 ? .nan : $1 }
  }
}
