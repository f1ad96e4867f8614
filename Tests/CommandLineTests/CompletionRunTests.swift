import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Completions from files, and data in several files, packed or not.
  @Suite struct CompletionRunTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appending(path: "Fixtures/gpt2-tiny-completions").path(percentEncoded: false)
    private static let perRecord: Set = ["clip_factors", "losses", "norms"]

    private func inspect(_ options: String, data: [String], ranks: Int?) throws -> TensorFile {
      let directory = try TemporaryDirectory()
      let file = "\(directory.path)/inspected.safetensors"
      let outcome = try Program.run(
        ["inspect", "--model", "\(Self.folder)/model", "--prompt-field", "dialogue", "--seq-len", "300", "--max-grad-norm", "5.05"]
          + data.flatMap { ["--data", $0] } + options.split(separator: " ").map(String.init) + ["--out", file], ranks: ranks)
      try #require(outcome.status == 0, "\(outcome.standardError)")
      return try TensorFile(file)
    }

    private func expectReference(_ found: TensorFile, _ what: String) throws {
      let expected = try TensorFile("\(Self.folder)/expected.safetensors")
      #expect(found.names == expected.names, "\(what)")
      for name in Self.perRecord {
        let mismatch = Mismatch.between(found[name], expected[name], relative: 1e-5, absolute: 0, of: name)
        #expect(mismatch == nil, "\(what): \(mismatch?.description ?? "")")
      }
      for name in expected.names where !Self.perRecord.contains(name) {
        let distance = relativeDistance(found[name], expected[name])
        #expect(distance < 1e-4, "\(what): \(name) differs by \(distance)")
      }
    }

    @Test(arguments: ["hooks", "ghost"]) func normsAndClippedSumAreTheReferences(mode: String) throws {
      for ranks in [1, 2, 3] {
        for microbatch in [1, 4, 16] {
          let found = try inspect("--mode \(mode) --microbatch \(microbatch)", data: ["\(Self.folder)/records.jsonl"], ranks: ranks == 1 ? nil : ranks)
          try expectReference(found, "\(mode), microbatch \(microbatch), \(ranks) ranks")
        }
      }
      try expectReference(
        try inspect("--mode \(mode) --microbatch 4 --recompute blocks", data: ["\(Self.folder)/records.jsonl"], ranks: nil), "\(mode), recomputed")
    }

    /// The same records in another three files, one of them packed, on several ranks.
    @Test func severalFilesAreTheirRecordsInARow() throws {
      let directory = try TemporaryDirectory()
      let lines = try String(contentsOfFile: "\(Self.folder)/records.jsonl", encoding: .utf8).split(separator: "\n").map(String.init)
      let first = try directory.file("a.jsonl", lines[..<3].joined(separator: "\n"))
      let last = try directory.file("c.jsonl", lines[6...].joined(separator: "\n"))
      let packed = try Program.shell("gzip -c > b.jsonl.gz << 'END'\n\(lines[3..<6].joined(separator: "\n"))\nEND", in: directory)
      try #require(packed.status == 0, "\(packed.standardError)")
      for ranks in [nil, 2, 4] {
        try expectReference(try inspect("--mode ghost", data: [first, "\(directory.path)/b.jsonl.gz", last], ranks: ranks), "\(ranks ?? 1) ranks")
      }
    }

    /// Nats a target that counts, the same on any number of ranks.
    @Test func evaluationIsOfTheCompletionsAlone() throws {
      let losses = try TensorFile("\(Self.folder)/expected.safetensors")["losses"]
      let records = try String(contentsOfFile: "\(Self.folder)/records.jsonl", encoding: .utf8).split(separator: "\n")
      let counted = try records.map { line -> Int in
        let record = try jsonObject(String(line))
        let (prompt, text) = (try #require(record["dialogue"] as? String).utf8.count, try #require(record["text"] as? String).utf8.count)
        return max(0, min(300, prompt + text + 1) - prompt)
      }
      let expected = zip(losses, counted).reduce(0) { $0 + $1.0 * Double($1.1) } / Double(counted.reduce(0, +))
      for ranks in [nil, 3] {
        let outcome = try Program.run(
          ["evaluate", "--json", "--model", "\(Self.folder)/model", "--data", "\(Self.folder)/records.jsonl", "--prompt-field", "dialogue", "--seq-len", "300"],
          ranks: ranks)
        try #require(outcome.status == 0, "\(outcome.standardError)")
        let result = try jsonObject(outcome.standardOutput)
        #expect(result["targets"] as? Int == counted.reduce(0, +))
        #expect(abs(try #require(result["loss"] as? Double) - expected) < 1e-5 * expected)
      }
    }

    @Test func whatIsCutOfCompletionsIsSaid() throws {
      let directory = try TemporaryDirectory()
      let data = try directory.file("r.csv", "talk,text\n\(String(repeating: "x", count: 40)),note\nshort,note\n\"two\nlines\",\n")
      let common = ["--model", Fixture.model, "--data", data, "--prompt-field", "talk", "--seq-len", "20"]
      for command in [
        ["train", "--mode", "standard", "--batch-size", "2", "--steps", "1", "--seed", "1"], ["evaluate"], ["inspect", "--out", "\(directory.path)/out"],
      ] {
        let outcome = try Program.run(command + common)
        #expect(outcome.status == 0, "\(outcome.standardError)")
        #expect(outcome.standardError.contains("1 of 3") && outcome.standardError.contains("cut before their text begins"), "\(outcome.standardError)")
      }
      let inspected = try TensorFile("\(directory.path)/out")
      #expect(inspected["losses"][0] == 0 && inspected["norms"][0] == 0 && inspected["clip_factors"][0] == 1)
      let none = try Program.run(["evaluate"] + common.dropLast() + ["1"], ranks: 2)
      #expect(none.status == 1 && none.errorLines.count == 1 && none.errorLines[0].contains("no completion is left"), "\(none.standardError)")
    }

    @Test func fieldsThatCannotBeAreRefused() throws {
      let directory = try TemporaryDirectory()
      let data = try directory.file("r.jsonl", "{\"text\":\"a\",\"talk\":\"b\",\"label\":\"x\"}\n")
      let run = { (options: [String]) in
        try Program.run(["train", "--mode", "standard", "--batch-size", "1", "--steps", "1", "--model", Fixture.model, "--data", data] + options)
      }
      for (options, words) in [
        (["--prompt-field", "text"], "is the field of --text-field, too"), (["--labels", "a,b"], "--labels is for --label-field"),
        (["--text-field", "a,b,c"], "must be the name of a field, or two"), (["--text-field", "text,talk"], "a pair is for --label-field"),
        (["--data", "builtin"], "--data builtin stands alone"), (["--eval-data", "builtin"], "--data builtin stands alone"),
        (["--label-field", "label", "--prompt-field", "talk"], "give one of them"),
      ] {
        let outcome = try run(options)
        #expect(outcome.status == 64 && outcome.errorLines.count == 1 && outcome.errorLines[0].contains(words), "\(options): \(outcome.standardError)")
      }
      let missing = try run(["--prompt-field", "question"])
      #expect(missing.status == 1 && missing.errorLines == ["Error: \(data), line 1: no field \"question\" (--prompt-field)"], "\(missing.standardError)")
    }

    /// The first fault of the data, whoever of the ranks has found it, in the words of one rank alone.
    @Test(arguments: [nil, 2, 3]) func theFirstFaultOfAllFilesIsSaid(ranks: Int?) throws {
      let directory = try TemporaryDirectory()
      let good = try directory.file("a.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n")
      let bad = try directory.file("b.jsonl", "{\"text\":\"a\"}\n{\"text\":7}\n")
      let worse = try directory.file("c.jsonl", "{")
      let empty = try directory.file("d.jsonl", "\n")
      let short = try directory.file("e.txt.gz", [0x1F, 0x8B, 8])
      for (files, line) in [
        ([good, bad, worse], "\(bad), line 2: field \"text\" is not a string"), ([good, empty], "\(empty): holds no records"),
        ([good, short], "\(short): can't be read: its gzip data end too early: the file is cut off"),
        ([good, "\(directory.path)/none.txt"], "\(directory.path)/none.txt: can't be read: No such file or directory"),
      ] {
        let outcome = try Program.run(
          ["train", "--mode", "standard", "--batch-size", "1", "--steps", "1", "--model", Fixture.model] + files.flatMap { ["--data", $0] }, ranks: ranks)
        #expect(outcome.status == 1 && outcome.errorLines == ["Error: \(line)"], "\(outcome.standardError)")
      }
    }
  }
}
