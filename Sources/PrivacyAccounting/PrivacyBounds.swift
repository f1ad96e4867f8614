import Foundation

/// What an accountant knows about ε at a given δ.
public struct EpsilonBounds: Equatable, Sendable {
  /// The ε to report, at least 0, possibly infinite. A guarantee where ``isUpperBound``.
  public let upper: Double
  /// The true ε is at least this, or nil where the accountant has no lower bound.
  public let lower: Double?
  /// Whether ``upper`` is rigorous. False for approximations.
  public let isUpperBound: Bool
  /// What a reader of the number should know, a sentence each.
  public let notes: [String]

  public init(upper: Double, lower: Double? = nil, isUpperBound: Bool = true, notes: [String] = []) {
    precondition(!upper.isNaN && upper >= 0, "an ε is never negative, never NaN")
    self.upper = upper
    self.lower = lower
    self.isUpperBound = isUpperBound
    self.notes = notes
  }

  /// Nothing was released.
  static let nothingReleased = EpsilonBounds(upper: 0, lower: 0)
  /// Something was released without noise.
  static let unprotected = EpsilonBounds(
    upper: .infinity, lower: .infinity, notes: ["something was released without noise"])
}

/// What an accountant knows about δ at a given ε.
public struct DeltaBounds: Equatable, Sendable {
  /// The δ to report, in [0, 1]. A guarantee where ``isUpperBound``.
  public let upper: Double
  /// The true δ is at least this, or nil where the accountant has no lower bound.
  public let lower: Double?
  /// Whether ``upper`` is rigorous. False for approximations.
  public let isUpperBound: Bool

  public init(upper: Double, lower: Double? = nil, isUpperBound: Bool = true) {
    precondition((0...1).contains(upper), "a δ is in [0, 1]")
    self.upper = upper
    self.lower = lower
    self.isUpperBound = isUpperBound
  }

  static let nothingReleased = DeltaBounds(upper: 0, lower: 0)
  static let unprotected = DeltaBounds(upper: 1, lower: 1)
}

/// How far apart the two bounds of the PLD accountant may be: the larger of the two tolerances counts.
public struct AccountingGap: Codable, Hashable, Sendable {
  /// Relative to ε (or to δ, where δ is asked for).
  public let relative: Double
  /// Absolute, in units of ε; not used where δ is asked for.
  public let absolute: Double

  /// 1%, or 0.001 where that is larger.
  public static let standard = AccountingGap(uncheckedRelative: 0.01, absolute: 0.001)

  /// - Throws: ``AccountingError/invalidGap(_:)`` unless 0 < relative < 1 and absolute ≥ 0.
  public init(relative: Double, absolute: Double = 0.001) throws(AccountingError) {
    guard relative > 0, relative < 1 else { throw .invalidGap(relative) }
    guard absolute >= 0, absolute.isFinite else { throw .invalidGap(absolute) }
    self.init(uncheckedRelative: relative, absolute: absolute)
  }

  init(uncheckedRelative relative: Double, absolute: Double) {
    self.relative = relative
    self.absolute = absolute
  }
}

extension EpsilonBounds: Codable {
  private enum CodingKeys: String, CodingKey {
    case upper = "epsilon"
    case lower = "epsilon_lower"
    case isUpperBound = "is_upper_bound"
    case notes
  }

  public init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    let upper = try fields.decode(ExtendedReal.self, forKey: .upper).value
    guard upper >= 0 else {
      throw DecodingError.dataCorruptedError(
        forKey: .upper, in: fields, debugDescription: "an epsilon is at least 0")
    }
    self.init(
      upper: upper,
      lower: try fields.decodeIfPresent(ExtendedReal.self, forKey: .lower)?.value,
      isUpperBound: try fields.decode(Bool.self, forKey: .isUpperBound),
      notes: try fields.decode([String].self, forKey: .notes))
  }

  public func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(ExtendedReal(value: upper), forKey: .upper)
    try fields.encode(lower.map(ExtendedReal.init(value:)), forKey: .lower)
    try fields.encode(isUpperBound, forKey: .isUpperBound)
    try fields.encode(notes, forKey: .notes)
  }
}

/// A number that may be infinite, written as the string "inf" then: JSON has no infinity.
public struct ExtendedReal: Codable, Hashable, Sendable {
  public let value: Double

  public init(value: Double) {
    self.value = value
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if (try? container.decode(String.self)) == "inf" {
      value = .infinity
    } else {
      value = try container.decode(Double.self)
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if value == .infinity {
      try container.encode("inf")
    } else {
      try container.encode(value)
    }
  }
}
