import Foundation

/// Two places between which a decreasing function that is known from above changes sign.
///
/// The function is log(δ/target) over log σ: nearly a line, and dear where it has to be known well.
struct Bracket {
  /// Where the function is above 0, and its value there.
  private(set) var low: (place: Double, value: Double)
  /// Where it's at most 0.
  private(set) var high: (place: Double, value: Double)

  /// Tolerance of the function's values while the root is only located.
  static let coarse = 0.05
  /// Width of the bracket whose upper end is the answer, and the share of the answer's error that the function's own
  /// tolerance may have, both in log σ: together well below 1e-3.
  private static let finalWidth = 3e-4
  private static let toleratedError = 2e-4

  typealias Function = (_ place: Double) throws(AccountingError) -> Double

  /// Goes in growing steps from `start` to where `function` changes sign; nil where it doesn't within `limits`.
  init?(from start: Double, in limits: ClosedRange<Double>, of function: Function) throws(AccountingError) {
    low = (start, try function(start))
    high = low
    let goesUp = low.value > 0
    var stride = 0.7
    while goesUp ? high.value > 0 : low.value <= 0 {
      if goesUp {
        guard high.place < limits.upperBound else { return nil }
        low = high
        high.place = min(limits.upperBound, high.place + stride)
        high.value = try function(high.place)
      } else {
        guard low.place > limits.lowerBound else { return nil }
        high = low
        low.place = max(limits.lowerBound, low.place - stride)
        low.value = try function(low.place)
      }
      stride *= 1.6
    }
  }

  /// A place at which the function is at most 0, and at most 1e-3 above the least such place.
  func refinedRoot(
    in limits: ClosedRange<Double>,
    of function: (_ place: Double, _ tolerance: Double) throws(AccountingError) -> Double
  ) throws(AccountingError) -> Double {
    var bracket = self
    try bracket.narrow(to: 0.02) { place throws(AccountingError) in try function(place, Self.coarse) }

    // The coarse values' own error becomes one of the place by the slope; so does the fine tolerance.
    let slope = max(0.05, bracket.slope)
    let tolerance = min(Self.coarse, max(2e-5, Self.toleratedError * slope))
    let fine: Function = { place throws(AccountingError) in try function(place, tolerance) }
    let reach = 2 * Self.finalWidth + Self.coarse / slope
    let root = bracket.crossing
    bracket = Bracket(
      low: try Self.seek(from: root - Self.finalWidth / 2, by: -reach, limits, fine) { $0 > 0 },
      high: try Self.seek(from: root + Self.finalWidth / 2, by: reach, limits, fine) { $0 <= 0 })
    try bracket.narrow(to: Self.finalWidth, function: fine)
    return bracket.high.place
  }

  private init(low: (Double, Double), high: (Double, Double)) {
    self.low = low
    self.high = high
  }

  private var slope: Double { (low.value - high.value) / (high.place - low.place) }

  /// Where a line through both ends crosses 0.
  private var crossing: Double {
    low.place + (high.place - low.place) * low.value / (low.value - high.value)
  }

  private static func seek(
    from start: Double, by stride: Double, _ limits: ClosedRange<Double>, _ function: Function,
    until isFound: (Double) -> Bool
  ) throws(AccountingError) -> (Double, Double) {
    var place = start
    var stride = stride
    while true {
      place = min(max(place, limits.lowerBound), limits.upperBound)
      let value = try function(place)
      if isFound(value) || place == limits.lowerBound || place == limits.upperBound { return (place, value) }
      place += stride
      stride *= 2
    }
  }

  /// Narrows the bracket by false position, with a bisection wherever that gains too little.
  private mutating func narrow(to width: Double, function: Function) throws(AccountingError) {
    var bisects = false
    while high.place - low.place > width {
      let before = high.place - low.place
      // Aiming a little beyond the root, on the side that is still far, closes the bracket from both sides.
      let margin = 0.3 * width
      var place = crossing
      place += place - low.place > high.place - place ? -margin : margin
      if bisects || !(place > low.place && place < high.place) { place = (low.place + high.place) / 2 }
      let value = try function(place)
      if value > 0 { low = (place, value) } else { high = (place, value) }
      bisects = high.place - low.place > 0.5 * before
    }
  }
}
