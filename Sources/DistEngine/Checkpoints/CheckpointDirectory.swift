import Crypto
import Foundation

/// The checkpoints of a run, `step-N` each, as rank 0 sees them.
///
/// One is complete or not there: it is written in a directory aside, flushed, and renamed; it is taken away by a rename, too. A name that
/// begins with a dot is of one that was under way when its run ended.
package struct CheckpointDirectory {
  package let path: String

  package init(path: String) { self.path = path }

  package func path(ofStep step: Int) -> String { "\(path)/step-\(step)" }
  /// Where a checkpoint is written before it has its name.
  package func pathAside(ofStep step: Int) -> String { "\(path)/.step-\(step)" }

  /// Steps of which there is a checkpoint, whole or damaged, the newest first.
  package func steps() throws -> [Int] {
    try names().compactMap { name in
      guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step >= 0, name == "step-\(step)" else { return nil }
      return step
    }.sorted(by: >)
  }

  private func names() throws -> [String] {
    guard FileManager.default.fileExists(atPath: path) else { return [] }
    do { return try FileManager.default.contentsOfDirectory(atPath: path) } catch { throw FileError(path: path, action: "read", reason: error.oneLine) }
  }

  /// The newest whole checkpoint, every byte of it read.
  ///
  /// - Parameter damaged: is told of each newer one that isn't whole, and what is wrong with it.
  /// - Returns: nil where there is none at all.
  /// - Throws: ``CheckpointError/noneWhole(path:)`` where there are some and none is whole.
  package func newestWhole(damaged: (_ step: Int, _ damage: CheckpointDamage) -> Void) throws -> CheckpointManifest? {
    let steps = try steps()
    for step in steps {
      do throws(CheckpointDamage) { return try verify(step: step) } catch { damaged(step, error) }
    }
    guard steps.isEmpty else { throw CheckpointError.noneWhole(path: path) }
    return nil
  }

  /// Reads all of a checkpoint.
  package func verify(step: Int) throws(CheckpointDamage) -> CheckpointManifest {
    let directory = path(ofStep: step)
    let bytes: [UInt8]
    do { bytes = try FileBytes.read("\(directory)/\(CheckpointManifest.fileName)") } catch {
      throw CheckpointDamage(file: CheckpointManifest.fileName, reason: error.reason)
    }
    let manifest = try CheckpointManifest(fileBytes: bytes)
    guard manifest.step == step else {
      throw CheckpointDamage(file: CheckpointManifest.fileName, reason: "it is of step \(manifest.step)")
    }
    for file in manifest.files {
      var hash = SHA256()
      var count = 0
      do {
        try FileBytes.forEachPiece(of: "\(directory)/\(file.name)") {
          hash.update(bufferPointer: $0)
          count += $0.count
        }
      } catch { throw CheckpointDamage(file: file.name, reason: error.reason) }
      guard count == file.bytes else { throw CheckpointDamage(file: file.name, reason: "it has \(count) bytes and had \(file.bytes)") }
      guard hash.finalize().hexadecimal == file.sha256 else {
        throw CheckpointDamage(file: file.name, reason: "its SHA-256 is not the one that was written")
      }
    }
    return manifest
  }

  /// Gives a checkpoint that lies aside its name: from then on it is there. One of the same step that was there makes way.
  package func publish(step: Int) throws {
    try AtomicFile.flushDirectory(pathAside(ofStep: step))
    let target = path(ofStep: step)
    if FileManager.default.fileExists(atPath: target) { try remove("step-\(step)") }
    guard rename(pathAside(ofStep: step), target) == 0 else { throw FileError(path: target, action: "written") }
    try AtomicFile.flushDirectory(path)
  }

  /// Bytes of the files of all checkpoints, as far as they can be seen.
  package func byteCount() -> Int {
    let files = FileManager.default
    return ((try? steps()) ?? []).reduce(0) { sum, step in
      let names = (try? files.contentsOfDirectory(atPath: path(ofStep: step))) ?? []
      return names.reduce(sum) { $0 + (((try? files.attributesOfItem(atPath: "\(path(ofStep: step))/\($1)"))?[.size] as? Int) ?? 0) }
    }
  }

  /// Removes all but the newest of the checkpoints.
  ///
  /// - Parameter newest: the one written last: newer names are of damaged ones, which it replaces.
  package func keep(_ count: Int, newest: Int) throws {
    let steps = try steps()
    let kept = steps.filter { $0 <= newest }.prefix(max(1, count))
    for step in steps where !kept.contains(step) { try remove("step-\(step)") }
  }

  /// Removes what an ended run left under way.
  package func clearAside() throws {
    for name in try names() where name.hasPrefix(".") { try Self.removeTree("\(path)/\(name)") }
  }

  /// First out of sight, so that a checkpoint is never seen with some of its files.
  private func remove(_ name: String) throws {
    let aside = "\(path)/.removed-\(name)"
    if FileManager.default.fileExists(atPath: aside) { try Self.removeTree(aside) }
    guard rename("\(path)/\(name)", aside) == 0 else { throw FileError(path: "\(path)/\(name)", action: "removed") }
    try Self.removeTree(aside)
  }

  private static func removeTree(_ path: String) throws {
    do { try FileManager.default.removeItem(atPath: path) } catch { throw FileError(path: path, action: "removed", reason: error.oneLine) }
  }
}

/// Why a run can't go on from its checkpoints.
package enum CheckpointError: UserError, Equatable {
  /// There are checkpoints, and all are damaged.
  case noneWhole(path: String)
  /// There are charges or a model, and no checkpoint.
  case none(path: String)
  /// The ledger holds fewer charges than a checkpoint counts.
  case chargesMissing(path: String, charges: Int, counted: Int)
  /// A line of the ledger is no charge of this run.
  case foreignCharge(path: String, line: Int)
  /// Steps were made that the ledger doesn't have.
  case stepsUncharged(path: String, charges: Int, steps: Int)
  /// A checkpoint's slices are not those of this model.
  case otherShape(path: String, reason: String)
  /// An option that shapes the result is not what it was.
  case optionDiffers(option: String, now: String, before: String, hint: String)

  package var description: String {
    switch self {
    case .noneWhole(let path): "\(path): no checkpoint is whole, so the run can't go on: start it anew with another --output"
    case .none(let path):
      "\(path) holds a run without any checkpoint, so it can't go on: start it anew with another --output"
    case .chargesMissing(let path, let charges, let counted):
      "\(path): it has \(charges) charges and the checkpoint counts \(counted): a ledger that lost some can't be gone on with"
    case .foreignCharge(let path, let line):
      "\(path), line \(line): it is no charge of this run: a ledger that isn't its own can't be gone on with"
    case .stepsUncharged(let path, let charges, let steps):
      "\(path): it has \(charges) charges, and metrics.jsonl tells of \(steps) steps: a ledger that lost some can't be gone on with"
    case .otherShape(let path, let reason): "\(path): \(reason)"
    case .optionDiffers(let option, let now, let before, let hint):
      "--resume: \(option) is \(now) and was \(before) when the run began: must be as it was\(hint)"
    }
  }
}
