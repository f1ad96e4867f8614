import Foundation
import PrivacyAccounting

/// The directory of a run: `run.json`, `metrics.jsonl`, `privacy.json`, `model/` or `adapter/`, `checkpoints/`, and in `seen/` which
/// records it and its start model were trained on (``RecordHashes``), for runs that start from its model. Rank 0 alone writes, but for the
/// slices of checkpoints.
///
/// Much of it is computed from private data without noise, so its user alone may read it; `model/` or `adapter/`, which is for release, has the
/// permissions that the user's mask gives, for when it is moved elsewhere.
package final class RunDirectory {
  /// Where it is by now: a directory that is renamed during the run is written to all the same.
  package private(set) var path: String
  /// Locked as long as the run lasts: a file's lock holds between hosts, too.
  private var metrics: FileHandle?
  /// Whether the run has files of its own by now.
  private var hasBegun = false
  /// The directory itself, whatever its name is by now; its lock keeps a second run on this host out before there is any file.
  private let descriptor: Int32
  private var lastLook = ContinuousClock.now
  private let resumes: Bool
  /// Whether an adapter is released, not a model.
  private let hasAdapter: Bool

  /// Makes the directory, or takes one that is there, and locks it.
  ///
  /// - Parameters:
  ///   - resumes: whether a run that it holds may go on. Otherwise one that holds a run is refused: nothing is ever overwritten.
  ///   - hasAdapter: whether the run trains an adapter.
  package init(_ path: String, resumes: Bool = false, hasAdapter: Bool = false) throws {
    self.path = path
    self.hasAdapter = hasAdapter
    self.resumes = resumes
    try AtomicFile.makeDirectory(path, permissions: 0o700)
    descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError(path: path, action: "opened", code: errno) }
    // Network file systems have no lock of a directory, or one that other hosts don't see.
    try Self.lock(descriptor, path: path)
    if resumes, FileManager.default.fileExists(atPath: "\(path)/metrics.jsonl") { metrics = try openMetrics(0) }
    if !resumes, Self.runFiles.contains(where: { FileManager.default.fileExists(atPath: "\(path)/\($0)") }) {
      throw TrainingError.outputHoldsRun(path)
    }
    guard access(path, W_OK | X_OK) == 0 else { throw FileError(path: path, action: "written to", code: errno) }
  }

  private static func lock(_ file: Int32, path: String) throws(FileError) {
    if flock(file, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
      throw FileError(path: path, action: "written to", reason: "another run is writing there; choose another --output")
    }
  }

  /// The metrics, locked, and not yet written to.
  private func openMetrics(_ flags: Int32) throws -> FileHandle {
    let file = "\(path)/metrics.jsonl"
    let opened = open(file, O_RDWR | O_APPEND | O_CLOEXEC | flags, 0o600)
    guard opened >= 0 else {
      throw errno == EEXIST ? TrainingError.outputHoldsRun(path) : FileError(path: file, action: "written", code: errno)
    }
    let handle = FileHandle(fileDescriptor: opened, closeOnDealloc: true)
    try Self.lock(opened, path: path)
    return handle
  }

  private static let runFiles = ["run.json", "privacy.json", "metrics.jsonl", "model", "adapter", "checkpoints", "seen"]

  deinit { if descriptor >= 0 { close(descriptor) } }

  package var ledger: String { "\(path)/checkpoints/ledger.jsonl" }
  /// What is for release.
  package var released: String { "\(path)/\(hasAdapter ? "adapter" : "model")" }
  var checkpoints: CheckpointDirectory { CheckpointDirectory(path: "\(path)/checkpoints") }
  /// What the run reported when it was done; there when it is.
  private var report: String { "\(path)/checkpoints/report.json" }

  /// Where the run that it holds goes on; nil where none was charged for anything.
  func resumption(say: (String) -> Void) throws -> Resumption? {
    let found = try Resumption(checkpoints, ledger: ledger, metrics: "\(path)/metrics.jsonl", say: say)
    // The first checkpoint is there before the first step: where steps were made it was taken away, and with it their charges.
    if found == nil, FileManager.default.fileExists(atPath: released) || hasSteps { throw CheckpointError.none(path: path) }
    return found
  }

  /// Whether the metrics tell of a step.
  private var hasSteps: Bool {
    var own = stat()
    return stat("\(path)/metrics.jsonl", &own) == 0 && own.st_size > 0
  }

  /// The report of a run that is done; nil for one that isn't, or whose model or report is no longer there: it is written again.
  func finishedReport() -> [UInt8]? {
    let hasWeights = hasAdapter ? AdapterFile.isWhole(directory: released) : ModelFile.hasWeights(directory: released)
    guard hasWeights, FileManager.default.fileExists(atPath: "\(released)/privacy.json"),
      let bytes = try? FileBytes.read(report), (try? JSONDecoder().decode(TrainingReport.self, from: Data(bytes))) != nil
    else { return nil }
    return bytes
  }

  /// Writes what is known before the first step. `privacy.json` says what the whole run may spend: if the run is cut off, the
  /// statement is above what was spent, and the ledger has the steps.
  func begin(_ setup: TrainingSetup, statement: PrivacyStatement, overview: TrainingOverview, environment: MPIEnvironment) throws {
    if resumes { try clearAside() }
    try DiskRoom.check(DiskNeed(setup).all - checkpoints.byteCount(), in: path)
    if setup.resumed == nil { try startFiles() } else { try goOn() }
    hasBegun = true
    try AtomicFile.makeDirectory("\(path)/checkpoints", permissions: 0o700)
    let sets = setup.provenance.recordSets
    if !sets.isEmpty { try AtomicFile.makeDirectory("\(path)/seen", permissions: 0o700) }
    for set in sets { try AtomicFile.write(set.bytes, to: "\(path)/seen/\(set.fingerprint)", permissions: 0o600) }
    let earlier = setup.resumed == nil ? nil : RunDescription.starts(inFile: "\(path)/run.json")
    try write(RunDescription(setup, overview: overview, environment: environment, earlier: earlier), to: "run.json")
    try write(statement.ofUnfinishedRun(), to: "privacy.json")
  }

  /// The first file is made by one process alone, whatever the file system locks. What a start that was never charged left behind makes way.
  private func startFiles() throws {
    let held = try metrics ?? openMetrics(O_CREAT | O_EXCL)
    guard ftruncate(held.fileDescriptor, 0) == 0 else { throw FileError(path: "\(path)/metrics.jsonl", action: "written", code: errno) }
    if resumes { for name in ["run.json", "privacy.json"] { unlink("\(path)/\(name)") } }
    metrics = held
  }

  /// Removes what a start that was cut off left under way: checkpoints, probes, files that never got their names.
  private func clearAside() throws {
    try checkpoints.clearAside()
    let files = FileManager.default
    for folder in [path, checkpoints.path, released, "\(path)/seen"] where files.fileExists(atPath: folder) {
      for name in try files.contentsOfDirectory(atPath: folder) where name.hasPrefix(Self.probePrefix) || AtomicFile.isAside(name) {
        // An adapter's directory is made aside as a whole.
        do { try files.removeItem(atPath: "\(folder)/\(name)") } catch { throw FileError(path: "\(folder)/\(name)", action: "removed") }
      }
    }
  }

  /// Of files by which hosts find out whether they see the same directory.
  static let probePrefix = ".probe-"

  /// Opens the metrics behind their last whole line, and takes back that the run is done.
  private func goOn() throws {
    if FileManager.default.fileExists(atPath: report) {
      guard unlink(report) == 0 else { throw FileError(path: report, action: "removed") }
      try AtomicFile.flushDirectory(checkpoints.path)
    }
    let held = try metrics ?? openMetrics(O_CREAT | O_EXCL)
    try DurableLog.cutTornLine(of: held.fileDescriptor, path: "\(path)/metrics.jsonl")
    metrics = held
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

  /// Where checkpoints are by now.
  func checkpointsNow() throws -> CheckpointDirectory {
    try find()
    return checkpoints
  }

  /// Says what has been spent, where the run ends before it is done; nothing where it has not begun.
  ///
  /// - Parameter statement: of so many charges as the ledger has; nil where it can't be trusted: then what was written as the run began stands.
  func stop(_ statement: (_ charges: Int) throws -> PrivacyStatement?) throws {
    guard hasBegun else { return }
    try find()
    if let statement = try statement(DurableLog.lineCountWithTorn(at: ledger)) { try write(statement, to: "privacy.json") }
  }

  /// Writes the run's report: from then on it is done.
  func markDone(_ report: TrainingReport) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .named
    try find()
    try AtomicFile.write(try encoder.encode(report) + [UInt8(ascii: "\n")], to: self.report, permissions: 0o600)
  }

  /// Writes the statement, here and where the model will be, then the model: there is never a model under a statement that says too little,
  /// or without one. An adapter gets its name when it was read back.
  func finish(_ replica: ModelReplica, setup: TrainingSetup, statement: PrivacyStatement) throws {
    try find()
    if let metrics, fsync(metrics.fileDescriptor) != 0 { throw FileError(path: "\(path)/metrics.jsonl", action: "flushed to the disk", code: errno) }
    try write(statement, to: "privacy.json")
    let released = released
    if hasAdapter { return try ReleasedAdapter(path: released).write(replica, setup: setup, statement: statement) }
    try AtomicFile.makeDirectory(released)
    try write(statement, to: "model/privacy.json", isForRelease: true)
    for file in (setup.tokenizer as? FileTokenizer)?.files ?? [] {
      try AtomicFile.write(file.bytes, to: "\(released)/\(file.name)", permissions: 0o666)
    }
    try ModelFile.write(
      directory: released, configuration: setup.model, layout: replica.plan.table.whole, check: { try replica.mapped?.checkUnchanged() },
      values: { replica.storedValues(of: $0) })
  }

  /// - Parameter isForRelease: readable as the user's files are; all others are the operator's alone.
  private func write(_ value: some Encodable, to name: String, isForRelease: Bool = false) throws {
    let bytes = try JSONEncoder.files.encode(value) + [UInt8(ascii: "\n")]
    try AtomicFile.write(bytes, to: "\(path)/\(name)", permissions: isForRelease ? 0o666 : 0o600)
  }
}
