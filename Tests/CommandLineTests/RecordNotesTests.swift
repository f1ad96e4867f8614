import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// What whoever gave model and records should know of them is said before anything is computed.
  @Suite struct RecordNotesTests {
    @Test func whatIsCutEmptyOrIgnoredIsSaid() throws {
      let directory = try TemporaryDirectory()
      let records = try directory.file("records.txt", String(repeating: "x", count: 200) + "\n\nshort\n")
      let model = "\(directory.path)/model"
      try FileManager.default.createDirectory(atPath: model, withIntermediateDirectories: false)
      try FileManager.default.copyItem(atPath: "\(Fixture.model)/model.safetensors", toPath: "\(model)/model.safetensors")
      let configuration = try String(contentsOfFile: "\(Fixture.model)/config.json", encoding: .utf8)
      _ = try directory.file(
        "model/config.json", configuration.replacing("\"resid_pdrop\": 0", with: "\"resid_pdrop\": 0.1"))
      _ = try directory.file("model/tokenizer.json", "{}")
      let said = ["1 of 3", "are cut: 105 of 208 targets", "are empty", "resid_pdrop 0.1"]

      let common = ["--model", model, "--data", records, "--tokenizer", "bytes"]
      let train = ["train", "--mode", "standard", "--batch-size", "2", "--steps", "1", "--output", "\(directory.path)/run"]
      let out = "\(directory.path)/out.safetensors"
      for command in [train, ["evaluate", "--json"], ["inspect", "--out", out]] {
        let outcome = try Program.run(command + common)
        #expect(outcome.status == 0, "\(outcome.standardError)")
        for text in said { #expect(outcome.standardError.contains(text), "\(text): \(outcome.standardError)") }
      }
      let generated = try Program.run(["generate", "--model", "\(directory.path)/run/model", "--tokens", "1", "--seed", "1"])
      #expect(generated.status == 0, "a model written here needs no --tokenizer: \(generated.standardError)")
    }
  }
}
