/// What a whole run writes, at the least.
package struct DiskNeed: Sendable {
  /// Bytes of one checkpoint.
  package let checkpoint: Int
  /// Checkpoints that are there at a time: those that are kept, and the one that is being written.
  package let checkpointCount: Int
  /// Bytes of the model: what is released, or before that written aside.
  package let model: Int
  /// A line a step in `metrics.jsonl` and in a private run's ledger, 8 bytes for each record that was seen, the statements.
  private let rest: Int

  package var all: Int { checkpoint * checkpointCount + model + rest }

  package init(_ setup: TrainingSetup) {
    let table = setup.plan.table
    checkpoint = CheckpointState.byteCount(
      parameters: table.trained.totalCount, frozen: setup.frozenCountOfCheckpoints,
      moments: setup.configuration.optimizer.momentCount)
    checkpointCount = setup.configuration.keepCheckpoints + 1
    let released = setup.model.adapters == nil ? setup.model.parameterCount : table.trained.totalCount + table.frozenAdapterCount
    model = released * MemoryLayout<Float>.size
    let line = setup.privacy == nil ? 200 : 500
    rest = setup.steps * line + setup.provenance.recordSets.reduce(0) { $0 + $1.bytes.count } + 24 << 10
  }
}
