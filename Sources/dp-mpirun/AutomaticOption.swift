import ArgumentParser

/// `auto`, or a number.
enum Automatic: ExpressibleByArgument {
  case auto
  case number(Int)

  init?(argument: String) {
    if argument == "auto" {
      self = .auto
    } else if let number = Int(argument) {
      self = .number(number)
    } else {
      return nil
    }
  }

  var number: Int? {
    if case .number(let number) = self { number } else { nil }
  }
}

/// `auto`, or one of an enumeration's names.
enum AutomaticOr<Value: RawRepresentable & CaseIterable>: ExpressibleByArgument where Value.RawValue == String {
  case auto
  case value(Value)

  init?(argument: String) {
    if argument == "auto" {
      self = .auto
    } else if let value = Value(rawValue: argument) {
      self = .value(value)
    } else {
      return nil
    }
  }

  static var allValueStrings: [String] { ["auto"] + Value.allCases.map(\.rawValue) }

  var defaultValueDescription: String {
    if case .value(let value) = self { value.rawValue } else { "auto" }
  }

  var value: Value? {
    if case .value(let value) = self { value } else { nil }
  }
}
