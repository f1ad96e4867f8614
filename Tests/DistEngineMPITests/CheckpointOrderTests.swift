import Foundation
import TestSupport
import Testing

/// What must be on the disk before what else, seen at the calls themselves: a flush that was left out shows in nothing else until the power fails.
@Suite struct CheckpointOrderTests {
  @Test(arguments: [1, 3]) func slicesThenManifestThenName(ranks: Int) throws {
    let directory = try TemporaryDirectory()
    let records = try directory.file("records.txt", (0..<12).map { "record number \($0)\n" }.joined())
    let outcome = try MPILauncher(built: "MPIChecks").run(["checkpoint-order", records, "\(directory.path)/run"], ranks: ranks)
    try #require(outcome.status == 0, "\(outcome.standardError)")
    let events = (0..<ranks).map { rank in outcome.outputLines.filter { $0.hasPrefix("\(rank) ") }.map { String($0.dropFirst(2)) } }
    let first = events[0]
    func place(_ event: String, after start: Int = 0) throws -> Int {
      try #require(first[start...].firstIndex { $0.hasPrefix(event) }, "\(event) after \(start) in \(first)")
    }
    var charge = 0
    for step in 0...2 {
      let aside = "DIR/checkpoints/.step-\(step)"
      for rank in 0..<ranks {
        #expect(events[rank].contains("flush \(aside)/state-\(rank)-of-\(ranks).safetensors"), "rank \(rank) has flushed its slice")
      }
      let slice = try place("flush \(aside)/state-0-of-\(ranks)")
      let manifest = try place("flush \(aside)/manifest.json", after: slice)
      let name = try place("rename \(aside)/manifest.json", after: manifest)
      let all = try place("flush \(aside)", after: name + 2)
      #expect(first[all] == "flush \(aside)", "the directory, when all its names are there")
      let published = try place("rename DIR/checkpoints/step-\(step)", after: all)
      let flushed = try place("flush DIR/checkpoints", after: published)
      #expect(first[published + 1] == "flush DIR/checkpoints" && flushed == published + 1)
      #expect(charge < slice, "step \(step)'s charge, then its checkpoint")
      if step < 2 { charge = try place("flush DIR/checkpoints/ledger.jsonl", after: flushed) }
    }
    let statements = first.indices.filter { first[$0] == "rename DIR/privacy.json" }
    let checkpoint = try place("rename DIR/checkpoints/step-0")
    #expect(statements.count == 2 && statements[0] < checkpoint, "the statement is there before the first checkpoint")
  }
}
