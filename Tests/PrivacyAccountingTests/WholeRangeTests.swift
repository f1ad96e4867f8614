import Foundation
import PrivacyAccounting
import Testing

/// Random queries over all that a double holds, against a lower bound that shares nothing with the accountants.
///
/// `DP_MPIRUN_ACCOUNTING_POINTS=20000 swift test -c release --filter WholeRange` is the long run.
@Suite("The whole range of σ, q, steps and δ")
struct WholeRangeTests {
  static let points = ProcessInfo.processInfo.environment["DP_MPIRUN_ACCOUNTING_POINTS"].flatMap(Int.init) ?? 300

  @Test("no upper bound is below the truth, no lower bound above the upper one", arguments: [AccountantKind.pld, .rdp])
  func upperBoundsHold(_ kind: AccountantKind) throws {
    var generator = SplitMix(state: 20_261_127)
    for index in 0..<Self.points {
      let noise = generator.logUniform(1e-12, 1e12)
      let rate = index.isMultiple(of: 10) ? 1 : generator.logUniform(1e-9, 1)
      let steps = Int(generator.logUniform(1, 1e9))
      let delta = generator.logUniform(1e-300, 0.999)
      let phase = try DPSGDPhase(samplingRate: rate, noiseMultiplier: noise, steps: steps)
      let start = ContinuousClock.now
      let bounds = try Accounting.epsilon(of: [phase], delta: delta, accountant: kind)
      let taken = ContinuousClock.now - start
      let least = anyStepExceeds(phase, delta: delta)
      #expect(bounds.upper >= least, "\(kind) \(phase) δ \(delta): \(bounds.upper), truth at least \(least)")
      #expect((bounds.lower ?? 0) <= bounds.upper, "\(kind) \(phase) δ \(delta)")
      // No figure of speed: a bound on hangs.
      #expect(taken < .seconds(60), "\(kind) \(phase) δ \(delta) took \(taken)")
    }
  }

  @Test("where lattices begin and end: neighbours and other methods never contradict a bound")
  func neighboursAgree() throws {
    var generator = SplitMix(state: 5)
    for _ in 0..<max(1, Self.points / 30) {
      let (noise, rate) = (generator.logUniform(3e-3, 3e5), generator.logUniform(1e-9, 1))
      let (steps, delta) = (Int(generator.logUniform(1, 1e9)), generator.logUniform(1e-300, 0.9))
      let factor = 1 + generator.logUniform(1e-3, 1)
      func bounds(_ kind: AccountantKind = .pld, _ rate: Double, _ noise: Double, _ steps: Int, _ delta: Double) throws -> EpsilonBounds {
        let phase = try DPSGDPhase(samplingRate: rate, noiseMultiplier: noise, steps: steps)
        return try Accounting.epsilon(of: [phase], delta: delta, accountant: kind)
      }
      let here = try bounds(.pld, rate, noise, steps, delta)
      let what = "q \(rate) σ \(noise) steps \(steps) δ \(delta) factor \(factor)"
      #expect(try #require(here.lower) <= bounds(.rdp, rate, noise, steps, delta).upper * (1 + 1e-9) + 1e-12, "\(what)")
      for easier in [
        try bounds(.pld, rate, noise * factor, steps, delta), try bounds(.pld, rate / factor, noise, steps, delta),
        try bounds(.pld, rate, noise, max(1, Int(Double(steps) / factor)), delta), try bounds(.pld, rate, noise, steps, min(0.95, delta * factor)),
      ] {
        #expect(try #require(easier.lower) <= here.upper, "\(what)")
        #expect(easier.upper <= here.upper * 1.01 + 0.001, "\(what)")
      }
    }
  }

