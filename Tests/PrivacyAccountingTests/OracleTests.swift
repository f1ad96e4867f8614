import PrivacyAccounting
import Testing

@Suite("An independent quadrature of the hockey-stick divergence")
struct OracleTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var rate: Double
    var noise: Double
    var steps: Int
    var epsilon: Double
    var testDescription: String { "q \(rate), σ \(noise), \(steps) steps, ε \(epsilon)" }
  }

  static let cases: [Case] = [
    Case(rate: 0.01, noise: 1, steps: 1, epsilon: 0.5), Case(rate: 0.01, noise: 1, steps: 1, epsilon: 0),
    Case(rate: 1e-4, noise: 0.5, steps: 1, epsilon: 1), Case(rate: 0.5, noise: 4, steps: 1, epsilon: 0.3),
    Case(rate: 0.9, noise: 0.6, steps: 1, epsilon: 6), Case(rate: 1e-6, noise: 20, steps: 1, epsilon: 1e-8),
    Case(rate: 0.1, noise: 1, steps: 2, epsilon: 0.7), Case(rate: 0.5, noise: 1, steps: 2, epsilon: 4),
    Case(rate: 0.01, noise: 0.6, steps: 2, epsilon: 2), Case(rate: 1e-3, noise: 2, steps: 2, epsilon: 1e-3),
    Case(rate: 0.999, noise: 3, steps: 2, epsilon: 1), Case(rate: 0.2, noise: 1, steps: 3, epsilon: 1.5),
    Case(rate: 0.05, noise: 0.8, steps: 3, epsilon: 0.1), Case(rate: 0.8, noise: 2, steps: 3, epsilon: 3),
  ]

  @Test("bounds of δ and of ε hold it between them", arguments: cases)
  func boundsHoldTheOracle(_ test: Case) throws {
    let oracle = HockeyStickOracle(samplingRate: test.rate, noise: test.noise)
    let delta = oracle.delta(epsilon: test.epsilon, steps: test.steps)
    let phases = [try phase(test.rate, test.noise, test.steps)]
    let error = 1e-7  // of the oracle's own quadrature, relative

    let deltas = try Accounting.delta(of: phases, epsilon: test.epsilon)
    #expect(deltas.upper >= delta * (1 - error))
    #expect(deltas.lower! <= delta * (1 + error))
    #expect(deltas.upper - deltas.lower! <= 0.011 * delta)

    let gap = try AccountingGap(relative: 1e-3, absolute: 1e-6)
    let epsilons = try Accounting.epsilon(of: phases, delta: delta, gap: gap)
    #expect(epsilons.upper >= test.epsilon * (1 - 1e-6) - 1e-12)
    #expect(epsilons.lower! <= test.epsilon * (1 + 1e-6) + 1e-12)
    #expect(epsilons.upper - epsilons.lower! <= max(1e-3 * test.epsilon, 1e-6) * 1.01)

    var rdp = RDPAccountant()
    try rdp.compose(phases[0])
    #expect(try rdp.delta(epsilon: test.epsilon).upper >= delta)
  }
}
