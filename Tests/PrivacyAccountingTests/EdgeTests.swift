import Foundation
import PrivacyAccounting
import Testing

@Suite("Values at the edge")
struct EdgeTests {
  @Test("phases out of range are refused, one clear line each")
  func phasesAreChecked() throws {
    #expect(throws: AccountingError.invalidSamplingRate(1.5)) { try phase(1.5, 1, 1) }
    #expect(throws: AccountingError.invalidSamplingRate(-0.1)) { try phase(-0.1, 1, 1) }
    #expect(throws: AccountingError.self) { try phase(.nan, 1, 1) }
    #expect(throws: AccountingError.invalidNoiseMultiplier(-1)) { try phase(0.1, -1, 1) }
    #expect(throws: AccountingError.self) { try phase(0.1, .infinity, 1) }
    #expect(throws: AccountingError.invalidSteps(-1)) { try phase(0.1, 1, -1) }
    for text in ["", "0.1:1", "0.1:1:2:3", "a:1:2", "0.1:1:2.5", "0.1::3"] {
      #expect(throws: AccountingError.malformedPhase(text)) { try DPSGDPhase(parsing: text) }
    }
    #expect(try DPSGDPhase(parsing: "0.01:1.1:5000") == phase(0.01, 1.1, 5000))
    #expect(!AccountingError.invalidDelta(2).description.contains("\n"))
    let tampered = Data(#"{"sampling_rate": 2, "noise_multiplier": 1, "steps": 3}"#.utf8)
    #expect(throws: (any Error).self) { try JSONDecoder().decode(DPSGDPhase.self, from: tampered) }
  }

  @Test("prv is an alias of pld")
  func names() {
    #expect(AccountantKind(name: "prv") == .pld)
    #expect(AccountantKind(name: "RDP") == .rdp)
    #expect(AccountantKind(name: "moments") == nil)
  }

  @Test("infinite ε is the string inf in JSON, and comes back")
  func infinityInJSON() throws {
    let bounds = try Accounting.epsilon(of: [phase(0.1, 0, 1)], delta: 0.1)
    let data = try JSONEncoder().encode(bounds)
    #expect(String(decoding: data, as: UTF8.self).contains(#""epsilon":"inf""#))
    #expect(try JSONDecoder().decode(EpsilonBounds.self, from: data) == bounds)
  }

  @Test("gdp is never called an upper bound, and says so")
  func gdpIsNoBound() throws {
    let bounds = try Accounting.epsilon(of: [phase(0.01, 0.5, 100)], delta: 1e-6, accountant: .gdp)
    #expect(!bounds.isUpperBound && !bounds.notes.isEmpty)
  }

  @Test("rdp says when the best order is at the edge of its orders")
  func edgeOfTheOrders() throws {
    var accountant = RDPAccountant()
    try accountant.compose(phase(1e-5, 20, 100))
    #expect(try accountant.epsilon(delta: 1e-6, orders: [2, 4, 8]).notes.count == 1)
    #expect(try accountant.epsilon(delta: 1e-6).notes.isEmpty)
    #expect(throws: AccountingError.self) { try accountant.epsilon(delta: 1e-6, orders: [0.5]) }
  }

  @Test("δ at least the total variation distance: ε is 0")
  func largeDelta() throws {
    #expect(try Accounting.epsilon(of: [phase(1e-4, 1, 1)], delta: 1e-3).upper < 1e-12)
    #expect(try Accounting.epsilon(of: [phase(1, 50, 1)], delta: 0.01).upper == 0)
  }

  @Test("the corners of what is promised keep the gap", arguments: [
    (1e-7, 0.3, 10_000_000, 1e-15), (1e-7, 100, 10_000_000, 1e-3), (1e-7, 0.3, 1, 1e-3), (0.999999, 100, 1, 1e-15),
    (0.5, 0.3, 1000, 1e-15), (0.5, 100, 10_000_000, 1e-3), (1e-3, 0.3, 10_000_000, 1e-9), (1e-5, 0.8, 1_000_000, 1e-10),
    (0.01, 0.3, 3, 1e-15), (1e-4, 100, 1, 1e-15),
  ] as [(Double, Double, Int, Double)])
  func corners(_ rate: Double, _ noise: Double, _ steps: Int, _ delta: Double) throws {
    let bounds = try Accounting.epsilon(of: [phase(rate, noise, steps)], delta: delta)
    #expect(bounds.upper.isFinite && bounds.lower! <= bounds.upper)
    #expect(bounds.upper - bounds.lower! <= max(0.01 * bounds.upper, 0.001))
  }

  @Test("q = 1 agrees with q just below it, and mixes with subsampled phases")
  func fullBatch() throws {
    let exact = try Accounting.epsilon(of: [phase(1, 2, 50)], delta: 1e-6)
    let near = try Accounting.epsilon(of: [phase(0.999999999, 2, 50)], delta: 1e-6)
    #expect(near.lower! <= exact.upper && near.upper >= exact.lower! * (1 - 1e-6))
    let mixed = try Accounting.epsilon(of: [phase(1, 20, 30), phase(0.01, 1, 100)], delta: 1e-6)
    let rdp = try Accounting.epsilon(of: [phase(1, 20, 30), phase(0.01, 1, 100)], delta: 1e-6, accountant: .rdp)
    #expect(mixed.upper < rdp.upper && mixed.upper - mixed.lower! <= 0.01 * mixed.upper)
    // A phase sampled at almost 1 in place of the full-batch one.
    let replaced = try Accounting.epsilon(of: [phase(0.9999999, 20, 30), phase(0.01, 1, 100)], delta: 1e-6)
    #expect(replaced.lower! <= mixed.upper && replaced.upper >= mixed.lower! * (1 - 1e-4))
  }

  @Test("calibration: errors where nothing helps, 0 where nothing is needed")
  func calibrationEdges() throws {
    let spent = [try phase(0.01, 1, 10_000)]
    #expect(throws: AccountingError.budgetAlreadySpent(targetEpsilon: 1, delta: 1e-6)) {
      try Accounting.noiseMultiplier(
        targetEpsilon: 1, delta: 1e-6, samplingRate: 0.01, steps: 10, spent: spent)
    }
    for target in [0, -1, Double.nan, .infinity] {
      #expect(throws: AccountingError.self) {
        try Accounting.noiseMultiplier(targetEpsilon: target, delta: 1e-6, samplingRate: 0.01, steps: 10)
      }
    }
    #expect(try Accounting.noiseMultiplier(targetEpsilon: 1, delta: 1e-6, samplingRate: 0.01, steps: 0) == 0)
    #expect(try Accounting.maximumSteps(
      targetEpsilon: 0.1, delta: 1e-6, samplingRate: 0.5, noiseMultiplier: 1, upTo: 100) == 0)
    #expect(try Accounting.maximumSteps(
      targetEpsilon: 8, delta: 1e-6, samplingRate: 0.01, noiseMultiplier: 1, upTo: 100) == 100)
  }

  @Test("the smallest batch: one less has too much noise")
  func smallestBatch() throws {
    let steps: (Int) -> Int = { (3 * 10_000 + $0 - 1) / $0 }
    let (batch, noise) = try Accounting.minimumExpectedBatchSize(
      targetEpsilon: 4, delta: 1e-5, datasetSize: 10_000, noiseToBatchRatio: 0.01, accountant: .rdp, steps: steps)
    #expect(noise <= 0.01 * Double(batch))
    let smaller = try Accounting.noiseMultiplier(
      targetEpsilon: 4, delta: 1e-5, samplingRate: Double(batch - 1) / 10_000, steps: steps(batch - 1), accountant: .rdp)
    #expect(smaller > 0.01 * Double(batch - 1))
  }

  @Test("the curve and the running ε are bounds of each prefix's ε")
  func curve() throws {
    let phases = [try phase(0.01, 1, 300), try phase(0.02, 1, 700)]
    let points = try Accounting.epsilonCurve(of: phases, delta: 1e-6, at: [0, 300, 1000, 5000])
    #expect(points[0].bounds.upper == 0)
    #expect(points[1].bounds == (try Accounting.epsilon(of: [phases[0]], delta: 1e-6)))
    #expect(points[2].bounds == points[3].bounds)
    var running = try RunningEpsilon(phase: phases[1], spent: [phases[0]], delta: 1e-6)
    for steps in [0, 1, 10, 11, 500, 699, 700] {
      let exact = try Accounting.epsilon(of: [phases[0], phase(0.02, 1, steps)], delta: 1e-6)
      #expect(try running.epsilon(after: steps).upper >= exact.lower!)
    }
    #expect(try running.epsilon(after: 700) == points[2].bounds)
  }
}