  @Test("q = 1 agrees with the closed form in exact terms at the ends", arguments: [1e-150, 1e-12, 1e-3, 1, 1e3, 1e12])
  func fullBatch(noise: Double) throws {
    for delta in [1e-300, 1e-9, 0.5] {
      let phase = try DPSGDPhase(samplingRate: 1, noiseMultiplier: noise, steps: 1000)
      let bounds = try Accounting.epsilon(of: [phase], delta: delta)
      #expect(bounds.upper >= anyStepExceeds(phase, delta: delta))
      // ε ≤ μ²/2 + μ√(2 log(1/δ)): the Gaussian tail bound.
      let mu = (1000.0).squareRoot() / noise
      #expect(bounds.upper <= (mu * mu / 2 + mu * (-2 * log(delta)).squareRoot()) * (1 + 1e-3) || bounds.upper == .infinity && noise < 1e-100)
    }
  }

  @Test("σ at the ends of a double: a bound, never a crash", arguments: AccountantKind.allCases)
  func ends(_ kind: AccountantKind) throws {
    for noise in [Double.leastNonzeroMagnitude, 1e-300, 1e-160, 1e-30, 1e-7] {
      let phase = try DPSGDPhase(samplingRate: 0.01, noiseMultiplier: noise, steps: 1000)
      let bounds = try Accounting.epsilon(of: [phase], delta: 1e-5, accountant: kind)
      #expect(bounds.upper >= 4.5 / noise / noise)
    }
    for noise in [1e12, 1e30, 1e160, 1e300, Double.greatestFiniteMagnitude] {
      let phase = try DPSGDPhase(samplingRate: 0.01, noiseMultiplier: noise, steps: 1000)
      let bounds = try Accounting.epsilon(of: [phase], delta: 1e-5, accountant: kind)
      #expect(bounds.upper < 1e-4)
    }
  }

