import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Whole runs by unit, and with frozen tensors.
  @Suite struct UnitRunTests {
    private func records(_ directory: TemporaryDirectory) throws -> String {
      let lines = (0..<60).map { record in
        "{\"text\": \"\(String(repeating: "word \(record) ", count: 1 + record % 7))\", \"who\": \"author \(record * record % 11)\"}\n"
      }
      return try directory.file("notes.jsonl", lines.joined())
    }

    /// Units, batches and noise are the same on any number of ranks and in any sharding.
    @Test func unitsAreTheSameOnAnyNumberOfRanks() throws {
      let directory = try TemporaryDirectory()
      let data = try records(directory)
      let options = "--unit who --max-records-per-unit 4 --batch-size 3 --steps 4 --noise-multiplier 0.5 --accountant rdp --seed 5 --seq-len 64"
      let first = try TrainingRun(options, data: data)
      for (extra, ranks) in [("--shard node", 2), ("--shard optimizer", 3), ("--mode hooks --shard none", 2)] as [(String, Int)] {
        let other = try TrainingRun(options, extra, data: data, ranks: ranks)
        #expect(try other.metrics().map(\.examples) == first.metrics().map(\.examples), "\(extra)")
        #expect(try other.privacy().epsilon == first.privacy().epsilon)
        let (own, reference) = (try other.report().parametersL2, try first.report().parametersL2)
        #expect(abs(own - reference) < 1e-4 * reference, "\(extra)")
      }
      let statement = try first.object("privacy.json")
      #expect(statement["unit"] as? String == "all records of the same who" && statement["max_records_per_unit"] as? Int == 4)
      let description = try first.object("run.json")
      #expect(description["training_units"] as? Int == 6 && description["training_records"] as? Int == 60)
      #expect(description["unit"] as? String == "all records of the same who" && description["tokenizer"] as? String == "bytes")
    }

    @Test(arguments: ["bias", "head"]) func frozenTensorsAreWrittenAsTheyWereRead(trainable: String) throws {
      let run = try TrainingRun(
        "--batch-size 6 --steps 2 --noise-multiplier 1 --accountant rdp --seq-len 32 --trainable \(trainable)", model: Fixture.model,
        ranks: 2)
      let (before, after) = (try TensorFile("\(Fixture.model)/model.safetensors"), try TensorFile("\(run.path)/model/model.safetensors"))
      #expect(before.names == after.names)
      let changed = before.names.filter { before[$0] != after[$0] }
      let trained = before.names.filter { trainable == "bias" ? $0.hasSuffix(".bias") : $0 == "transformer.wte.weight" }
      #expect(changed == trained)
      #expect(try run.object("run.json")["trainable"] as? String == trainable)
    }

    @Test func aPlanShowsLargeUnitsAndFrozenParameters() throws {
      let directory = try TemporaryDirectory()
      let data = try records(directory)
      let options = ["--data", data, "--batch-size", "3", "--steps", "4", "--noise-multiplier", "1", "--accountant", "rdp", "--json"]
      func plan(_ more: String) throws -> String {
        let outcome = try Program.run(["plan"] + options + more.split(separator: " ").map(String.init), ranks: nil)
        try #require(outcome.status == 0, "\(outcome.standardError)")
        return outcome.standardOutput
      }
      #expect(try plan("--unit who --max-records-per-unit 64 --microbatch 1").contains("one large unit's gradient"))
      #expect(try !plan("").contains("one large unit's gradient"))
      #expect(try plan("--trainable bias").contains("frozen parameters"))
    }
  }
}
