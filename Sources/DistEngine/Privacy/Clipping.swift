/// How a unit's gradient is bounded.
public enum Clipping: String, Codable, CaseIterable, Sendable {
  /// One factor `min(1, C/‖∇‖)` for the whole gradient.
  case flat
  /// One factor per parameter tensor, `min(1, C_l/‖∇_l‖)` with `C_l = C/√k` for k tensors, so that the whole is bounded by C
  /// (Opacus' `per_layer`).
  case perLayer = "per-layer"
}

/// Norms and factors of a microbatch's units, by group: one group with `flat`, one a tensor with `per-layer`.
package struct ClipFactors {
  package let clipping: Clipping
  /// C.
  package let maxGradNorm: Double
  package let groups: Int
  /// `[b, tensors]`: squared norms as layers report them, in double.
  private let squaredNorms: UnsafeMutableBufferPointer<Double>
  /// `[b, groups]`
  private let norms: UnsafeMutableBufferPointer<Double>
  private let factors: Vector
  /// k
  let tensors: Int
  private var count = 0

  package struct Buffers: Sendable {
    let squaredNorms, norms, factors: MemoryPlan.BufferID

    package init(units: Int, tensors: Int, clipping: Clipping, in plan: inout MemoryPlan) {
      let groups = clipping == .flat ? 1 : tensors
      squaredNorms = plan.add("squared norms", .bookKeeping, count: units * tensors, of: Double.self)
      norms = plan.add("norms", .bookKeeping, count: units * groups, of: Double.self)
      factors = plan.add("clip factors", .bookKeeping, count: units * groups)
    }
  }

  package init(clipping: Clipping, maxGradNorm: Double, tensors: Int, buffers: Buffers, in arena: MemoryArena) {
    self.clipping = clipping
    self.maxGradNorm = maxGradNorm
    self.tensors = tensors
    groups = clipping == .flat ? 1 : tensors
    squaredNorms = arena.elements(buffers.squaredNorms, of: Double.self)
    norms = arena.elements(buffers.norms, of: Double.self)
    factors = arena.elements(buffers.factors)
  }

  /// Bound of one group: C, or C/√k.
  private var groupBound: Double { maxGradNorm / Double(groups).squareRoot() }

  package mutating func begin(units: Int) {
    count = units
    squaredNorms.update(repeating: 0)
  }

  /// A tensor may be met twice (tied embeddings): its parts add up.
  package func add(_ squaredNorm: Double, unit: Int, tensor: Int) {
    squaredNorms[unit * tensors + tensor] += squaredNorm
  }

  /// Factors of one tensor's group, of which all parts of the norm are known (`per-layer`).
  package func setFactors(tensor: Int) {
    precondition(clipping == .perLayer)
    for unit in 0..<count {
      set(unit: unit, group: tensor, squaredNorm: squaredNorms[unit * tensors + tensor])
    }
  }

  /// Factors of whole gradients (`flat`).
  package func setFactors() {
    precondition(clipping == .flat)
    for unit in 0..<count {
      let row = squaredNorms[unit * tensors..<(unit + 1) * tensors]
      set(unit: unit, group: 0, squaredNorm: row.reduce(0, +))
    }
  }

  /// Factor 1 at norm 0; 0 where the norm isn't finite, be it -∞: a part that overflowed hides what the others add up to.
  private func set(unit: Int, group: Int, squaredNorm: Double) {
    // A cross term can take a norm of 0 below it by rounding.
    let norm = squaredNorm.isFinite ? max(0, squaredNorm).squareRoot() : .infinity
    norms[unit * groups + group] = norm
    factors[unit * groups + group] = norm.isFinite ? Self.factor(norm: norm, bound: groupBound) : 0
  }

  /// `min(1, bound/norm)`, rounded down: rounding mustn't let a contribution exceed its bound.
  package static func factor(norm: Double, bound: Double) -> Float {
    guard norm > bound else { return 1 }
    let exact = bound / norm
    let rounded = Float(exact)
    return Double(rounded) > exact ? rounded.nextDown : rounded
  }

  package func norm(unit: Int, group: Int) -> Double { norms[unit * groups + group] }
  package func factor(unit: Int, group: Int) -> Float { factors[unit * groups + group] }

  /// The factor of one tensor of a unit, or nil where its norm isn't finite and it must not be read.
  func factor(unit: Int, tensor: Int) -> Float? {
    let group = clipping == .flat ? 0 : tensor
    return norm(unit: unit, group: group).isFinite ? factor(unit: unit, group: group) : nil
  }

  /// Fills a buffer with a tensor's factors and finds the rows that take part. The result is valid until the next one in this buffer.
  func rowWeights(tensor: Int, units: [Range<Int>], in buffer: inout RowWeightBuffer) -> RowWeights {
    buffer.runs.removeAll(keepingCapacity: true)
    for (unit, rows) in units.enumerated() {
      guard let factor = factor(unit: unit, tensor: tensor) else { continue }
      buffer.weights[rows].update(repeating: factor)
      if let last = buffer.runs.last, last.upperBound == rows.lowerBound {
        buffer.runs[buffer.runs.count - 1] = last.lowerBound..<rows.upperBound
      } else {
        buffer.runs.append(rows)
      }
    }
    return RowWeights(weights: buffer.weights, runs: buffer.runs)
  }

  /// Counts over the microbatch. Computed from private data, without noise.
  package func statistics() -> ClippingStatistics {
    var result = ClippingStatistics()
    for unit in 0..<count {
      let norms = norms[unit * groups..<(unit + 1) * groups]
      result.units += 1
      if !norms.allSatisfy(\.isFinite) {
        result.nonFinite += 1
      } else {
        result.normSum += norms.reduce(0) { $0 + $1 * $1 }.squareRoot()
        if norms.contains(where: { $0 > groupBound }) { result.clipped += 1 }
      }
    }
    return result
  }
}

/// Memory for the row weights of one tensor after the other.
struct RowWeightBuffer {
  /// `[R]`
  fileprivate let weights: Vector
  /// Grows with the first tensors of a run; a layer's own array would be an allocation a layer.
  fileprivate var runs: [Range<Int>] = []

  init(_ weights: Vector) { self.weights = weights }
}

/// What clipping did to the units of a batch. Computed from private data, without noise: not covered by the guarantee.
package struct ClippingStatistics: Sendable, Equatable {
  package var units = 0
  package var clipped = 0
  package var nonFinite = 0
  /// Sum of the finite norms.
  package var normSum = 0.0

  package init() {}

  package static func + (a: Self, b: Self) -> Self {
    var sum = a
    sum.units += b.units
    sum.clipped += b.clipped
    sum.nonFinite += b.nonFinite
    sum.normSum += b.normSum
    return sum
  }
}
