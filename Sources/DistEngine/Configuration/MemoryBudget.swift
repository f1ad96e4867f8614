import Foundation

/// What a rank's buffers may need: the planner takes the fastest ways that stay within it.
public enum MemoryBudget: Sendable, Equatable {
  case bytes(Int)
  /// For `ghost`: this part over what `standard` needs with the same microbatch.
  case overStandard(Double)

  public static let standard = MemoryBudget.overStandard(0.15)

  /// `3000MB`, `3GB` (MB = 2^20 bytes) or `15%`; nil for anything else.
  public init?(parsing text: String) {
    let units = [("MB", Double(1 << 20)), ("GB", Double(1 << 30)), ("%", 0.01)]
    guard let (unit, size) = units.first(where: { text.hasSuffix($0.0) }), let number = Double(text.dropLast(unit.count)),
      number >= 0, number <= 1e9
    else { return nil }
    self = unit == "%" ? .overStandard(number * size) : .bytes(Int(number * size))
  }
}

extension MemoryBudget: CustomStringConvertible {
  public var description: String {
    switch self {
    case .bytes(let count): "\(count / MemoryMeter.megabyte)MB"
    case .overStandard(let part): String(format: "%g%%", 100 * part)
    }
  }
}
