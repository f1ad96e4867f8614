/// Text out of a file, as it may stand in a line for a person.
extension StringProtocol {
  /// At most 80 scalars of it. What a terminal takes for a command, and what moves or turns the text around it, is written as JSON escapes it.
  package var quotable: String {
    var text = ""
    for (place, scalar) in unicodeScalars.enumerated() {
      if place == 80 { return text + "…" }
      text.appendEscapingControls(scalar)
    }
    return text
  }

  /// All of it, escaped in the same way.
  package var withoutControls: String {
    var text = ""
    for scalar in unicodeScalars { text.appendEscapingControls(scalar) }
    return text
  }
}

extension String {
  fileprivate mutating func appendEscapingControls(_ scalar: Unicode.Scalar) {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator:
      for unit in UTF16.encode(scalar)! {
        let digits = String(unit, radix: 16)
        append("\\u" + String(repeating: "0", count: 4 - digits.count) + digits)
      }
    default: unicodeScalars.append(scalar)
    }
  }
}

extension [Int] {
  /// The first few of a file's integers: it may hold millions.
  package var quotable: String { count <= 16 ? "\(self)" : "[\(prefix(16).map { "\($0)" }.joined(separator: ", ")), …]" }
}
