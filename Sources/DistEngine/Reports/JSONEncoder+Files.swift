import Foundation

extension JSONEncoder.NonConformingFloatEncodingStrategy {
  /// JSON has no word for what isn't finite: a string says it, in every file and output alike.
  public static var named: Self { .convertToString(positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan") }
}

extension JSONEncoder {
  /// For files that people read.
  static var files: JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.dateEncodingStrategy = .iso8601
    encoder.nonConformingFloatEncodingStrategy = .named
    return encoder
  }

  /// For files of one object a line.
  static var lines: JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .named
    return encoder
  }
}
