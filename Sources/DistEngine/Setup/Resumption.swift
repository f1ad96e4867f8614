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
  ///   - metrics: the file of the steps: each had its charge before.
  ///   - say: is told of checkpoints that are damaged.
  /// - Returns: nil where there is neither a checkpoint nor a charge: the run starts.
  init?(_ checkpoints: CheckpointDirectory, ledger: String, metrics: String, say: (String) -> Void) throws {
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
    guard manifest.isPrivate else { return }
    let steps = try DurableLog.lineCountWithTorn(at: metrics)
    guard charges >= steps else { throw CheckpointError.stepsUncharged(path: ledger, charges: charges, steps: steps) }
    try Self.checkCharges(ledger, of: manifest)
  }

  /// Every whole line is a charge of the run that the checkpoint is of.
  private static func checkCharges(_ ledger: String, of manifest: CheckpointManifest) throws {
    guard FileManager.default.fileExists(atPath: ledger) else { return }
    let decoder = JSONDecoder()
    for (index, line) in try DurableLog.lines(at: ledger).enumerated() {
      let charge = try? decoder.decode(PrivacyLedger.Charge.self, from: Data(line.utf8))
      guard let charge, charge.runID == manifest.runID, charge.noiseMultiplier == manifest.noiseMultiplier,
        "\(charge.expectedBatchSize)" == manifest.options["--batch-size"], "\(charge.datasetSize)" == manifest.options["--dataset-size"]
      else { throw CheckpointError.foreignCharge(path: ledger, line: index + 1) }
    }
  }
}

extension CheckpointManifest {
  fileprivate var isPrivate: Bool { options["--mode"] != TrainingMode.standard.rawValue }
}

extension Communicator {
  /// Rank 0's, on all ranks.
  func broadcast(_ resumption: Resumption?) throws -> Resumption? {
    let bytes = try broadcast(bytes: try resumption.map { Array(try JSONEncoder().encode($0)) } ?? [])
    return bytes.isEmpty ? nil : try JSONDecoder().decode(Resumption.self, from: Data(bytes))
  }
}
