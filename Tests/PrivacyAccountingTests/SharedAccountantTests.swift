import Foundation
import PrivacyAccounting
import Testing

/// What holds for every accountant.
@Suite("Every accountant")
struct SharedAccountantTests {
  static func accountant(_ kind: AccountantKind) throws -> any PrivacyAccountant {
    try Accounting.accountant(kind, after: [])
  }

  static func epsilon(
    _ kind: AccountantKind, _ phases: [DPSGDPhase], delta: Double = 1e-6
  ) throws -> Double {
    try Accounting.epsilon(of: phases, delta: delta, accountant: kind).upper
  }

  @Test("nothing released costs nothing: 0 steps, q = 0, even at σ = 0", arguments: AccountantKind.allCases)
  func nothingCostsNothing(_ kind: AccountantKind) throws {
    #expect(try Self.accountant(kind).epsilon(delta: 1e-5).upper == 0)
    let idle = [try phase(0.01, 1, 0), try phase(0, 1, 100), try phase(0.01, 0, 0), try phase(0, 0, 5)]
    #expect(try Self.epsilon(kind, idle) == 0)
    #expect(try Accounting.delta(of: idle, epsilon: 0, accountant: kind).upper == 0)
  }

  @Test("no noise costs infinitely much", arguments: AccountantKind.allCases)
  func noNoiseIsInfinite(_ kind: AccountantKind) throws {
    #expect(try Self.epsilon(kind, [phase(0.01, 0, 1)]) == .infinity)
    var accountant = try Self.accountant(kind)
    try accountant.compose(.nonPrivate, count: 1)
    #expect(try accountant.epsilon(delta: 0.1).upper == .infinity)
    #expect(try accountant.delta(epsilon: 10).upper == 1)
  }

  @Test("shuffled batches are not accounted as Poisson samples", arguments: AccountantKind.allCases)
  func shufflingIsRefused(_ kind: AccountantKind) throws {
    var accountant = try Self.accountant(kind)
    try accountant.compose(.gaussian(noiseMultiplier: 5), count: 1)
    let before = try accountant.epsilon(delta: 1e-6)
    let mixed = PrivacyEvent.composed([
      .gaussian(noiseMultiplier: 5), .shuffledGaussian(stepsPerEpoch: 100, noiseMultiplier: 1),
    ])
    #expect(throws: AccountingError.self) { try accountant.compose(mixed, count: 1) }
    #expect(try accountant.epsilon(delta: 1e-6) == before, "a refused event leaves nothing behind")
  }

  @Test("δ outside (0, 1), negative ε, NaN are refused", arguments: AccountantKind.allCases)
  func badQuestions(_ kind: AccountantKind) throws {
    let accountant = try Accounting.accountant(kind, after: [phase(0.01, 1, 10)])
    for delta in [0, 1, -1e-6, 2, Double.nan, .infinity] {
      #expect(throws: AccountingError.self) { try accountant.epsilon(delta: delta) }
    }
    for epsilon in [-1e-9, Double.nan, -.infinity] {
      #expect(throws: AccountingError.self) { try accountant.delta(epsilon: epsilon) }
    }
  }

  @Test("how a run is cut into phases doesn't matter", arguments: AccountantKind.allCases)
  func splittingDoesNotMatter(_ kind: AccountantKind) throws {
    let whole = try Self.epsilon(kind, [phase(0.01, 1, 1000), phase(0.02, 2, 10)])
    let parts = try [(0.01, 1.0, 400), (0.02, 2, 10), (0.01, 1, 600), (0.3, 1, 0)].map(phase)
    #expect(try Self.epsilon(kind, parts) == whole)
    var accountant = try Self.accountant(kind)
    let step = PrivacyEvent.poissonSampledGaussian(samplingRate: 0.01, noiseMultiplier: 1)
    try accountant.compose(.repeated(step, count: 10), count: 100)
    try accountant.compose(.composed([PrivacyEvent(phase(0.02, 2, 10))]))
    #expect(try accountant.epsilon(delta: 1e-6).upper == whole)
  }

