import Foundation
import TestSupport
import Testing

/// The built `dp-mpirun`.
enum Program {
  /// Runs it and waits.
  ///
  /// - Parameter ranks: nil starts it without mpirun.
  static func run(
    _ arguments: [String], ranks: Int? = nil, environment: [String: String?] = [:], timeout: Duration = .seconds(90)
  ) throws -> MPILauncher.Outcome {
    // Without a bar and without whatever the tests' own terminal says.
    try MPILauncher(built: "dp-mpirun").run(
      arguments, ranks: ranks, environment: ["CI": "1"].merging(environment) { $1 }, timeout: timeout)
  }

  /// Runs a line of bash in a directory, where "$0" is the program.
  static func shell(
    _ script: String, in directory: TemporaryDirectory, environment: [String: String?] = [:], timeout: Duration = .seconds(90)
  ) throws -> MPILauncher.Outcome {
    let program = try MPILauncher(built: "dp-mpirun").executable.path
    return try MPILauncher(executable: URL(filePath: "/bin/bash")).run(
      ["-c", script, program], ranks: nil, environment: ["CI": "1"].merging(environment) { $1 }, directory: URL(filePath: directory.path),
      timeout: timeout)
  }

  /// A short run that isn't private, for what has nothing to do with privacy.
  static let standardRun =
    "train --mode standard --data \(Fixture.records) --model \(Fixture.model) --seq-len 16 --batch-size 2 --seed 1 --threads 1 --no-progress"

  /// Whether a tool is there.
  static func has(_ tool: String) -> Bool {
    ["/usr/bin", "/bin", "/usr/local/bin"].contains { FileManager.default.isExecutableFile(atPath: "\($0)/\(tool)") }
  }

  /// Processes that have `text` in their command line, this one left out.
  static func processes(mentioning text: String) -> [String] {
    let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.filter { Int($0) != nil } ?? []
    return numbers.filter { number in
      guard let line = FileManager.default.contents(atPath: "/proc/\(number)/cmdline") else { return false }
      return Int32(number) != getpid() && String(decoding: line, as: UTF8.self).contains(text)
    }
  }
}

enum Fixture {
  private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures/gpt2-tiny").path(percentEncoded: false)
  /// 43 records of up to 64 targets (at `--seq-len 64`).
  static let records = "\(folder)/records.txt"
  static let recordCount = 43
  /// 2 layers, width 64, 96 positions, 257 ids.
  static let model = "\(folder)/model"
  /// Losses, norms, clip factors and clipped sum of the records, by PyTorch in float64.
  static let expected = "\(folder)/expected.safetensors"
}
