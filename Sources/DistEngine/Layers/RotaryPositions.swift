import Foundation

/// Rotary positions (Su et al. 2021): pair i of a head of width D is rotated by `position · frequency_i`, `frequency_i = θ^(-2i/D)`, scaled or
/// not. Computed in single precision where `transformers` does, so that models see the angles that they were trained with.
public struct RotaryPositions: Sendable, Hashable {
  public enum Scaling: Sendable, Hashable {
    case none
    /// All frequencies divided by a factor (Chen et al. 2023, arXiv 2306.15595).
    case linear(factor: Double)
    /// Llama 3.1: frequencies that turn less than `low` times within the original positions are divided by `factor`, those that turn more
    /// than `high` times are left alone, and those between are interpolated.
    case llama3(factor: Double, low: Double, high: Double, originalPositions: Int)
  }

  /// θ.
  public let theta: Double
  public let scaling: Scaling

  public init(theta: Double, scaling: Scaling = .none) {
    self.theta = theta
    self.scaling = scaling
  }

  /// Whether angles are numbers.
  package var isUsable: Bool {
    let positive = { (values: [Double]) in values.allSatisfy { $0.isFinite && $0 > 0 && Float($0).isFinite && Float($0) > 0 } }
    switch scaling {
    case .none: return positive([theta])
    case .linear(let factor): return positive([theta, factor])
    case .llama3(let factor, let low, let high, let originalPositions):
      return positive([theta, factor, low, high, Double(originalPositions)]) && Float(high) > Float(low)
    }
  }

  /// Radians a position, for each of a head's D/2 pairs.
  package func frequencies(headWidth: Int) -> [Float] {
    stride(from: 0, to: headWidth, by: 2).map { i in
      let power = Float(pow(Double(Float(theta)), Double(Float(i) / Float(headWidth))))
      return scaled(1 / power)
    }
  }

  private func scaled(_ frequency: Float) -> Float {
    switch scaling {
    case .none: return frequency
    case .linear(let factor): return frequency / Float(factor)
    case .llama3(let factor, let low, let high, let originalPositions):
      let (factor, low, high, original) = (Float(factor), Float(low), Float(high), Float(originalPositions))
      let wavelength = Float(2 * Double.pi) / frequency
      if wavelength > original / low { return frequency / factor }
      if wavelength < original / high { return frequency }
      let smooth = (original / wavelength - low) / (high - low)
      return (1 - smooth) * frequency / factor + smooth * frequency
    }
  }

  /// Writes `[T, headWidth]`: each position's D/2 cosines, then its D/2 sines.
  package func fill(_ table: Matrix) {
    let frequencies = frequencies(headWidth: table.columns)
    for position in 0..<table.rows {
      for (i, frequency) in frequencies.enumerated() {
        let angle = Double(Float(position) * frequency)
        table[position, i] = Float(cos(angle))
        table[position, frequencies.count + i] = Float(sin(angle))
      }
    }
  }
}
