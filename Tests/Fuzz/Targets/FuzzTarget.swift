import DistEngine
import Foundation
import PrivacyAccounting

/// A kind of input that people bring, and what has to hold of any bytes in its place: they are read or refused, the same way each time; a
/// refusal is one line that repeats no record; what is read is what a second, naive reader finds.
public enum FuzzTarget: String, CaseIterable, Sendable {
  case safetensors
  case config
  case index
  case jsonl
  case csv
  case tsv
  case txt
  case phase
  case tokenizer
  /// `adapter_config.json`, a NUL, and the names of an adapter's tensors, a line each.
  case adapter

  /// - Throws: ``Violation`` of what has to hold. A trap, a hang and memory are for the caller to notice.
  public func check(_ bytes: [UInt8]) throws(Violation) {
    switch self {
    case .safetensors: try SafetensorsProperties.check(bytes)
    case .config: try checkConfiguration(bytes)
    case .index: try checkIndex(bytes)
    case .jsonl: try RecordProperties.check(bytes, format: .jsonLines)
    case .csv: try RecordProperties.check(bytes, format: .csv)
    case .tsv: try RecordProperties.check(bytes, format: .tsv)
    case .txt: try RecordProperties.check(bytes, format: .text)
    case .phase: try checkPhase(bytes)
    case .tokenizer: try TokenizerProperties.check(bytes)
    case .adapter: try AdapterProperties.check(bytes)
    }
  }

  private func checkConfiguration(_ bytes: [UInt8]) throws(Violation) {
    let json = Data(bytes)
    let read = try twice { () throws(ModelConfigurationError) in try ModelConfiguration(json: json) }
    _ = try twice { () throws(ModelConfigurationError) in try ModelConfiguration.ignoredSettings(inJSON: json) }
    guard case .success(let configuration) = read else { return }
    try require(configuration.parameterCount > 0, "a model of no parameters")
    let again = try? ModelConfiguration(json: configuration.json())
    try require(again == configuration, "config.json as written is another model")
  }

  private func checkIndex(_ bytes: [UInt8]) throws(Violation) {
    let read = try twice { () throws(ModelFileError) in try ModelFile.weightNames(inIndex: bytes, path: "input") }
    guard case .success(let names) = read else { return }
    for name in names {
      // What opens another file than the name says, or none that is beside the index.
      let isPlain = !name.isEmpty && name != "." && name != ".." && !name.utf8.contains { $0 < 0x20 || $0 == 0x2F || $0 == 0x7F }
      try require(isPlain, "a file's name that is none")
    }
  }

  private func checkPhase(_ bytes: [UInt8]) throws(Violation) {
    let text = String(decoding: bytes, as: UTF8.self)
    let read = try twice { () throws(AccountingError) in try DPSGDPhase(parsing: text) }
    guard case .success(let phase) = read else { return }
    let written = "\(phase.samplingRate):\(phase.noiseMultiplier):\(phase.steps)"
    try require((try? DPSGDPhase(parsing: written)) == phase, "a phase as written is another")
  }
}

/// What did not hold.
public struct Violation: Error, CustomStringConvertible, Equatable {
  public let description: String

  public init(_ description: String) { self.description = description }
}

func require(_ holds: Bool, _ violation: @autoclosure () -> String) throws(Violation) {
  guard holds else { throw Violation(violation()) }
}

/// Reads twice: what is read, or the refusal, has to be the same. Dictionaries have another order each time.
func twice<Value: Equatable, Refusal: Error & Equatable>(
  _ read: () throws(Refusal) -> Value
) throws(Violation) -> Result<Value, Refusal> {
  let (first, second) = (Result(catching: read), Result(catching: read))
  if case .failure(let refusal) = first { try checkLine("\(refusal)") }
  // A refusal may hold a number that isn't one, which equals nothing: what it says has to be the same.
  let refusals = [first, second].map { result in if case .failure(let refusal) = result { "\(refusal)" } else { "" } }
  let isSame = first == second || refusals[0] == refusals[1] && refusals[0] != ""
  try require(isSame, "two readings differ: \(first) and \(second)")
  return first
}

/// One line of bounded length, without anything that a terminal takes for a command.
func checkLine(_ line: String) throws(Violation) {
  try require(!line.isEmpty, "a refusal without a word")
  try require(line.utf8.count <= 1500, "a refusal of \(line.utf8.count) bytes")
  for scalar in line.unicodeScalars where !scalar.isASCII || scalar.value < 0x20 || scalar.value == 0x7F {
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator, .format:
      throw Violation("U+\(String(scalar.value, radix: 16)) in a refusal: \(line.debugDescription)")
    default: break
    }
  }
}
