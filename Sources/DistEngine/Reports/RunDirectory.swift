import Foundation
import PrivacyAccounting

/// The directory of a run: `run.json`, `metrics.jsonl`, `privacy.json`, `model/`, `checkpoints/`, and in `seen/` which
/// records it and its start model were trained on (``RecordHashes``), for runs that start from its model. Rank 0 alone writes.
///
/// Much of it is computed from private data without noise, so its user alone may read it; `model/`, which is for release, has the
/// permissions that the user's mask gives, for when it is moved elsewhere.
package final class RunDirectory {
  /// Where it is by now: a directory that is renamed during the run is written to all the same.
  package private(set) var path: String
  private var metrics: FileHandle?
  /// The directory itself, whatever its name is by now; its lock keeps a second run out as long as this one lasts.
  private let descriptor: Int32
  private var lastLook = ContinuousClock.now

  /// Makes the directory. One that holds a run is refused: nothing is ever overwritten.
  package init(creating path: String) throws {
    self.path = path
    try AtomicFile.makeDirectory(path, permissions: 0o700)
    descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError(path: path, action: "opened", code: errno) }
    // Some network file systems can't lock a directory: there `begin` alone keeps the second run out.
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
      throw FileError(path: path, action: "written to", reason: "another run is writing there; choose another --output")
    }
    for file in ["run.json", "privacy.json", "metrics.jsonl", "model", "checkpoints", "seen"]
    where FileManager.default.fileExists(atPath: "\(path)/\(file)") {
      throw TrainingError.outputHoldsRun(path)
    }
    guard access(path, W_OK | X_OK) == 0 else { throw FileError(path: path, action: "written to", code: errno) }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  package var ledger: String { "\(path)/checkpoints/ledger.jsonl" }
  package var model: String { "\(path)/model" }

  /// Writes what is known before the first step. `privacy.json` says what the whole run may spend: if the run is cut off, the
  /// statement is above what was spent, and the ledger has the steps.
  func begin(_ setup: TrainingSetup, statement: PrivacyStatement, overview: TrainingOverview, environment: MPIEnvironment) throws {
    try DiskRoom.check(Self.expectedBytes(setup), in: path)
    // The first file, made by one process alone whatever the file system locks.
    let file = "\(path)/metrics.jsonl"
    let made = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard made >= 0 else {
      throw errno == EEXIST ? TrainingError.outputHoldsRun(path) : FileError(path: file, action: "written", code: errno)
    }
    metrics = FileHandle(fileDescriptor: made, closeOnDealloc: true)
    try AtomicFile.makeDirectory("\(path)/checkpoints", permissions: 0o700)
    let sets = setup.provenance.recordSets
    if !sets.isEmpty { try AtomicFile.makeDirectory("\(path)/seen", permissions: 0o700) }
    for set in sets { try AtomicFile.write(set.bytes, to: "\(path)/seen/\(set.fingerprint)", permissions: 0o600) }
    try write(RunDescription(setup, overview: overview, environment: environment), to: "run.json")
    try write(statement.ofUnfinishedRun(), to: "privacy.json")
  }

  /// What a whole run writes, at the least: the model, a line a step in `metrics.jsonl` and in a private run's ledger, 8 bytes for each record that
  /// was seen, the statements.
  private static func expectedBytes(_ setup: TrainingSetup) -> Int {
    let line = setup.privacy == nil ? 200 : 500
    let seen = setup.provenance.recordSets.reduce(0) { $0 + $1.bytes.count }
    return setup.model.parameterCount * MemoryLayout<Float>.size + setup.steps * line + seen + 24 << 10
  }

  func append(_ report: StepReport, epsilon: Double?, isPrivateRun: Bool) throws {
    var line = try JSONEncoder.lines.encode(MetricsLine(report, epsilon: epsilon, isPrivateRun: isPrivateRun))
    line.append(UInt8(ascii: "\n"))
    if let metrics { try writeFully(Array(line), to: metrics.fileDescriptor, path: "\(path)/metrics.jsonl") }
    try lookAgain()
  }

  /// A directory that is removed under a run is noticed at the end of a step, within seconds, not when the model is to be written.
  private func lookAgain() throws {
    guard ContinuousClock.now - lastLook > .seconds(2) else { return }
    lastLook = .now
    try find()
  }

  /// Sets `path` to where the directory is now.
  private func find() throws(FileError) {
    if isHere(path) { return }
    var name = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let length = name.withUnsafeMutableBytes { readlink("/proc/self/fd/\(descriptor)", $0.baseAddress!, $0.count) }
    if length > 0, let moved = String(validating: name.prefix(length), as: UTF8.self), isHere(moved) {
      path = moved
    } else {
      throw FileError(path: path, action: "written to", reason: "the directory was removed during the run")
    }
  }

  private func isHere(_ path: String) -> Bool {
    var (own, named) = (stat(), stat())
    return fstat(descriptor, &own) == 0 && stat(path, &named) == 0 && own.st_dev == named.st_dev && own.st_ino == named.st_ino
  }

  /// Writes the statement, here and where the model will be, then the model: there is never a model under a statement that says too little,
  /// or without one.
  func finish(_ replica: ModelReplica, setup: TrainingSetup, statement: PrivacyStatement) throws {
    try find()
    try metrics?.close()
    metrics = nil
    try write(statement, to: "privacy.json")
    try AtomicFile.makeDirectory(model)
    try write(statement, to: "model/privacy.json", isForRelease: true)
    for file in (setup.tokenizer as? FileTokenizer)?.files ?? [] {
      try AtomicFile.write(file.bytes, to: "\(model)/\(file.name)", permissions: 0o666)
    }
    try ModelFile.write(directory: model, configuration: setup.model, layout: replica.plan.table.whole) {
      UnsafeBufferPointer(replica.values(of: $0))
    }
  }

  /// - Parameter isForRelease: readable as the user's files are; all others are the operator's alone.
  private func write(_ value: some Encodable, to name: String, isForRelease: Bool = false) throws {
    let bytes = try JSONEncoder.files.encode(value) + [UInt8(ascii: "\n")]
    try AtomicFile.write(bytes, to: "\(path)/\(name)", permissions: isForRelease ? 0o666 : 0o600)
  }
}

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

