import DistEngine
import Foundation

/// Data sets that the ranks of a node make side by side, against one that this rank makes alone: of the files of a directory, in blocks of some sizes, in
/// memory that the ranks share and in memory of each one's own.
struct DataChecks {
  let environment: MPIEnvironment
  /// `a.jsonl`, `b.csv`, `c.jsonl.gz`: with the fields note, talk and who.
  let directory: String

  /// Runs all; rank 0 prints a line each.
  func run() throws -> Int32 {
    let fields = RecordFields(texts: ["note"], prompt: "talk", unit: "who")
    var failures = 0
    for files in [["a.jsonl"], ["b.csv"], ["c.jsonl.gz"], ["a.jsonl", "b.csv", "c.jsonl.gz"], ["c.jsonl.gz", "c.jsonl.gz", "a.jsonl"]] {
      let paths = files.map { "\(directory)/\($0)" }
      let records = RecordStore(joining: try paths.map { try RecordReader.read($0, fields: fields) })
      let expected = TokenizedDataset(records, tokenizer: ByteTokenizer(), longestSequence: 40)
      for blockBytes in [1, 300, 1 << 20] {
        for sharesMemory in [true, false] {
          let loader = SequenceLoader(
            tokenizer: ByteTokenizer(), format: .language(begin: 256, end: 256), longestSequence: 40, fields: fields,
            ranks: DataRanks(world: environment.world, node: environment.node), blockBytes: blockBytes, sharesMemory: sharesMemory)
          let (dataset, hashes) = try loader.load(try paths.map { try RecordSource($0, fields: fields) }, hashesRecords: true)
          let problem = try difference(dataset, expected) ?? (hashes == (environment.world.rank == 0 ? RecordHashes(records) : nil) ? nil : "other hashes")
          let problems = try environment.world.allgather(problem ?? "")
          let failed = problems.firstIndex { !$0.isEmpty }
          failures += failed == nil ? 0 : 1
          guard environment.world.rank == 0 else { continue }
          let name = "\(files.joined(separator: ", ")) in blocks of \(blockBytes), \(sharesMemory ? "shared" : "apart")"
          print(failed.map { "failed \(name): rank \($0): \(problems[$0])" } ?? "ok \(name)")
        }
      }
    }
    return failures == 0 ? 0 : 1
  }

  private func difference(_ dataset: TokenizedDataset, _ expected: TokenizedDataset) throws -> String? {
    guard dataset.count == expected.count, dataset.ids == expected.ids else { return "other ids" }
    guard try dataset.digest(by: environment.node) == expected.digest() else { return "another digest" }
    guard dataset.statistics == expected.statistics else { return "other statistics" }
    for record in 0..<dataset.count where dataset.lossStart(of: record) != expected.lossStart(of: record) { return "another loss start of \(record)" }
    guard dataset.unitCount == expected.unitCount else { return "\(dataset.unitCount) units" }
    for unit in 0..<dataset.unitCount where dataset.units.records(of: unit) != expected.units.records(of: unit) { return "other records of unit \(unit)" }
    return nil
  }
}
