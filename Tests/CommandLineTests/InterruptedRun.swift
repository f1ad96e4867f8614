import Foundation
import TestSupport
import Testing

/// A run in a directory of its own that is cut off and goes on: one command line, started again and again.
struct InterruptedRun {
  let directory: TemporaryDirectory
  /// Of `train`, without `--output`.
  private let options: String

  init(_ options: String) throws {
    directory = try TemporaryDirectory()
    self.options = options
  }

  /// What another directory holds, and the same command line.
  init(copyOf other: InterruptedRun) throws {
    self = try InterruptedRun(other.options)
    try FileManager.default.copyItem(atPath: other.path, toPath: path)
  }

  var path: String { "\(directory.path)/run" }
  var checkpoints: String { "\(path)/checkpoints" }

  /// Starts it and waits for its end.
  func start(_ more: String = "--resume", ranks: Int? = nil) throws -> MPILauncher.Outcome {
    let arguments = "\(options) \(more) --json --no-progress".split(separator: " ").map(String.init) + ["--output", path]
    return try Program.run(arguments, ranks: ranks)
  }

  /// Starts it on a disk that changes a bit of what is written to files that match a pattern.
  func start(_ more: String, damaging pattern: String) throws -> MPILauncher.Outcome {
    let arguments = "\(options) \(more) --json --no-progress".split(separator: " ").map(String.init) + ["--output", path]
    let library = try MPILauncher(built: "libStorageFaults.so").executable.path(percentEncoded: false)
    return try Program.run(arguments, environment: ["LD_PRELOAD": library, "STORAGE_FAULT": "write:\(pattern):0:-1"])
  }

  /// Starts it and has `action`, a line of bash with the launcher as $job, when so many steps have been made since.
  ///
  /// - Returns: how the launcher ended.
  func start(_ more: String = "--resume", ranks: Int? = nil, afterSteps steps: Int, do action: String) throws -> MPILauncher.Outcome {
    let launcher = ranks.map { "mpirun --oversubscribe -np \($0) " } ?? ""
    // The directory is in the program's command line and not in this shell's.
    let script = """
      lines() { cat "$OUT/metrics.jsonl" 2>/dev/null | wc -l; }
      before=$(lines); \(launcher)"$0" \(options) \(more) --no-progress --output "$OUT" 2>errors >/dev/null & job=$!
      for try in $(seq 1500); do [ $(($(lines) - before)) -ge \(steps) ] && break; kill -0 $job 2>/dev/null || break; sleep 0.02; done
      \(action); wait $job; status=$?; cat errors >&2; exit $status
      """
    return try Program.shell(
      script, in: directory, environment: ["OUT": path, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"])
  }

  /// Ends every process of the run at once, as a scheduler or a dead machine does.
  static let kill = "pkill -9 -f -- \"--output $OUT\""

  func model() throws -> Data { try Data(contentsOf: URL(filePath: "\(path)/model/model.safetensors")) }
  func parameters() throws -> [Double] { try TensorFile("\(path)/model/model.safetensors").elements() }
  func text(_ name: String) throws -> String { try String(contentsOfFile: "\(path)/\(name)", encoding: .utf8) }
  func lines(_ name: String) throws -> [Substring] { try text(name).split(separator: "\n") }
  func privacy() throws -> Privacy {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Privacy.self, from: Data(contentsOf: URL(filePath: "\(path)/privacy.json")))
  }

  /// Steps of the checkpoints, ascending.
  func checkpointSteps() throws -> [Int] {
    try FileManager.default.contentsOfDirectory(atPath: checkpoints).compactMap { name in
      name.hasPrefix("step-") ? Int(name.dropFirst(5)) : nil
    }.sorted()
  }

  /// Files of a checkpoint, its manifest among them.
  func files(ofStep step: Int) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: "\(checkpoints)/step-\(step)").sorted().map { "\(checkpoints)/step-\(step)/\($0)" }
  }
}
