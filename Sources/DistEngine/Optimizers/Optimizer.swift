import Foundation

/// Which update turns a gradient into new parameters, with its constants.
public enum OptimizerConfiguration: Sendable, Equatable {
  /// As in PyTorch, dampening 0, not Nesterov; weight decay is added to the gradient.
  case sgd(momentum: Double, weightDecay: Double)
  /// Loshchilov & Hutter 2019 (arXiv 1711.05101v3), Algorithm 2: decay is decoupled from the gradient.
  case adamW(beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double)

  public var name: String {
    switch self {
    case .sgd: "sgd"
    case .adamW: "adamw"
    }
  }
}

extension OptimizerConfiguration {
  /// Numbers that are kept for a parameter from one update to the next.
  package var momentCount: Int {
    switch self {
    case .sgd(let momentum, _): momentum == 0 ? 0 : 1
    case .adamW: 2
    }
  }
}

/// Updates a slab of parameters in place. Its state lies in buffers that it declared to the plan.
package struct Optimizer {
  package struct Buffers: Sendable {
    let first, second: MemoryPlan.BufferID

    /// - Parameter count: parameters updated here.
    package init(_ configuration: OptimizerConfiguration, count: Int, in plan: inout MemoryPlan) {
      switch configuration {
      case .sgd(let momentum, _):
        first = plan.add("momentum", .optimizerState, count: momentum == 0 ? 0 : count)
        second = plan.add("no second moment", .optimizerState, count: 0)
      case .adamW:
        first = plan.add("first moment", .optimizerState, count: count)
        second = plan.add("second moment", .optimizerState, count: count)
      }
    }
  }

  private let configuration: OptimizerConfiguration
  /// Owns the memory behind the state.
  private let arena: MemoryArena
  private let first: Vector
  private let second: Vector
  /// Updates done.
  package private(set) var updates = 0

  package init(_ configuration: OptimizerConfiguration, buffers: Buffers, in arena: MemoryArena) {
    self.configuration = configuration
    self.arena = arena
    first = arena.elements(buffers.first)
    second = arena.elements(buffers.second)
  }

  /// What an update leaves for the next, by name: each has a value for every parameter that is updated here, in the order of the parts. Memory
  /// that a run which goes on writes to. As many on a rank that updates nothing, whose are empty: ranks go through them together.
  package var moments: [(name: String, values: Vector)] {
    Array([("first_moment", first), ("second_moment", second)].prefix(configuration.momentCount))
  }

  /// Goes on behind updates that were done elsewhere, when the moments are as those left them.
  package mutating func restore(updates: Int) { self.updates = updates }

  /// Some of the parameters and their gradient.
  package typealias Part = (parameters: Vector, gradient: Vector)

  /// One update of all the parameters that are updated here, in parts, with the gradient `gradientScale · gradient`. The gradient is
  /// read only. The parts are the same, in the same order, in every update.
  package mutating func update(_ parts: [Part], gradientScale: Double, learningRate: Double) {
    begin()
    update(parts, offset: 0, gradientScale: gradientScale, learningRate: learningRate)
  }

  /// Begins an update that is then made of some of the parameters after others.
  package mutating func begin() { updates += 1 }

  /// Of some of the parameters, in an update that has begun: once for each of them.
  ///
  /// - Parameter offset: parameters that are updated here and stand before the first of these.
  package func update(_ parts: [Part], offset: Int, gradientScale: Double, learningRate: Double) {
    var offset = offset
    for part in parts {
      update(part, offset: offset, gradientScale: gradientScale, learningRate: learningRate)
      offset += part.parameters.count
    }
  }

  /// - Parameter offset: of the part's state.
  private func update(_ part: Part, offset: Int, gradientScale: Double, learningRate: Double) {
    let (parameters, gradient) = part
    let state = { (all: Vector) in Vector(rebasing: all[offset..<offset + parameters.count]) }
    switch configuration {
    case .sgd(let momentum, let weightDecay):
      RowKernels.sgd(
        parameters: parameters, gradient: gradient, gradientScale: Float(gradientScale),
        velocity: momentum == 0 ? nil : state(first), learningRate: Float(learningRate), momentum: Float(momentum),
        weightDecay: Float(weightDecay))
    case .adamW(let beta1, let beta2, let epsilon, let weightDecay):
      RowKernels.adamW(
        parameters: parameters, gradient: gradient, gradientScale: Float(gradientScale), firstMoment: state(first),
        secondMoment: state(second), learningRate: Float(learningRate), beta1: Float(beta1), beta2: Float(beta2),
        epsilon: Float(epsilon), weightDecay: Float(weightDecay), c1: Float(1 / (1 - pow(beta1, Double(updates)))),
        c2: Float(1 / (1 - pow(beta2, Double(updates)))))
    }
  }
}
