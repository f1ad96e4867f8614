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
      let said = ["1 of 3", "are cut: 105 of 208 targets", "are empty"]

      let common = ["--model", model, "--data", records, "--tokenizer", "bytes"]
      let train = ["train", "--mode", "standard", "--batch-size", "2", "--steps", "1", "--output", "\(directory.path)/run"]
      let out = "\(directory.path)/out.safetensors"
      for command in [train, ["evaluate", "--json"], ["inspect", "--out", out]] {
        let outcome = try Program.run(command + common)
        #expect(outcome.status == 0, "\(outcome.standardError)")
        for text in said { #expect(outcome.standardError.contains(text), "\(text): \(outcome.standardError)") }
        // Where nothing is trained nothing would be dropped.
        #expect(outcome.standardError.contains("resid_pdrop 0.1") == (command[0] != "evaluate"))
      }
      #expect(
        try String(contentsOfFile: "\(directory.path)/run/model/config.json", encoding: .utf8).contains("\"eos_token_id\" : 256"))
      let generated = try Program.run(["generate", "--model", "\(directory.path)/run/model", "--tokens", "1", "--seed", "1"])
      #expect(generated.status == 0, "a model written here needs no --tokenizer: \(generated.standardError)")
    }

    /// Perplexities beyond a double are "inf" in JSON, which has no number for them.
    @Test func whatIsInfiniteIsSaidInJSON() throws {
      let directory = try TemporaryDirectory()
      let model = "\(directory.path)/model"
      try FileManager.default.createDirectory(atPath: model, withIntermediateDirectories: false)
      try FileManager.default.copyItem(atPath: "\(Fixture.model)/config.json", toPath: "\(model)/config.json")
      let source = "\(Fixture.model)/model.safetensors"
      let file = try SafetensorsFile(path: source)
      let bias = try #require(file.tensor(named: "transformer.ln_f.bias"))
      var bytes = try FileBytes.read(source)
      let start = bytes.count - file.tensors.last!.byteRange.upperBound + bias.byteRange.lowerBound
      for element in 0..<bias.count {
        let value = withUnsafeBytes(of: Float(1e6).bitPattern.littleEndian) { Array($0) }
        bytes.replaceSubrange(start + 4 * element..<start + 4 * element + 4, with: value)
      }
      _ = try directory.file("model/model.safetensors", bytes)
      let outcome = try Program.run(["evaluate", "--json", "--model", model, "--data", Fixture.records])
      #expect(outcome.status == 0, "\(outcome.standardError)")
      let result = try #require(JSONSerialization.jsonObject(with: Data(outcome.standardOutput.utf8)) as? [String: Any])
      #expect(result["perplexity"] as? String == "inf")
      #expect(try #require(result["loss"] as? Double) > 1000)
    }

    @Test func aPresetWhoseNameADirectoryHasIsSaid() throws {
      let directory = try TemporaryDirectory()
      try FileManager.default.copyItem(atPath: Fixture.model, toPath: "\(directory.path)/tiny")
      let launcher = try MPILauncher(built: "dp-mpirun")
      let run = { (arguments: [String]) in
        try launcher.run(
          arguments + ["--model", "tiny", "--data", Fixture.records], ranks: nil, environment: ["CI": "1"],
          directory: URL(filePath: directory.path))
      }
      let trained = try run(["train", "--mode", "standard", "--batch-size", "2", "--steps", "1"])
      #expect(
        trained.status == 0 && trained.standardError.contains("the directory of that name is ./tiny"), "\(trained.standardError)")
      let evaluated = try run(["evaluate"])
      #expect(evaluated.status == 1 && evaluated.errorLines.first?.contains("./tiny") == true, "\(evaluated.standardError)")
    }

    @Test func namesThatAreNotUTF8AreRefused() throws {
      let process = Process()
      process.executableURL = URL(filePath: "/bin/sh")
      process.arguments = [
        "-c", #"exec "$0" train --data "$(printf 'r\351.txt')" 2>&1"#, try MPILauncher(built: "dp-mpirun").executable.path,
      ]
      let pipe = Pipe()
      process.standardOutput = pipe
      try process.run()
      let text = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      #expect(process.terminationStatus == ExitStatus.usage)
      #expect(text.hasPrefix("Error: argument 3, r") && text.contains("is not valid UTF-8"), "\(text)")
      #expect(text.split(separator: "\n").count == 1)
    }
  }
}