/// One line of `metrics.jsonl`.
struct MetricsLine: Encodable {
  let step: Int
  let loss: Double?
  let examples: Int
  let tokens: Int
  let clippedFraction: Double?
  let meanGradientNorm: Double?
  let nonFiniteExamples: Int
  let learningRate: Double
  let seconds: Double
  let collectiveSeconds: Double
  /// At the steps that are logged.
  let epsilon: ExtendedReal?
  /// The keys of this line that are computed from private data without noise: not covered by the guarantee.
  let withoutNoise: [String]?

  init(_ report: StepReport, epsilon: Double?, isPrivateRun: Bool) {
    step = report.step
    loss = report.loss
    examples = report.examples
    tokens = report.targets
    clippedFraction = report.clippedFraction
    meanGradientNorm = report.meanGradientNorm
    nonFiniteExamples = report.nonFiniteExamples
    learningRate = report.learningRate
    seconds = report.seconds
    collectiveSeconds = report.collectiveSeconds
    self.epsilon = epsilon.map(ExtendedReal.init(value:))
    withoutNoise =
      isPrivateRun
      ? [
        "loss", "examples", "tokens", "clipped_fraction", "mean_grad_norm", "non_finite_examples", "seconds",
        "collective_seconds",
      ] : nil
  }

  enum CodingKeys: String, CodingKey {
    case step, loss, examples, tokens, seconds, epsilon
    case clippedFraction = "clipped_fraction"
    case meanGradientNorm = "mean_grad_norm"
    case nonFiniteExamples = "non_finite_examples"
    case learningRate = "learning_rate"
    case collectiveSeconds = "collective_seconds"
    case withoutNoise = "computed_without_noise"
  }
}