  @Test("a checkpoint brings back the same accountant", arguments: AccountantKind.allCases)
  func codable(_ kind: AccountantKind) throws {
    func roundTrip<A: PrivacyAccountant>(_ accountant: A) throws -> any PrivacyAccountant {
      try JSONDecoder().decode(A.self, from: JSONEncoder().encode(accountant))
    }
    let accountant = try Accounting.accountant(kind, after: [phase(0.1, 1 / 3.0, 7), phase(1, 10, 3)])
    #expect(try roundTrip(accountant).epsilon(delta: 1e-6) == accountant.epsilon(delta: 1e-6))
  }

  @Test("δ at the ε of a δ is at most that δ", arguments: AccountantKind.allCases)
  func deltaInvertsEpsilon(_ kind: AccountantKind) throws {
    for phases in [[try phase(0.01, 1, 1000)], [try phase(1, 10, 20)], [try phase(1e-4, 0.7, 500)]] {
      let epsilon = try Self.epsilon(kind, phases, delta: 1e-7)
      let delta = try Accounting.delta(of: phases, epsilon: epsilon, accountant: kind)
      #expect(delta.lower ?? delta.upper <= 1e-7 * (1 + 1e-3))
      #expect(delta.upper >= 1e-7 * 0.7)
    }
  }

  @Test("ε is monotone in steps, q, 1/σ and 1/δ, never negative, never NaN", arguments: AccountantKind.allCases)
  func monotone(_ kind: AccountantKind) throws {
    func check(_ values: [EpsilonBounds]) {
      for (smaller, larger) in zip(values, values.dropFirst()) {
        #expect(smaller.upper >= 0 && larger.upper >= (smaller.lower ?? smaller.upper) * (1 - 1e-9))
      }
    }
    func bounds(_ rate: Double, _ noise: Double, _ steps: Int, _ delta: Double) throws -> EpsilonBounds {
      try Accounting.epsilon(of: [phase(rate, noise, steps)], delta: delta, accountant: kind)
    }
    for rate in [1e-6, 1e-3, 0.1] {
      check(try [1, 3, 10, 100, 3000, 100_000].map { try bounds(rate, 1, $0, 1e-6) })
    }
    for noise in [0.5, 2, 30] {
      check(try [1e-7, 1e-5, 1e-3, 0.03, 0.3, 0.9].map { try bounds($0, noise, 300, 1e-7) })
    }
    for rate in [1e-5, 0.01, 1] {
      check(try [100, 20, 5, 2, 1, 0.6, 0.3].map { try bounds(rate, $0, 500, 1e-8) })
      check(try [1e-3, 1e-5, 1e-7, 1e-9, 1e-12, 1e-15].map { try bounds(rate, 1.2, 500, $0) })
    }
  }

  @Test("calibrated noise meets the target, 0.2% less does not", arguments: AccountantKind.allCases)
  func calibration(_ kind: AccountantKind) throws {
    let spent = [try phase(0.01, 1.5, 500)]
    for (rate, steps, target) in [(0.01, 1000, 2.0), (1, 10, 1.5), (1e-3, 20_000, 3)] {
      let noise = try Accounting.noiseMultiplier(
        targetEpsilon: target, delta: 1e-6, samplingRate: rate, steps: steps, accountant: kind, spent: spent)
      let met = try Accounting.calibratedEpsilon(
        of: spent + [phase(rate, noise, steps)], delta: 1e-6, accountant: kind, targetEpsilon: target)
      #expect(met.upper <= target)
      let less = try Accounting.epsilon(
        of: spent + [phase(rate, noise * 0.998, steps)], delta: 1e-6, accountant: kind,
        gap: AccountingGap(relative: 1e-4, absolute: 0))
      #expect(less.upper > target)
    }
  }
}
