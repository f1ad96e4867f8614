import DistEngine
import Foundation
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// Adapters from option to file and back.
  @Suite struct AdapterRunTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Fixtures").path(percentEncoded: false)
    private static let perRecord = ["clip_factors", "losses", "norms"]
    private static let train = "--batch-size 6 --steps 3 --noise-multiplier 1 --accountant rdp --seq-len 32 --trainable lora --lora-rank 3"

    private func words(_ text: String) -> [String] { text.split(separator: " ").map(String.init) }

    private func evaluate(_ model: String, adapter: String?, ranks: Int? = nil) throws -> Double {
      let outcome = try Program.run(
        ["evaluate", "--model", model, "--data", Fixture.records, "--seq-len", "32", "--json"] + (adapter.map { ["--adapter", $0] } ?? []), ranks: ranks)
      try #require(outcome.status == 0, "\(outcome.standardError)")
      return try #require(try jsonObject(outcome.standardOutput)["loss"] as? Double)
    }

    @Test(arguments: [("gpt2-tiny-lora", "2.4", ""), ("llama-tiny-lora", "3.5", ""), ("bert-tiny-lora", "4.6", "--label-field label"), ("llama-tiny-lora-bf16", "5.2", ""), ("gpt2-tiny-lora-f16", "2.1", "")], ["hooks", "ghost"])
    func normsAndClippedSumAreTheReferences(reference: (name: String, bound: String, options: String), mode: String) throws {
      let folder = "\(Self.folder)/\(reference.name)"
      let expected = try TensorFile("\(folder)/expected.safetensors")
      let directory = try TemporaryDirectory()
      for ranks in [1, 2, 3] {
        for (microbatch, more) in [(1, ""), (4, "--recompute blocks"), (16, "")] {
          let file = "\(directory.path)/\(ranks)-\(microbatch)"
          let outcome = try Program.run(
            ["inspect", "--model", "\(folder)/model", "--adapter", "\(folder)/adapter", "--data", "\(folder)/records.jsonl", "--out", file]
              + words("--mode \(mode) --microbatch \(microbatch) --seq-len 64 --max-grad-norm \(reference.bound) \(reference.options) \(more)"),
            ranks: ranks == 1 ? nil : ranks)
          try #require(outcome.status == 0, "\(outcome.standardError)")
          let found = try TensorFile(file)
          #expect(found.names == expected.names)
          for name in Self.perRecord {
            let mismatch = Mismatch.between(found[name], expected[name], relative: 1e-5, absolute: 0, of: name)
            #expect(mismatch == nil, "\(mode) \(microbatch) \(ranks): \(mismatch?.description ?? "")")
          }
          for name in expected.names where !Self.perRecord.contains(name) {
            #expect(relativeDistance(found[name], expected[name]) < 1e-4, "\(mode) \(microbatch) \(ranks): \(name)")
          }
        }
      }
    }

    /// Every sharding trains the same adapter; the model's files stay as they were; the adapter is read by all commands, and merged it says the same.
    @Test func aTrainedAdapterIsReadByAllCommands() throws {
      let before = try Data(contentsOf: URL(filePath: "\(Fixture.model)/model.safetensors"))
      let run = try TrainingRun("\(Self.train) --seed 3", model: Fixture.model, ranks: 2)
      let adapter = "\(run.path)/adapter"
      #expect(!FileManager.default.fileExists(atPath: run.model))
      for name in ["README.md", "adapter_config.json", "adapter_model.safetensors", "config.json", "privacy.json"] {
        #expect(FileManager.default.fileExists(atPath: "\(adapter)/\(name)"), "\(name)")
      }
      let tensors = try TensorFile("\(adapter)/adapter_model.safetensors")
      #expect(tensors.names.count == 16 && tensors.names.allSatisfy { $0.hasPrefix("base_model.model.transformer.h.") })
      for name in tensors.names { #expect(tensors[name].contains { $0 != 0 }, "\(name)") }
      for (options, ranks) in [("--shard node", 3), ("--shard optimizer --mode hooks", 2), ("--shard none --recompute blocks", 1)] {
        let other = try TrainingRun("\(Self.train) --seed 3 \(options)", model: Fixture.model, ranks: ranks)
        let found = try TensorFile("\(other.path)/adapter/adapter_model.safetensors")
        // AdamW's first steps divide by what may be rounding: elements of tiny gradients differ.
        #expect(relativeDistance(found.elements(), tensors.elements()) < 1e-3, "\(options)")
      }
      let (own, plain) = (try evaluate(Fixture.model, adapter: adapter), try evaluate(Fixture.model, adapter: nil))
      #expect(own != plain)
      #expect(abs(try evaluate(Fixture.model, adapter: adapter, ranks: 2) - own) < 1e-6 * own)
      let merged = "\(run.directory.path)/merged"
      let outcome = try Program.run(["merge", "--model", Fixture.model, "--adapter", adapter, "--output", merged])
      try #require(outcome.status == 0, "\(outcome.standardError)")
      #expect(abs(try evaluate(merged, adapter: nil) - own) < 1e-5 * own)
      let text = try Program.run(["generate", "--model", Fixture.model, "--adapter", adapter, "--prompt", "a", "--tokens", "3", "--seed", "1"])
      #expect(text.status == 0, "\(text.standardError)")
      #expect(try Data(contentsOf: URL(filePath: "\(Fixture.model)/model.safetensors")) == before, "the model's own bytes")
      let configuration = try run.object("adapter/adapter_config.json")
      #expect(configuration["r"] as? Int == 3 && configuration["lora_alpha"] as? Double == 6 && configuration["fan_in_fan_out"] as? Bool == true)
      #expect((configuration["target_modules"] as? [String])?.sorted() == ["c_attn", "c_fc", "c_proj"])
      // Trained on: the adapter says it all, and what it spent counts.
      let further = try TrainingRun(
        "--batch-size 6 --steps 2 --noise-multiplier 1 --accountant rdp --seq-len 32", more: ["--adapter", adapter], model: Fixture.model)
      #expect(try further.object("adapter/adapter_config.json")["r"] as? Int == 3)
      #expect(try further.object("privacy.json")["private"] as? Bool == false, "the adapter's seeded run saw these records")
    }

    /// With classifiers the head is trained beside, and read from the adapter.
    @Test func aClassifiersHeadIsTheAdapters() throws {
      let folder = "\(Self.folder)/bert-tiny-lora"
      let options = "--batch-size 4 --steps 2 --noise-multiplier 1 --accountant rdp --seq-len 32 --label-field label --seed 2"
      let run = try TrainingRun("\(options) --trainable lora", model: "\(folder)/model", data: "\(folder)/records.jsonl")
      let (model, adapter) = (try TensorFile("\(folder)/model/model.safetensors"), try TensorFile("\(run.path)/adapter/adapter_model.safetensors"))
      for name in ["classifier.weight", "classifier.bias", "bert.pooler.dense.weight", "bert.pooler.dense.bias"] {
        #expect(!adapter["base_model.model.\(name)"].isEmpty && adapter["base_model.model.\(name)"] != model[name], "\(name)")
      }
      let configuration = try run.object("adapter/adapter_config.json")
      #expect(configuration["modules_to_save"] as? [String] == ["classifier", "pooler"])
      let own = try ["config.json", "tokenizer.json"].map { try Data(contentsOf: URL(filePath: "\(run.path)/adapter/\($0)")) }
      #expect(try own[1] == Data(contentsOf: URL(filePath: "\(folder)/model/tokenizer.json")) && jsonObject(String(decoding: own[0], as: UTF8.self))["id2label"] != nil)
      // `dense` is the pooler's name, too.
      #expect((configuration["target_modules"] as? [String])?.contains("intermediate.dense") == true)
      let output = "\(run.directory.path)/labels.jsonl"
      let outcome = try Program.run(
        ["classify", "--model", "\(folder)/model", "--adapter", "\(run.path)/adapter", "--data", "\(folder)/records.jsonl", "--output", output], ranks: 2)
      #expect(outcome.status == 0, "\(outcome.standardError)")
      #expect(try String(contentsOfFile: output, encoding: .utf8).split(separator: "\n").count == 13)
      // Its `score` is no module of BERT's: what is written is what is saved.
      let further = try TrainingRun(options, more: ["--adapter", "\(folder)/adapter"], model: "\(folder)/model", data: "\(folder)/records.jsonl")
      #expect(try further.object("adapter/adapter_config.json")["modules_to_save"] as? [String] == ["classifier"])
      // The pooler isn't trained then; of a model of 16 bits it stays in the file.
      let narrow = "\(run.directory.path)/bf16"
      try StoredModel.write("\(folder)/model", to: narrow, as: "BF16")
      let beside = try TrainingRun(options, more: ["--adapter", "\(folder)/adapter"], model: narrow, data: "\(folder)/records.jsonl")
      #expect(try beside.object("adapter/adapter_config.json")["modules_to_save"] as? [String] == ["classifier"])
    }

    /// The ranks compare what they train by its description, and so does a run that goes on: it is the same in every process.
    @Test func aClassifierGoesOn() throws {
      let folder = "\(Self.folder)/bert-tiny-lora"
      let run = try InterruptedRun(
        "train --model \(folder)/model --data \(folder)/records.jsonl --label-field label --seq-len 16 --batch-size 4 --steps 60 --noise-multiplier 1 "
          + "--accountant rdp --trainable lora --checkpoint-every 5")
      for steps in [3, 9] {
        let stopped = try run.start(ranks: 2, afterSteps: steps, do: "kill -USR1 $job")
        #expect(stopped.status == ExitStatus.checkpointed, "\(stopped.standardError)")
      }
      let last = try run.start(ranks: 2)
      #expect(last.status == 0, "\(last.standardError)")
      #expect(try TensorFile("\(run.path)/adapter/adapter_model.safetensors").names.contains("base_model.model.bert.pooler.dense.bias"))
    }

    /// What is read back has a loss at every length that can be trained at.
    @Test func aClassifierOfOneTokenIsReleased() throws {
      let folder = "\(Self.folder)/bert-tiny-lora"
      let run = try TrainingRun(
        Self.train.replacing("--seq-len 32", with: "--seq-len 1"), more: ["--label-field", "label"], model: "\(folder)/model", data: "\(folder)/records.jsonl")
      #expect(FileManager.default.fileExists(atPath: "\(run.path)/adapter/adapter_model.safetensors"))
    }

    /// Some blocks alone: whoever reads the adapter adapts those, and no others.
    @Test func layersOfOneBlockAreWrittenByTheirWholeNames() throws {
      for target in ["transformer.h.1.attn.c_attn", "h.1.attn.c_attn"] {
        let run = try TrainingRun(Self.train, more: ["--lora-targets", target], model: Fixture.model)
        #expect(try run.object("adapter/adapter_config.json")["target_modules"] as? [String] == ["transformer.h.1.attn.c_attn"])
        #expect(try TensorFile("\(run.path)/adapter/adapter_model.safetensors").names.sorted() == ["A", "B"].map { "base_model.model.transformer.h.1.attn.c_attn.lora_\($0).weight" })
        _ = try evaluate(Fixture.model, adapter: "\(run.path)/adapter")
      }
    }

    /// Units, per-layer clipping, an A that stays: the same adapter however the state is divided.
    @Test(arguments: ["--clipping per-layer", "--lora-freeze-a", "--mode hooks"]) func unitsAreClippedAlikeInEverySharding(options: String) throws {
      let folder = "\(Self.folder)/gpt2-tiny-units"
      let run = { (more: String, ranks: Int?) in
        let run = try TrainingRun(
          "--batch-size 2 --steps 2 --noise-multiplier 1 --accountant rdp --unit author --trainable lora --seed 5 --optimizer sgd \(options) \(more)",
          model: "\(folder)/model", data: "\(folder)/records.jsonl", ranks: ranks)
        return try TensorFile("\(run.path)/adapter/adapter_model.safetensors").elements()
      }
      let one = try run("", nil)
      for (more, ranks) in [("--shard node --recompute blocks", 2), ("--shard optimizer --microbatch 1", 3)] {
        #expect(relativeDistance(try run(more, ranks), one) < 1e-5, "\(more)")
      }
    }

    /// A disk that gives back another bit than was written: the adapter never gets its name, and the run is not done.
    @Test func whatIsNotReadBackHasNoName() throws {
      let run = try InterruptedRun(
        "train --model \(Fixture.model) --data \(Fixture.records) --seq-len 16 --batch-size 4 --noise-multiplier 1 --accountant rdp --trainable lora")
      for (file, word) in [("adapter_model.safetensors", "damaged"), ("adapter_config.json", "adapter_config.json")] {
        let failed = try run.start("--resume --steps 3", damaging: "*/adapter*/\(file)*")
        #expect(failed.status == ExitStatus.refused && failed.errorLines.count == 1, "\(failed.standardError)")
        #expect(failed.errorLines.first?.contains(word) == true, "\(failed.errorLines)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: run.path).allSatisfy { !$0.hasPrefix("adapter") }, "\(file)")
      }
      #expect(try run.start("--resume --steps 3").status == 0)
      #expect(FileManager.default.fileExists(atPath: "\(run.path)/adapter/adapter_model.safetensors"))
      // What goes on behind its end gets a new one in place of it, and what a start that was killed left is cleared away.
      let left = "\(run.path)/adapter.partial-1"
      try FileManager.default.createDirectory(atPath: left, withIntermediateDirectories: false)
      try Data("{".utf8).write(to: URL(filePath: "\(left)/config.json"))
      let before = try Data(contentsOf: URL(filePath: "\(run.path)/adapter/adapter_model.safetensors"))
      #expect(try run.start("--resume --steps 4").status == 0)
      #expect(try Data(contentsOf: URL(filePath: "\(run.path)/adapter/adapter_model.safetensors")) != before)
      #expect(try FileManager.default.contentsOfDirectory(atPath: run.path).filter { $0.hasPrefix("adapter") } == ["adapter"])
    }

    /// A factor that isn't trained is in no file but the checkpoint.
    @Test(arguments: ["", "--lora-freeze-a --shard node"]) func aRunGoesOnBitForBit(more: String) throws {
      let options =
        "train --model \(Fixture.model) --data \(Fixture.records) --seq-len 16 --batch-size 4 --steps 60 --noise-multiplier 1 --accountant rdp --seed 4 "
        + "--threads 1 --checkpoint-every 5 --trainable lora --lora-rank 2 \(more)"
      let (whole, cut) = (try InterruptedRun(options), try InterruptedRun(options))
      #expect(try whole.start("", ranks: 2).status == 0)
      _ = try cut.start("", ranks: 2, afterSteps: 12, do: InterruptedRun.kill)
      let last = try cut.start(ranks: 2)
      #expect(last.status == 0, "\(last.standardError)")
      let files = try [whole, cut].map { try Data(contentsOf: URL(filePath: "\($0.path)/adapter/adapter_model.safetensors")) }
      #expect(files[0] == files[1])
    }

    /// A run without a seed goes on with another key: what was drawn with the first one must not be drawn again.
    @Test func aFixedFactorGoesOn() throws {
      let run = try InterruptedRun(
        "train --model \(Fixture.model) --data \(Fixture.records) --seq-len 16 --batch-size 4 --steps 40 --noise-multiplier 1 --accountant rdp "
          + "--trainable lora --lora-freeze-a --checkpoint-every 1 --keep-checkpoints 1")
      #expect(try run.start(afterSteps: 5, do: "kill -TERM $job").status == ExitStatus.checkpointed)
      let step = try #require(try run.checkpointSteps().last)
      let frozen = try run.files(ofStep: step).filter { $0.hasSuffix(".safetensors") }.flatMap { path in
        let file = try TensorFile(path)
        return file.elements(of: file.names.filter { $0.hasPrefix("frozen.") })
      }
      #expect(try run.start().status == 0)
      let adapter = try TensorFile("\(run.path)/adapter/adapter_model.safetensors")
      #expect(!frozen.isEmpty && frozen == adapter.elements(of: adapter.names.filter { $0.contains("lora_A") }))
    }

    @Test func aRunGoesOnBesideItsOwnModelAlone() throws {
      let directory = try TemporaryDirectory()
      let base = "\(directory.path)/base"
      try FileManager.default.copyItem(atPath: Fixture.model, toPath: base)
      let options = "train --model \(base) --data \(Fixture.records) --seq-len 16 --batch-size 4 --steps 60 --noise-multiplier 1 --accountant rdp "
        + "--trainable lora --lora-rank 2 --lora-alpha 4 --lora-targets c_attn --checkpoint-every 2"
      let run = try InterruptedRun(options)
      #expect(try run.start(afterSteps: 6, do: "kill -TERM $job").status == ExitStatus.checkpointed)
      for (old, new, words) in [
        ("--lora-rank 2", "--lora-rank 3", ["--lora-rank", "2", "3"]), ("--lora-alpha 4", "--lora-alpha 5", ["--lora-alpha", "4", "5"]),
        ("--lora-targets c_attn", "--lora-targets c_fc", ["--lora-targets", "c_attn", "c_fc"]),
        ("--lora-rank 2", "--lora-rank 2 --lora-freeze-a", ["--lora-freeze-a", "false", "true"]),
      ] {
        let outcome = try Program.run(self.words(options.replacing(old, with: new)) + ["--resume", "--output", run.path])
        #expect(outcome.status == ExitStatus.refused && outcome.errorLines.count == 1, "\(outcome.standardError)")
        for word in words { #expect(outcome.errorLines.first?.contains(word) == true, "\(new): \(outcome.errorLines)") }
      }
      var bytes = try Data(contentsOf: URL(filePath: "\(base)/model.safetensors"))
      bytes[bytes.count - 4] ^= 1
      try bytes.write(to: URL(filePath: "\(base)/model.safetensors"))
      let outcome = try run.start()
      #expect(outcome.status == ExitStatus.refused && outcome.errorLines.count == 1, "\(outcome.standardError)")
      #expect(outcome.errorLines.first?.contains("--model") == true && outcome.errorLines.first?.contains("SHA-256") == true, "\(outcome.errorLines)")
    }

    @Test func whatCannotBeIsRefusedInALine() throws {
      let adapter = "\(Self.folder)/gpt2-tiny-lora/adapter"
      let directory = try TemporaryDirectory()
      func edited(_ name: String, _ old: String, _ new: String) throws -> String {
        let copy = "\(directory.path)/\(name)"
        try FileManager.default.copyItem(atPath: adapter, toPath: copy)
        let path = "\(copy)/adapter_config.json"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(text.contains(old), "\(name)")
        try text.replacing(old, with: new).write(toFile: path, atomically: true, encoding: .utf8)
        return copy
      }
      let cases: [(String, Int32, [String])] = [
        ("--trainable bias --adapter \(adapter)", ExitStatus.usage, ["--trainable bias", "--adapter"]),
        ("--lora-rank 4", ExitStatus.usage, ["--lora-rank", "--trainable lora"]),
        ("--trainable lora --lora-rank 0", ExitStatus.usage, ["--lora-rank 0"]), ("--trainable lora --lora-alpha 0", ExitStatus.usage, ["--lora-alpha 0"]),
        // Divided by r they are none of a 32-bit float's.
        ("--trainable lora --lora-alpha 1e-44", ExitStatus.usage, ["--lora-alpha 1e-44", "32-bit"]),
        ("--trainable lora --lora-alpha 1e40", ExitStatus.usage, ["--lora-alpha 1e+40", "32-bit"]),
        ("--trainable lora --lora-alpha inf", ExitStatus.usage, ["--lora-alpha inf", "32-bit"]),
        ("--adapter \(try edited("alpha", "\"lora_alpha\": 8.0", "\"lora_alpha\": 1e200"))", ExitStatus.refused, ["lora_alpha", "1e+200"]),
        ("--trainable lora --lora-targets q_proj", ExitStatus.refused, ["--lora-targets q_proj", "c_attn"]),
        ("--trainable lora --lora-targets wte", ExitStatus.refused, ["--lora-targets wte", "c_attn"]),
        ("--adapter \(adapter) --lora-rank 8", ExitStatus.refused, ["--lora-rank 8", "4"]),
        ("--adapter \(adapter) --lora-alpha 9", ExitStatus.refused, ["--lora-alpha 9", "8"]),
        ("--adapter \(adapter) --lora-targets c_fc", ExitStatus.refused, ["--lora-targets c_fc", "c_attn"]),
        ("--adapter \(Self.folder)/llama-tiny-lora/adapter", ExitStatus.refused, ["target_modules", "c_attn"]),
        ("--adapter \(directory.path)", ExitStatus.refused, ["adapter_config.json"]),
        ("--adapter \(try edited("dora", "\"use_dora\": false", "\"use_dora\": true"))", ExitStatus.refused, ["use_dora true"]),
        ("--adapter \(try edited("bias", "\"bias\": \"none\"", "\"bias\": \"all\""))", ExitStatus.refused, ["bias", "all"]),
        ("--adapter \(try edited("pattern", "\"rank_pattern\": {}", "\"rank_pattern\": {\"c_attn\": 2}"))", ExitStatus.refused, ["rank_pattern"]),
        ("--adapter \(try edited("pissa", "\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\""))", ExitStatus.refused, ["init_lora_weights", "pissa"]),
        ("--adapter \(try edited("rank", "\"r\": 4", "\"r\": 5"))", ExitStatus.refused, ["lora_A", "[4, 64]", "[5, 64]"]),
        ("--adapter \(try edited("targets", "\"c_attn\",", "\"c_fc\", \"c_attn\","))", ExitStatus.refused, ["c_fc", "missing"]),
        ("--adapter \(try edited("fewer", "\"c_attn\",", ""))", ExitStatus.refused, ["c_attn", "no part"]),
        ("--adapter \(try edited("saved", "\"modules_to_save\": null", "\"modules_to_save\": [\"wte\"]"))", ExitStatus.refused, ["modules_to_save", "wte"]),
        ("--adapter \(adapter) --model tiny", ExitStatus.refused, ["--model tiny", "preset"]),
        ("--trainable lora --model tiny --output \(directory.path)/run", ExitStatus.refused, ["--model tiny", "preset"]),
      ]
      for (options, status, expected) in cases {
        let model = options.contains("--model") ? [] : ["--model", Fixture.model]
        let outcome = try Program.run(
          ["train"] + model + words("--data \(Fixture.records) --seq-len 16 --batch-size 4 --steps 1 --noise-multiplier 1 --no-progress \(options)"))
        #expect(outcome.status == status, "\(options): \(outcome.status) \(outcome.standardError)")
        #expect(outcome.errorLines.count == 1, "\(options): \(outcome.standardError)")
        for word in expected { #expect(outcome.errorLines.first?.contains(word) == true, "\(options): \(word) in \(outcome.errorLines)") }
      }
      // Stating what the adapter says is no contradiction.
      let outcome = try Program.run(
        words("train --model \(Fixture.model) --data \(Fixture.records) --seq-len 16 --batch-size 4 --steps 1 --noise-multiplier 1 --accountant rdp --no-progress")
          + words("--adapter \(adapter) --lora-rank 4 --lora-alpha 8 --lora-targets c_proj,c_attn --trainable lora"))
      #expect(outcome.status == 0, "\(outcome.standardError)")
    }
  }
}