  @Test("q just below 1: the bounds of q = 1, also where δ is all but what no ε protects from", arguments: [3, 1 << 53])
  func rateJustBelowOne(steps: Int) throws {
    let rate = 1.0.nextDown
    let noise = steps == 3 ? 1 : 1e7
    let phase = try DPSGDPhase(samplingRate: rate, noiseMultiplier: noise, steps: steps)
    let whole = try DPSGDPhase(samplingRate: 1, noiseMultiplier: noise, steps: steps)
    let atZero = try Accounting.delta(of: [whole], epsilon: 0).upper
    // The last ones, next to which no bound is sharp, once hung.
    for delta in [1e-300, 1e-9, 0.5, atZero * (1 - 1e-9), min(1.0.nextDown, atZero * (1 + 1e-7)), 1.0.nextDown] {
      let bounds = try Accounting.epsilon(of: [phase], delta: delta)
      let exact = try Accounting.epsilon(of: [whole], delta: delta)
      if delta <= 0.5 { #expect(bounds.upper <= exact.upper * 1.001 + 0.001, "δ \(delta): \(bounds.upper), \(exact.upper)") }
      // q^steps of the runs are those of q = 1: of 3 steps all but all.
      if steps == 3 { #expect(bounds.upper >= (exact.lower ?? 0) * (1 - 1e-9) - 1e-9, "δ \(delta)") }
      #expect((bounds.lower ?? 0) <= exact.upper)
    }
  }

  /// σ, 1 − δ and ε of one full-batch step, to 60 digits by bisection of Φ(−z) − e^ε Φ(−z − μ), z = ε/μ − μ/2 (mpmath).
  private static let nextToOne: [(noise: Double, gap: Double, epsilon: Double)] = [
    (0.001, 0x1p-53, 491789.45972137), (0.001, 1e-12, 492964.50955647), (0.01, 1e-15, 4204.8136494507),
    (0.05, 0x1p-53, 34.525037097434), (0.05, 1e-14, 45.727824459775), (0.05, 1e-10, 71.571782871567),
  ]

  @Test("q = 1 and δ next to 1", arguments: nextToOne.indices)
  func fullBatchNextToOne(index: Int) throws {
    let (noise, gap, truth) = Self.nextToOne[index]
    let phase = try DPSGDPhase(samplingRate: 1, noiseMultiplier: noise, steps: 1)
    let bounds = try Accounting.epsilon(of: [phase], delta: 1 - gap)
    let lower = try #require(bounds.lower)
    #expect(bounds.upper >= truth * (1 - 1e-13) && lower <= truth * (1 + 1e-13), "\(lower) to \(bounds.upper), truth \(truth)")
    #expect(bounds.upper - lower <= truth * 1e-8, "\(lower) to \(bounds.upper)")
  }

  @Test("the test's own lower bound finds what was once reported as an upper one")
  func rejectsOldValues() throws {
    let tiny = try DPSGDPhase(samplingRate: 0.01, noiseMultiplier: 1e-4, steps: 1000)
    #expect(anyStepExceeds(tiny, delta: 1e-5) > 1e7)
    let small = try DPSGDPhase(samplingRate: 0.01, noiseMultiplier: 0.03, steps: 1000)
    #expect(anyStepExceeds(small, delta: 1e-5) > 264.75)
  }

  @Test("calibration reaches large targets from below", arguments: [2e5, 1e6])
  func largeTargets(target: Double) throws {
    let noise = try Accounting.noiseMultiplier(targetEpsilon: target, delta: 1e-5, samplingRate: 0.01, steps: 1000)
    let phase = try DPSGDPhase(samplingRate: 0.01, noiseMultiplier: noise, steps: 1000)
    let bounds = try Accounting.epsilon(of: [phase], delta: 1e-5)
    #expect(bounds.upper <= target * 1.001 && bounds.upper > 0.9 * target)
  }
}

/// ε of removing a unit is at least sup_t log((P(t) − δ)/Q(t)), P and Q the probabilities that any step's output exceeds t.
private func anyStepExceeds(_ phase: DPSGDPhase, delta: Double) -> Double {
  let (rate, noise, steps) = (phase.samplingRate, phase.noiseMultiplier, Double(phase.steps))
  var best = 0.0
  for index in -200...400 {
    let margin = Double(index) / 10
    for t in [1 - margin * noise, margin * noise] {
      let logFalse = logUpperTail(t / noise)
      let logHit = logSum(log1p(-rate) + logFalse, log(rate) + logUpperTail((t - 1) / noise))
      let (p, q) = (logAny(logHit, steps), min(0, logAny(logFalse, steps) + 1e-9))
      guard p > log(delta) else { continue }
      let epsilon = p + log(-expm1(log(delta) - p)) - q
      if epsilon.isFinite { best = max(best, epsilon) }
    }
  }
  return best * (1 - 1e-9) - 1e-9
}

/// log(1 − (1 − e^logP)^n), for P from below.
private func logAny(_ logP: Double, _ n: Double) -> Double {
  let p = exp(logP)
  if p >= 1 { return 0 }
  if n * p < 1e-12 { return log(n) + logP }
  return log(-expm1(n * log1p(-p)))
}

private func logSum(_ a: Double, _ b: Double) -> Double {
  let most = max(a, b)
  return most == -.infinity ? most : most + log(exp(a - most) + exp(b - most))
}

private func logUpperTail(_ x: Double) -> Double {
  if x < -5 { return log1p(-0.5 * erfc(-x / 2.0.squareRoot())) }
  if x < 25 { return log(0.5 * erfc(x / 2.0.squareRoot())) }
  var tail = x
  for term in stride(from: 60.0, through: 1, by: -1) { tail = x + term / tail }
  return -0.5 * x * x - 0.5 * log(2 * Double.pi) - log(tail)
}

private struct SplitMix {
  var state: UInt64

  mutating func logUniform(_ low: Double, _ high: Double) -> Double {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    mixed ^= mixed >> 31
    let uniform = Double(mixed >> 11) * 0x1p-53
    return exp(log(low) + uniform * (log(high) - log(low)))
  }
}
