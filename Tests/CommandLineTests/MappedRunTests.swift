import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Runs beside a model whose matrices stay in its files.
  @Suite struct MappedRunTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures").path(percentEncoded: false)
    private static let train = "--batch-size 6 --steps 3 --noise-multiplier 1 --accountant rdp --seq-len 32 --seed 3"

    private func adapter(_ run: TrainingRun) throws -> [Double] { try TensorFile("\(run.path)/adapter/adapter_model.safetensors").elements() }

    /// The model is the same one, whatever its files have it in: an F32 copy of the same numbers trains the same adapter, on any number of ranks.
    @Test(arguments: ["llama-tiny-lora-bf16", "gpt2-tiny-lora-f16"]) func anAdapterIsTheSameBesideFloats(name: String) throws {
      let directory = try TemporaryDirectory()
      let model = "\(Self.folder)/\(name)/model"
      let floats = "\(directory.path)/f32"
      try StoredModel.write(model, to: floats, as: "F32")
      let before = try Data(contentsOf: URL(filePath: "\(model)/model.safetensors"))
      let expected = try adapter(TrainingRun("\(Self.train) --trainable lora", model: floats))
      for (options, ranks) in [("", nil), ("--shard node --recompute blocks", 2), ("--shard optimizer --mode hooks", 2), ("--shard none --threads 2", 3)] as [(String, Int?)] {
        let run = try TrainingRun("\(Self.train) --trainable lora \(options)", model: model, ranks: ranks)
        // AdamW's first steps divide by what may be rounding: elements of tiny gradients differ.
        #expect(relativeDistance(try adapter(run), expected) < 1e-3, "\(options)")
      }
      #expect(try Data(contentsOf: URL(filePath: "\(model)/model.safetensors")) == before, "the model's own bytes")
    }

    /// All that reads a model reads it where it is.
    @Test func allCommandsReadIt() throws {
      let directory = try TemporaryDirectory()
      let (own, adapter) = ("\(Self.folder)/llama-tiny-lora-bf16/model", "\(Self.folder)/llama-tiny-lora-bf16/adapter")
      let floats = "\(directory.path)/f32"
      try StoredModel.write(own, to: floats, as: "F32")
      func output(_ command: String, _ model: String, ranks: Int? = nil) throws -> String {
        let words = command.split(separator: " ").map(String.init)
        let outcome = try Program.run([words[0], "--model", model] + words.dropFirst(), ranks: ranks)
        try #require(outcome.status == 0, "\(outcome.standardError)")
        return outcome.standardOutput
      }
      for more in ["", " --adapter \(adapter)"] {
        for ranks in [nil, 2] as [Int?] {
          let losses = try [own, floats].map { model in
            try #require(try jsonObject(output("evaluate --data \(Fixture.records) --seq-len 32 --json\(more)", model, ranks: ranks))["loss"] as? Double)
          }
          #expect(abs(losses[0] - losses[1]) < 1e-6 * losses[1], "\(more)")
        }
        let text = "generate --prompt a --tokens 12 --temperature 0\(more)"
        #expect(try output(text, own) == output(text, floats))
      }
    }

    /// What is released of biases is the whole model.
    @Test func aModelTrainedByItsBiasesIsWhole() throws {
      let model = "\(Self.folder)/gpt2-tiny-lora-f16/model"
      let run = try TrainingRun("\(Self.train) --trainable bias", model: model, ranks: 2)
      let (before, after) = (try TensorFile("\(model)/model.safetensors"), try run.tensors())
      #expect(before.names == after.names)
      for name in before.names { #expect((before[name] == after[name]) == !name.hasSuffix("bias"), "\(name)") }
    }

    @Test func thePlanHasItOnceANode() throws {
      let arguments = "plan --model \(Self.folder)/llama-tiny-lora-bf16/model --data \(Fixture.records) --trainable lora --noise-multiplier 1 --batch-size 4 --seed 1 --ranks 3"
        .split(separator: " ").map(String.init)
      let outcome = try Program.run(arguments)
      let line = outcome.outputLines.first { $0.contains("frozen parameters (mapped)") }
      let numbers = try #require(line).split(separator: " ").compactMap { Double($0) }
      #expect(numbers.count == 2 && numbers[0] == numbers[1] && numbers[0] > 0, "\(line ?? "")")
      let plan = try jsonObject(try Program.run(arguments + ["--json"]).standardOutput)
      let categories = try #require(plan["categories_mb"] as? [String: Double])
      let matrices = try SafetensorsFile(path: "\(Self.folder)/llama-tiny-lora-bf16/model/model.safetensors").tensors.filter { $0.shape.count == 2 }
      #expect(categories["frozen parameters (mapped)"] == Double(matrices.reduce(0) { $0 + 2 * $1.count }) / 1_048_576)
    }

    // MARK: Files that don't stay as they are

    /// A long run on two ranks beside a copy of a model, which something is done to after some steps.
    private func outcome(_ change: String, then: (InterruptedRun, MPILauncher.Outcome) throws -> Void) throws {
      let directory = try TemporaryDirectory()
      let model = "\(directory.path)/model"
      try FileManager.default.copyItem(atPath: "\(Self.folder)/llama-tiny-lora-bf16/model", toPath: model)
      let run = try InterruptedRun(
        "train --model \(model) --data \(Fixture.records) --seq-len 32 --batch-size 8 --steps 4000 --noise-multiplier 1 --accountant rdp --seed 4 "
          + "--threads 1 --checkpoint-every 5 --trainable lora --lora-rank 2")
      let file = "\(model)/model.safetensors"
      let ended = try run.start("", ranks: 2, afterSteps: 7, do: change.replacing("FILE", with: "'\(file)'"))
      #expect(ended.status == ExitStatus.refused, "\(ended.standardError)")
      let lines = ended.errorLines
      #expect((1...2).contains(lines.count) && lines.allSatisfy { $0.hasPrefix("Error: rank ") && $0.contains(file) && $0.contains("must stay as they are") }, "\(lines)")
      #expect(!FileManager.default.fileExists(atPath: "\(run.path)/adapter"))
      #expect(try run.lines("checkpoints/ledger.jsonl").count >= 7)
      try then(run, ended)
    }

    /// Whether a step's own question finds it or a read of what isn't there any more.
    @Test func aFileThatIsCutEndsTheRun() throws {
      try outcome("truncate -s 4096 FILE") { run, _ in
        // What was checkpointed is whole, but the model isn't: the run doesn't go on.
        let again = try run.start(ranks: 2)
        #expect(again.status == ExitStatus.refused && again.errorLines.count == 1, "\(again.standardError)")
      }
    }

    @Test func aFileThatChangesEndsTheRun() throws {
      try outcome("printf x | dd of=FILE bs=1 seek=100000 conv=notrunc 2>/dev/null") { run, _ in
        let again = try run.start(ranks: 2)
        #expect(again.status == ExitStatus.refused && again.errorLines.count == 1, "another model: \(again.standardError)")
      }
    }

    /// The same name on every host, and another model behind it: where its values alone are others, its SHA-256 tells.
    @Test(arguments: [("train --trainable lora --noise-multiplier 1 --accountant rdp --steps 1 --batch-size 2", true), ("evaluate", true), ("evaluate", false)])
    func otherFilesAreRefused(command: (options: String, isThere: Bool)) throws {
      let directories = try [TemporaryDirectory(), TemporaryDirectory()]
      for (rank, directory) in directories.enumerated() {
        try FileManager.default.copyItem(atPath: "\(Self.folder)/llama-tiny-lora-bf16/model", toPath: "\(directory.path)/model")
        guard rank == 1 else { continue }
        let path = "\(directory.path)/model/model.safetensors"
        guard command.isThere else {
          try FileManager.default.removeItem(atPath: path)
          continue
        }
        var bytes = try Data(contentsOf: URL(filePath: path))
        bytes[bytes.count - 1000] ^= 1
        try bytes.write(to: URL(filePath: path))
      }
      let launcher = try MPILauncher(built: "dp-mpirun")
      let words = command.options.split(separator: " ").map(String.init) + ["--model", "model", "--data", Fixture.records, "--seq-len", "16"]
      let outcome = try withExtendedLifetime(directories) {
        try launcher.run(
          words + [":", "-wdir", directories[1].path, "-np", "1", launcher.executable.path] + words, ranks: 1, environment: ["CI": "1"],
          directory: URL(filePath: directories[0].path), timeout: .seconds(60))
      }
      #expect(outcome.status == ExitStatus.refused, "\(outcome.standardError)")
      let line = outcome.errorLines.first ?? ""
      #expect(outcome.errorLines.count == 1 && line.contains("rank 1 on ") && (command.isThere ? line.contains("--model") : line.contains("no model.safetensors")), "\(outcome.errorLines)")
    }
  }
}
