/// Numbers for tests, the same in every run (SplitMix64, Steele et al. 2014).
public struct TestRandom: RandomNumberGenerator {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in [-spread, spread].
  public mutating func floats(_ count: Int, spread: Float = 1) -> [Float] {
    (0..<count).map { _ in Float.random(in: -spread...spread, using: &self) }
  }

  public mutating func indices(_ count: Int, below bound: Int) -> [Int32] {
    (0..<count).map { _ in Int32.random(in: 0..<Int32(bound), using: &self) }
  }
}

extension [Float] {
  public var doubles: [Double] { map(Double.init) }
}
