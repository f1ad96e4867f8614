import PrivacyAccounting

/// Median wall time in milliseconds of `repetitions` runs, and the last value.
func measure<Value>(_ repetitions: Int = 9, _ body: () throws -> Value) rethrows -> (value: Value, milliseconds: Double) {
  var times: [Double] = []
  var value = try body()
  for _ in 0..<repetitions {
    let start = ContinuousClock.now
    value = try body()
    let elapsed = (ContinuousClock.now - start).components
    times.append(Double(elapsed.seconds) * 1e3 + Double(elapsed.attoseconds) / 1e15)
  }
  return (value, times.sorted()[repetitions / 2])
}

func report(_ what: String, _ value: Any, _ milliseconds: Double) {
  print("\(what)\t\(value)\t\((milliseconds * 1000).rounded() / 1000) ms")
}

let run = [try DPSGDPhase(samplingRate: 0.01, noiseMultiplier: 1, steps: 10_000)]
for kind in AccountantKind.allCases {
  let result = try measure { try Accounting.epsilon(of: run, delta: 1e-6, accountant: kind) }
  report("epsilon \(kind.rawValue)", result.value.upper, result.milliseconds)
}
for relative in [1e-3, 1e-4] {
  let gap = try AccountingGap(relative: relative, absolute: 0)
  let result = try measure { try Accounting.epsilon(of: run, delta: 1e-6, gap: gap) }
  report("epsilon pld, gap \(relative)", "\(result.value.lower!)...\(result.value.upper)", result.milliseconds)
}
let hard: [(Double, Double, Int, Double)] = [
  (1e-5, 1, 1_000_000, 1e-12), (1e-4, 0.7, 300_000, 1e-12), (1e-5, 0.8, 1_000_000, 1e-10), (0.01, 1, 10_000_000, 1e-6),
]
for (rate, noise, steps, delta) in hard {
  let phases = [try DPSGDPhase(samplingRate: rate, noiseMultiplier: noise, steps: steps)]
  let result = try measure(3) { try Accounting.epsilon(of: phases, delta: delta) }
  report("epsilon pld, q \(rate) σ \(noise) n \(steps) δ \(delta)", result.value.upper, result.milliseconds)
}
for target in [1.0, 3, 8] {
  let result = try measure {
    try Accounting.noiseMultiplier(targetEpsilon: target, delta: 1e-6, samplingRate: 0.01, steps: 10_000)
  }
  report("calibration pld, ε \(target)", result.value, result.milliseconds)
}
let running = try measure(3) {
  var epsilon = try RunningEpsilon(phase: run[0], delta: 1e-6)
  var last = 0.0
  for step in 1...10_000 { last = try epsilon.epsilon(after: step).upper }
  return last
}
report("running ε over 10,000 steps, a step", running.value, running.milliseconds / 10_000)
