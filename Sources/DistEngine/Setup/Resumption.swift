import Foundation

/// Where a run goes on: found out by rank 0, the same on all.
struct Resumption: Codable, Sendable {
  let manifest: CheckpointManifest
  /// Lines of the ledger: steps of the checkpoint's model, and those that were charged and lost.
  let charges: Int

  /// Finds the newest whole checkpoint of a run, and counts its charges.
  ///
  /// - Parameters:
  ///   - ledger: the file of the charges.
  ///   - say: is told of checkpoints that are damaged.
  /// - Returns: nil where there is neither a checkpoint nor a charge: the run starts.
  init?(_ checkpoints: CheckpointDirectory, ledger: String, say: (String) -> Void) throws {
    let found = try checkpoints.newestWhole { step, damage in
      say("\(checkpoints.path(ofStep: step))/\(damage): the checkpoint is damaged, and one before it is looked for")
    }
    let charges = try DurableLog.lineCountWithTorn(at: ledger)
    guard let manifest = found else {
      if charges > 0 { throw CheckpointError.none(path: checkpoints.path) }
      return nil
    }
    guard charges >= manifest.charges else {
      throw CheckpointError.chargesMissing(path: ledger, charges: charges, counted: manifest.charges)
    }
    (self.manifest, self.charges) = (manifest, charges)
  }
}

extension Communicator {
  /// Rank 0's, on all ranks.
  func broadcast(_ resumption: Resumption?) throws -> Resumption? {
    let bytes = try broadcast(bytes: try resumption.map { Array(try JSONEncoder().encode($0)) } ?? [])
    return bytes.isEmpty ? nil : try JSONDecoder().decode(Resumption.self, from: Data(bytes))
  }
}
