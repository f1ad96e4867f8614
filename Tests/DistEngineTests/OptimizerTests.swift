import DistEngine
import Foundation
import TestSupport
import Testing

@Suite struct OptimizerTests {
  /// Algorithm 2 of Loshchilov & Hutter 2019, in Double.
  private static func adamW(
    _ w: inout [Double], _ m: inout [Double], _ v: inout [Double], gradient: [Double], step: Int, rate: Double,
    decay: Double
  ) {
    let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8)
    for i in w.indices {
      m[i] = beta1 * m[i] + (1 - beta1) * gradient[i]
      v[i] = beta2 * v[i] + (1 - beta2) * gradient[i] * gradient[i]
      let (mHat, vHat) = (m[i] / (1 - pow(beta1, Double(step))), v[i] / (1 - pow(beta2, Double(step))))
      w[i] -= rate * (mHat / (vHat.squareRoot() + epsilon) + decay * w[i])
    }
  }

  @Test(arguments: [0, 1, 17, 1003])
  func adamWEqualsTheAlgorithm(count: Int) throws {
    var plan = MemoryPlan()
    let configuration = OptimizerConfiguration.adamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1)
    let state = Optimizer.Buffers(configuration, count: count, in: &plan)
    var optimizer = Optimizer(configuration, buffers: state, in: try MemoryArena(plan))
    var random = TestRandom(seed: 2)
    let (parameters, gradient) = (AlignedBuffer<Float>(count: count), AlignedBuffer<Float>(count: count))
    for i in 0..<count { parameters.elements[i] = Float.random(in: -1...1, using: &random) }
    var (w, m, v) = (
      parameters.elements.map(Double.init), [Double](repeating: 0, count: count), [Double](repeating: 0, count: count)
    )
    for step in 1...20 {
      for i in 0..<count { gradient.elements[i] = Float.random(in: -8...8, using: &random) }
      optimizer.update([(parameters.elements, gradient.elements)], gradientScale: 0.25, learningRate: 0.01)
      Self.adamW(
        &w, &m, &v, gradient: gradient.elements.map { 0.25 * Double($0) }, step: step, rate: 0.01, decay: 0.1)
    }
    #expect(relativeDistance(parameters.elements.map(Double.init), w) < 1e-5)
  }

  @Test(arguments: [0.0, 0.9])
  func sgdEqualsPyTorchs(momentum: Double) throws {
    var plan = MemoryPlan()
    let configuration = OptimizerConfiguration.sgd(momentum: momentum, weightDecay: 0.1)
    let state = Optimizer.Buffers(configuration, count: 33, in: &plan)
    var optimizer = Optimizer(configuration, buffers: state, in: try MemoryArena(plan))
    var random = TestRandom(seed: 4)
    let (parameters, gradient) = (AlignedBuffer<Float>(count: 33), AlignedBuffer<Float>(count: 33))
    for i in 0..<33 { parameters.elements[i] = Float.random(in: -1...1, using: &random) }
    var (w, u) = (parameters.elements.map(Double.init), [Double](repeating: 0, count: 33))
    for _ in 0..<10 {
      for i in 0..<33 { gradient.elements[i] = Float.random(in: -1...1, using: &random) }
      optimizer.update([(parameters.elements, gradient.elements)], gradientScale: 0.5, learningRate: 0.1)
      for i in 0..<33 {
        u[i] = momentum * u[i] + 0.5 * Double(gradient.elements[i]) + 0.1 * w[i]
        w[i] -= 0.1 * u[i]
      }
    }
    #expect(relativeDistance(parameters.elements.map(Double.init), w) < 1e-5)
  }

  @Test func schedulesStartRiseAndEndWhereTheySay() {
    let rates = { (shape: LearningRateSchedule.Shape, warmup: Int, steps: Int) in
      let schedule = LearningRateSchedule(shape: shape, peak: 2, warmupSteps: warmup, totalSteps: steps)
      return (0..<steps).map(schedule.rate(step:))
    }
    #expect(rates(.constant, 0, 3) == [2, 2, 2])
    #expect(rates(.constant, 4, 6) == [0.5, 1, 1.5, 2, 2, 2])
    #expect(rates(.linear, 0, 4) == [2, 1.5, 1, 0.5])
    #expect(rates(.linear, 2, 4) == [1, 2, 2, 1])
    let cosine = rates(.cosine, 0, 100)
    #expect(cosine[0] == 2 && abs(cosine[50] - 1) < 1e-12 && cosine[99] < 0.001)
    #expect(zip(cosine, cosine.dropFirst()).allSatisfy { $0 > $1 })
    #expect(rates(.linear, 5, 3).count == 3)
  }
}
