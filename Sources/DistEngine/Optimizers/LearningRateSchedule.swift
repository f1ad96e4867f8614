import Foundation

/// The learning rate over a run: linear warm-up, then constant, linear to 0, or half a cosine to 0.
public struct LearningRateSchedule: Sendable, Equatable {
  public enum Shape: String, Codable, CaseIterable, Sendable {
    case constant, linear, cosine
  }

  public let shape: Shape
  /// The rate after the warm-up.
  public let peak: Double
  public let warmupSteps: Int
  public let totalSteps: Int

  public init(shape: Shape, peak: Double, warmupSteps: Int, totalSteps: Int) {
    precondition(peak >= 0 && warmupSteps >= 0 && totalSteps >= 0)
    self.shape = shape
    self.peak = peak
    self.warmupSteps = warmupSteps
    self.totalSteps = totalSteps
  }

  /// The rate of a step, 0-based. The first step of a warm-up of w steps has peak/w, the last peak.
  public func rate(step: Int) -> Double {
    if step < warmupSteps { return peak * Double(step + 1) / Double(warmupSteps) }
    let rest = max(1, totalSteps - warmupSteps)
    let progress = min(1, Double(step - warmupSteps) / Double(rest))
    return switch shape {
    case .constant: peak
    case .linear: peak * (1 - progress)
    case .cosine: peak * 0.5 * (1 + cos(.pi * progress))
    }
  }
}
