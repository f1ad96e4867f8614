/// The largest difference between what was computed and what was expected: how much, and where.
public struct Mismatch: CustomStringConvertible, Sendable {
  public let description: String

  /// nil if every element is within `absolute + relative · |expected|`; NaN and infinity match only themselves.
  public static func between(
    _ actual: [Double], _ expected: [Double], relative: Double, absolute: Double, of what: String = "element"
  ) -> Mismatch? {
    if actual.count != expected.count {
      return Mismatch(description: "\(actual.count) elements of \(what) instead of \(expected.count)")
    }
    var worst = 0.0
    var place = 0
    for (i, (a, e)) in zip(actual, expected).enumerated() {
      let excess =
        if a == e || (a.isNaN && e.isNaN) { 0.0 } else if !a.isFinite || !e.isFinite { Double.infinity } else {
          abs(a - e) / (absolute + relative * abs(e))
        }
      if excess > worst {
        worst = excess
        place = i
      }
    }
    if worst <= 1 { return nil }
    return Mismatch(
      description: "\(what) \(place) of \(actual.count) is \(actual[place]), expected \(expected[place]): off by "
        + "\(abs(actual[place] - expected[place])), \(worst) times what is allowed; no other is further off")
  }

  public static func between(
    _ actual: [Float], _ expected: [Double], relative: Double, absolute: Double, of what: String = "element"
  ) -> Mismatch? {
    between(actual.map(Double.init), expected, relative: relative, absolute: absolute, of: what)
  }
}
