import DistEngine
import Foundation
import FuzzTargets
import PrivacyAccounting
import TestSupport
import Testing

/// Inputs nobody wrote. `scripts/fuzz` looks for more of them for as long as one likes.
@Suite struct FuzzTests {
  private static let corpus = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fuzz/Corpus")

  private func seeds(_ target: FuzzTarget) throws -> [[UInt8]] {
    let directory = Self.corpus.appending(path: target.rawValue)
    let names = try FileManager.default.contentsOfDirectory(atPath: directory.path(percentEncoded: false)).sorted()
    return try names.map { Array(try Data(contentsOf: directory.appending(path: $0))) }
  }

  /// The corpus holds every input that ever was handled wrongly.
  @Test(arguments: FuzzTarget.allCases)
  func theCorpusIsReadOrRefused(target: FuzzTarget) throws {
    let seeds = try seeds(target)
    #expect(!seeds.isEmpty)
    for bytes in seeds + [[]] { try target.check(bytes) }
  }

  @Test(arguments: FuzzTarget.allCases)
  func mutationsAreReadOrRefused(target: FuzzTarget) throws {
    var mutator = Mutator(seeds: try seeds(target), random: TestRandom(seed: 2024))
    for _ in 0..<20_000 {
      let bytes = mutator.next()
      do { try target.check(bytes) } catch {
        Issue.record("\(error), of \(Data(bytes).base64EncodedString())")
        return
      }
    }
  }

  // MARK: What fuzzing found

  /// A file's bytes are not the terminal's commands.
  @Test func refusalsEscapeWhatAFileSays() throws {
    let name = #"\u001b[2J\n\u202e"#
    let header = #"{"\#(name)":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}"#
    #expect(throws: SafetensorsError.self) { try SafetensorsHeader.parse(Array(header.utf8), dataBytes: 8, path: "a") }
    do { _ = try SafetensorsHeader.parse(Array(header.utf8), dataBytes: 8, path: "a") } catch {
      #expect(error.description == #"a: tensor \u001b[2J\u000a\u202e: 8 bytes where F32 [1] needs 4"#)
    }
    do { _ = try ModelConfiguration(json: Data(#"{"model_type":"\#(name)"}"#.utf8)) } catch {
      #expect(error.description.hasPrefix(#"model_type "\u001b[2J\u000a\u202e" is not supported: must be "gpt2" or "#))
    }
    do { _ = try DPSGDPhase(parsing: "\u{1B}[2J\n") } catch {
      #expect(error.description.hasPrefix(#"phase '\u{1b}[2J\u{a}' is not"#))
    }
  }

  /// Whatever a file holds, a refusal fits a line that a person reads: also of one character with a million accents.
  @Test func refusalsAreShort() throws {
    let long = "e" + String(repeating: "\u{301}", count: 100_000)
    let integers = String(repeating: "1,", count: 100_000) + "1"
    for header in [
      #"{"\#(long)":{}}"#, #"{"a":{"dtype":"\#(long)","shape":[],"data_offsets":[0,0]}}"#,
      #"{"a":{"dtype":"F32","shape":[\#(integers)],"data_offsets":[0,0]}}"#,
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[\#(integers)]}}"#, #"{"__metadata__":{"\#(long)":1}}"#,
      #"{"\#(long)":1,"\#(long)":2}"#,
    ] {
      try FuzzTarget.safetensors.check(Array(header.utf8))
    }
    try FuzzTarget.config.check(Array(#"{"model_type":"\#(long)"}"#.utf8))
    try FuzzTarget.phase.check(Array(long.utf8))
  }

  /// To compare a character of 20,000 accents as text takes seconds, one of a million takes hours.
  @Test func accentsTakeNoTime() throws {
    let long = "e" + (0..<20_000).map { $0.isMultiple(of: 2) ? "\u{301}" : "\u{323}" }.joined()
    let clock = ContinuousClock()
    let taken = try clock.measure {
      try FuzzTarget.jsonl.check(Array(#"{"\#(long)":1,"text":"x"}"#.utf8))
      try FuzzTarget.csv.check(Array("\(long),text\n1,2\n".utf8))
      try FuzzTarget.config.check(Array(#"{"model_type":"\#(long)"}"#.utf8))
      try FuzzTarget.index.check(Array(#"{"weight_map":{"a":"\#(long)"}}"#.utf8))
      try FuzzTarget.safetensors.check(Array(#"{"a":{"dtype":"\#(long)","shape":[],"data_offsets":[0,0]}}"#.utf8))
    }
    #expect(taken < .seconds(1))
  }

  /// Ranks that refuse a file say the same of it.
  @Test func theFirstBadTensorByNameIsNamed() throws {
    let entries = (10..<60).map { #""t\#($0)":{"dtype":"no","shape":[],"data_offsets":[0,0]}"# }.reversed().joined(separator: ",")
    for _ in 0..<8 {
      do { _ = try SafetensorsHeader.parse(Array("{\(entries)}".utf8), dataBytes: 0, path: "a") } catch {
        #expect(error.description == "a: tensor t10: unknown element type no")
      }
    }
  }

  /// The system would read `model.safetensors` for the first.
  @Test(arguments: [#"model.safetensors\u0000x"#, "", ".", "..", "a/b", #"a\nb"#])
  func anIndexNamesFilesBesideIt(name: String) throws {
    let index = Array(#"{"weight_map":{"wte.weight":"\#(name)"}}"#.utf8)
    #expect(throws: ModelFileError.self) { try ModelFile.weightNames(inIndex: index, path: "index") }
  }
}
