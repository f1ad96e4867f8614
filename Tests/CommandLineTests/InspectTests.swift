import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// `inspect` against PyTorch's float64 gradients of one record at a time.
  @Suite struct InspectTests {
    private func inspect(_ options: String, ranks: Int?) throws -> TensorFile {
      let directory = try TemporaryDirectory()
      let file = "\(directory.path)/inspected.safetensors"
      let outcome = try Program.run(
        ["inspect", "--model", Fixture.model, "--data", Fixture.records, "--seq-len", "64", "--max-grad-norm", "5.8"]
          + options.split(separator: " ").map(String.init) + ["--out", file], ranks: ranks)
      try #require(outcome.status == 0, "\(outcome.standardError)")
      return try TensorFile(file)
    }

    private static let perRecord = ["clip_factors", "losses", "norms"]

    private func expectReference(_ found: TensorFile, _ expected: TensorFile, _ what: String) {
      #expect(found.names == expected.names, "\(what)")
      for name in found.names { #expect(found.tensors[name]?.shape == expected.tensors[name]?.shape, "\(what): \(name)") }
      for name in Self.perRecord {
        let mismatch = Mismatch.between(found[name], expected[name], relative: 1e-5, absolute: 0, of: name)
        #expect(mismatch == nil, "\(what): \(mismatch?.description ?? "")")
      }
      let sum = expected.names.filter { !Self.perRecord.contains($0) }
      let distance = relativeDistance(found.elements(of: sum), expected.elements(of: sum))
      #expect(distance < 1e-5, "\(what): the clipped sum differs by \(distance)")
      for name in sum {
        let distance = relativeDistance(found[name], expected[name])
        #expect(distance < 1e-4, "\(what): \(name) differs by \(distance)")
      }
    }

    @Test(arguments: ["hooks", "ghost"]) func normsAndClippedSumAreTheReferences(mode: String) throws {
      let expected = try TensorFile(Fixture.expected)
      for ranks in [1, 2, 3] {
        for microbatch in [1, 4, 16] {
          let found = try inspect("--mode \(mode) --microbatch \(microbatch)", ranks: ranks == 1 ? nil : ranks)
          expectReference(found, expected, "\(mode), microbatch \(microbatch), \(ranks) ranks")
        }
      }
    }

    @Test(arguments: ["hooks", "ghost"]) func recomputedBlocksGiveTheReferencesToo(mode: String) throws {
      let expected = try TensorFile(Fixture.expected)
      for (microbatch, ranks) in [(1, nil), (4, 2)] as [(Int, Int?)] {
        let found = try inspect("--mode \(mode) --microbatch \(microbatch) --recompute blocks", ranks: ranks)
        expectReference(found, expected, "\(mode), microbatch \(microbatch), recomputed")
      }
    }

    @Test func perLayerNormsAddUpToTheWholeNorm() throws {
      let expected = try TensorFile(Fixture.expected)
      let tensors = expected.names.count - Self.perRecord.count
      let bound = 5.8 / Double(tensors).squareRoot()
      for (options, ranks) in [("--mode ghost --microbatch 4", nil), ("--mode hooks --microbatch 4", 2)] as [(String, Int?)] {
        let found = try inspect("--clipping per-layer \(options)", ranks: ranks)
        #expect(found.tensors["norms"]?.shape == [Fixture.recordCount, tensors])
        #expect(found.tensors["clip_factors"]?.shape == [Fixture.recordCount, tensors])
        #expect(found.tensors["losses"]?.shape == [Fixture.recordCount])
        let norms = found["norms"]
        let whole = (0..<Fixture.recordCount).map { record in
          norms[(record * tensors)..<((record + 1) * tensors)].reduce(0) { $0 + $1 * $1 }.squareRoot()
        }
        #expect(Mismatch.between(whole, expected["norms"], relative: 1e-5, absolute: 0, of: "norms") == nil, "\(options)")
        let factors = norms.map { min(1, bound / $0) }
        #expect(Mismatch.between(found["clip_factors"], factors, relative: 1e-5, absolute: 0, of: "factors") == nil, "\(options)")
      }
    }

    /// A unit's norm is of the mean of its records' gradients; sums and factors are by unit, losses by record.
    @Test(arguments: ["hooks", "ghost"]) func unitsOfSeveralRecordsAreTheReferences(mode: String) throws {
      let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/gpt2-tiny-units").path(percentEncoded: false)
      let expected = try TensorFile("\(folder)/expected.safetensors")
      let directory = try TemporaryDirectory()
      let file = "\(directory.path)/inspected.safetensors"
      for ranks in [1, 2, 3] {
        for microbatch in [1, 4, 16] {
          let outcome = try Program.run(
            [
              "inspect", "--mode", mode, "--model", "\(folder)/model", "--data", "\(folder)/records.jsonl", "--unit", "author", "--seq-len", "64",
              "--max-grad-norm", "5.5", "--microbatch", "\(microbatch)", "--out", file,
            ], ranks: ranks == 1 ? nil : ranks)
          try #require(outcome.status == 0, "\(outcome.standardError)")
          expectReference(try TensorFile(file), expected, "\(mode), microbatch \(microbatch), \(ranks) ranks")
        }
      }
    }

    @Test(arguments: [("llama-tiny", "7"), ("llama-scaled-rope", "6"), ("qwen2-tiny", "6.5"), ("stories260K", "22")])
    func llamasFamilyGivesTheReferences(fixture: String, maxGradNorm: String) throws {
      let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/\(fixture)").path(percentEncoded: false)
      let expected = try TensorFile("\(folder)/expected.safetensors")
      let directory = try TemporaryDirectory()
      let file = "\(directory.path)/inspected.safetensors"
      for (ranks, options) in [
        (nil, "--mode hooks --microbatch 4"), (2, "--mode ghost --microbatch 16"), (3, "--mode ghost --microbatch 4 --recompute blocks"),
      ] as [(Int?, String)] {
        let outcome = try Program.run(
          ["inspect", "--model", "\(folder)/model", "--data", "\(folder)/records.jsonl", "--seq-len", "64", "--max-grad-norm", maxGradNorm]
            + options.split(separator: " ").map(String.init) + ["--out", file], ranks: ranks)
        try #require(outcome.status == 0, "\(outcome.standardError)")
        expectReference(try TensorFile(file), expected, "\(fixture) \(options), \(ranks ?? 1) ranks")
      }
    }

    @Test func someRecordsAreThoseOfTheWholeFile() throws {
      let expected = try TensorFile(Fixture.expected)
      let found = try inspect("--mode ghost --records 7..<10", ranks: nil)
      let mismatch = Mismatch.between(found["norms"], Array(expected["norms"][7..<10]), relative: 1e-5, absolute: 0, of: "norms")
      #expect(mismatch == nil, "\(mismatch?.description ?? "")")
    }
  }
}
