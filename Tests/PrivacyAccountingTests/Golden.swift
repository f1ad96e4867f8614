import Foundation
import PrivacyAccounting
import Testing

/// Reference values: exact ones are contour integrals of the moment generating function, or mpmath's; library values
/// are Opacus 1.6.0's.
struct Golden: Decodable, Sendable, CustomTestStringConvertible {
  var id: String
  var kind: String
  var phases: [Phase]?
  var sampling_rate: Double?
  var noise_multiplier: Double?
  var steps: Int?
  var delta: Double?
  var epsilon: Double?
  var target_epsilon: Double?
  var alpha: Double?
  var orders: [Double]?
  var rdp: [ExtendedReal]?
  var expected: [String: ExtendedReal]

  struct Phase: Decodable, Sendable {
    var sampling_rate: Double
    var noise_multiplier: Double
    var steps: Int
  }

  var testDescription: String { id }

  /// The expected value of this name.
  subscript(name: String) -> Double? { expected[name]?.value }

  func dpsgdPhases() throws -> [DPSGDPhase] {
    let list = phases ?? [Phase(sampling_rate: sampling_rate!, noise_multiplier: noise_multiplier!, steps: steps!)]
    return try list.map {
      try DPSGDPhase(samplingRate: $0.sampling_rate, noiseMultiplier: $0.noise_multiplier, steps: $0.steps)
    }
  }

  static let all: [Golden] = {
    let url = Bundle.module.url(forResource: "golden", withExtension: "json", subdirectory: "Fixtures")!
    return try! JSONDecoder().decode([Golden].self, from: Data(contentsOf: url))
  }()

  static func cases(_ kinds: String...) -> [Golden] { all.filter { kinds.contains($0.kind) } }
}

/// One DP-SGD phase.
func phase(_ rate: Double, _ noise: Double, _ steps: Int) throws -> DPSGDPhase {
  try DPSGDPhase(samplingRate: rate, noiseMultiplier: noise, steps: steps)
}

/// How far `value` is from `reference`, relative to it.
func relativeError(_ value: Double, _ reference: Double) -> Double {
  value == reference ? 0 : abs(value - reference) / abs(reference)
}
