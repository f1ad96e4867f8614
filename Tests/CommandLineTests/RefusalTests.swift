import DistEngine
import Foundation
import Synchronization
import TestSupport
import Testing

extension LaunchedProgramTests {
  /// What can't be done is refused by all ranks together: one line that names the culprit, the right exit code, no rank left behind.
  @Suite struct RefusalTests {
    /// Arguments, the exit status, and what the line has to name.
    typealias Case = (arguments: [String], status: Int32, culprits: [String])

    /// Longer than any of it takes, were it not for other work on the machine.
    private static let patience = 10.0

    /// Runs each case on one rank and on three. Starting and ending are mostly waiting: four go on at a time.
    private func expectRefusals(_ cases: [Case], in directory: TemporaryDirectory) throws {
      let runs = cases.flatMap { refusal in [1, 3].map { (refusal, $0) } }
      let outcomes = try inParallel(runs) { refusal, ranks in
        try Program.run(refusal.arguments, ranks: ranks, timeout: .seconds(30))
      }
      for ((refusal, ranks), outcome) in zip(runs, outcomes) {
        let what = "\(ranks) ranks: \(refusal.arguments.joined(separator: " "))\n\(outcome.standardError)"
        #expect(outcome.status == refusal.status, "\(what)")
        #expect(outcome.errorLines.count == 1, "\(what)")
        for culprit in refusal.culprits {
          #expect(outcome.errorLines.first?.contains(culprit) == true, "\(culprit) isn't named: \(what)")
        }
        #expect(outcome.standardOutput == "", "\(what)")
        #expect(!outcome.timedOut && outcome.seconds < Self.patience, "\(outcome.seconds) s: \(what)")
      }
      #expect(Program.processes(mentioning: directory.path) == [])
    }

    private static let noise = ["--noise-multiplier", "1", "--accountant", "rdp"]
    private static let ownData = ["--data", Fixture.records]

    @Test func impossibleOptions() throws {
      let directory = try TemporaryDirectory()
      let cases: [Case] = [
        (["--batch-size", "0"], ExitStatus.usage, ["--batch-size 0"]),
        (["--noise-multiplier", "1", "--target-epsilon", "8"], ExitStatus.usage, ["--noise-multiplier", "--target-epsilon"]),
        (Self.noise + ["--target-delta", "1"], ExitStatus.usage, ["--target-delta 1"]),
        (["--noise-multiplier", "nan"], ExitStatus.usage, ["--noise-multiplier nan"]),
        (["--noise-multiplier=-1"], ExitStatus.usage, ["--noise-multiplier -1"]),
        (["--learning-rate", "-1"], ExitStatus.usage, ["--learning-rate -1"]),
        (["--steps", "1", "--steps=2"], ExitStatus.usage, ["--steps", "twice"]),
        (["--output", ""], ExitStatus.usage, ["--output", "empty"]),
        (["--target-epsilon", "0"], ExitStatus.usage, ["--target-epsilon 0"]),
        (["--max-grad-norm", "0"], ExitStatus.usage, ["--max-grad-norm 0"]),
        (["--max-grad-norm", "1e-24"], ExitStatus.usage, ["--max-grad-norm 1e-24", "1e-12"]),
        (["--microbatch", "0"], ExitStatus.usage, ["--microbatch 0"]),
        (["--threads", "0"], ExitStatus.usage, ["--threads 0", "1 to 1024"]),
        (["inspect", "--threads", "1025", "--out", "x"], ExitStatus.usage, ["--threads 1025"]),
        (["--precision", "fp16"], ExitStatus.usage, ["--precision", "fp16"]),
        (["--threads", "some"], ExitStatus.usage, ["--threads", "some"]),
        (["--epochs", "1e300"], ExitStatus.usage, ["--epochs 1e+300"]),
        (["--shard", "all"], ExitStatus.usage, ["--shard", "all"]),
        (Self.noise + ["--shard", "node", "--noise", "rank0"], ExitStatus.usage, ["--noise rank0", "--shard node"]),
        (["--no-such-option"], ExitStatus.usage, ["--no-such-option"]),
        (["--recompute", "layers"], ExitStatus.usage, ["--recompute", "layers"]),
        (["--mode", "magic"], ExitStatus.usage, ["--mode", "magic"]),
        (["--sampler", "shuffle"], ExitStatus.usage, ["--sampler shuffle"]),
        (["--mode", "standard", "--noise-multiplier", "1"], ExitStatus.usage, ["--mode standard", "--noise-multiplier"]),
        (["--memory-budget", "much"], ExitStatus.usage, ["--memory-budget much"]),
        (["plan", "--ranks", "0"], ExitStatus.usage, ["--ranks 0"]),
        (["plan", "--ranks", "2", "--ranks-per-node", "3"], ExitStatus.usage, ["--ranks-per-node 3", "2"]),
        (["plan", "--batch-size", "0"], ExitStatus.usage, ["--batch-size 0"]),
        (["inspect", "--records", "3..<2", "--out", "x"], ExitStatus.usage, ["--records", "3..<2"]),
      ]
      try expectRefusals(cases.map { ($0.arguments + Self.ownData, $0.status, $0.culprits) }, in: directory)
    }

    @Test func dataThatCannotBeRead() throws {
      let directory = try TemporaryDirectory()
      let empty = try directory.file("empty.txt", "")
      let fieldless = try directory.file("records.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n{\"words\": \"three\"}\n")
      let missing = "\(directory.path)/missing.txt"
      let kind = try directory.file("records.parquet", "x")
      try expectRefusals(
        [
          (["--data", missing] + Self.noise, ExitStatus.refused, [missing, "No such file"]),
          (["--data", directory.path] + Self.noise, ExitStatus.refused, [directory.path, "directory"]),
          (["--data", empty] + Self.noise, ExitStatus.refused, [empty]),
          (["--data", fieldless] + Self.noise, ExitStatus.refused, [fieldless, "line 3", "\"text\""]),
          (["--data", kind] + Self.noise, ExitStatus.refused, [kind, ".jsonl"]),
          (["--eval-data", missing] + Self.ownData + Self.noise, ExitStatus.refused, [missing]),
          (["--batch-size", "44"] + Self.ownData + Self.noise, ExitStatus.refused, ["--batch-size 44", "43"]),
          (["--batch-size", "4"] + Self.ownData, ExitStatus.refused, ["--noise-multiplier", "--target-epsilon"]),
          (["plan", "--batch-size", "4"] + Self.ownData, ExitStatus.refused, ["--noise-multiplier", "--target-epsilon"]),
          (["plan", "--data", missing] + Self.noise, ExitStatus.refused, [missing, "No such file"]),
          (
            ["--memory-budget", "1MB", "--batch-size", "4"] + Self.ownData + Self.noise, ExitStatus.refused,
            ["--memory-budget 1MB", "MB at least"]
          ),
          (["--seq-len", "257", "--batch-size", "4"] + Self.ownData + Self.noise, ExitStatus.refused, ["--seq-len 257", "256"]),
        ], in: directory)
    }

    /// 4096 gradients of a billion parameters are 16 TB, whatever the machine: nothing is allocated before that is said.
    @Test func runsThatNoNodeHasTheMemoryFor() throws {
      let directory = try TemporaryDirectory()
      let hooks = ["--model", "1b", "--mode", "hooks", "--microbatch", "4096", "--batch-size", "4"] + Self.ownData + Self.noise
      try expectRefusals(
        [
          (hooks, ExitStatus.refused, [" GB on ", "which has", " GB for it"]),
          (hooks + ["--shard", "none"], ExitStatus.refused, [" GB on ", "which has", " GB for it"]),
        ], in: directory)
    }

    @Test func modelsThatCannotBeLoaded() throws {
      let directory = try TemporaryDirectory()
      let weights = try FileBytes.read("\(Fixture.model)/model.safetensors")
      let configuration = try String(contentsOfFile: "\(Fixture.model)/config.json", encoding: .utf8)

      func model(_ name: String, configuration: String, weights: some Sequence<UInt8>) throws -> String {
        let path = "\(directory.path)/\(name)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        _ = try directory.file("\(name)/config.json", configuration)
        _ = try directory.file("\(name)/model.safetensors", weights)
        return path
      }
      // Names in the header may change as long as its length doesn't.
      func renamed(_ old: String, _ new: String) -> [UInt8] {
        precondition(old.utf8.count == new.utf8.count)
        var bytes = weights
        bytes.replaceSubrange(bytes.firstRange(of: Array(old.utf8))!, with: Array(new.utf8))
        return bytes
      }
      let heads = try model(
        "heads", configuration: configuration.replacing("\"n_head\": 4", with: "\"n_head\": 5"), weights: weights)
      let truncated = try model("truncated", configuration: configuration, weights: weights.dropLast(100))
      let wider = try model(
        "wider", configuration: configuration.replacing("\"n_positions\": 96", with: "\"n_positions\": 97"), weights: weights)
      let missing = try model(
        "missing", configuration: configuration, weights: renamed("transformer.ln_f.bias", "transformer.ln_f.bent"))
      let foreign = try model("foreign", configuration: configuration, weights: weights)
      _ = try directory.file("foreign/vocab.json", "{}")
      let layers = try model(
        "layers", configuration: configuration.replacing("\"n_layer\": 2", with: "\"n_layer\": 4000"), weights: weights)
      let weightless = try directory.file("weightless", "a file")
      func options(_ model: String) -> [String] { ["--model", model, "--batch-size", "4"] + Self.ownData + Self.noise }
      try expectRefusals(
        [
          (options(heads), ExitStatus.refused, ["\(heads)/config.json", "n_head 5", "n_embd 64"]),
          (options(truncated), ExitStatus.refused, ["\(truncated)/model.safetensors", "truncated"]),
          (options(wider), ExitStatus.refused, ["\(wider)/model.safetensors", "transformer.wpe.weight", "[96, 64]", "[97, 64]"]),
          (options(missing), ExitStatus.refused, [missing, "transformer.ln_f.bias"]),
          (options(weightless), ExitStatus.refused, [weightless]),
          (options(foreign), ExitStatus.refused, ["\(foreign)/vocab.json", "--tokenizer bytes"]),
          (["evaluate", "--model", foreign, "--data", Fixture.records], ExitStatus.refused, ["\(foreign)/vocab.json"]),
          (["inspect", "--out", "x", "--model", foreign] + Self.ownData, ExitStatus.refused, ["\(foreign)/vocab.json"]),
          (options(layers), ExitStatus.refused, [layers, "transformer.h."]),
          (options("gigantic"), ExitStatus.refused, ["gigantic", "tiny"]),
          (["evaluate", "--model", "small", "--data", Fixture.records], ExitStatus.refused, ["--model small"]),
        ], in: directory)
    }

    @Test func outputsThatCannotBeWritten() throws {
      let directory = try TemporaryDirectory()
      let file = try directory.file("file", "")
      let other = "\(directory.path)/other"
      try FileManager.default.createDirectory(atPath: "\(other)/model", withIntermediateDirectories: true)
      func options(_ output: String) -> [String] { ["--output", output, "--batch-size", "4"] + Self.ownData + Self.noise }
      try expectRefusals(
        [
          (options("\(file)/run"), ExitStatus.refused, ["\(file)/run"]),
          (options(file), ExitStatus.refused, [file]),
          (options("/proc/dp-mpirun"), ExitStatus.refused, ["/proc/dp-mpirun"]),
          (options(other), ExitStatus.refused, ["--output \(other)", "holds a run"]),
          (
            ["inspect", "--out", "\(file)/out.safetensors", "--model", Fixture.model] + Self.ownData, ExitStatus.refused,
            ["\(file)/out.safetensors"]
          ),
        ], in: directory)
      #expect(try FileManager.default.contentsOfDirectory(atPath: other) == ["model"], "nothing was added to the run")
    }
  }
}

/// Calls `body` for each element, four at a time, and gives the results in order.
private func inParallel<Element: Sendable, Outcome: Sendable>(
  _ elements: [Element], _ body: @escaping @Sendable (Element) throws -> Outcome
) throws -> [Outcome] {
  let outcomes = Mutex<[Int: Result<Outcome, any Error>]>([:])
  let next = Mutex(0)
  let ended = DispatchSemaphore(value: 0)
  // Threads of their own: what they do is mostly waiting, and the system's pools have no more threads than there are cores.
  let threads = (0..<4).map { _ in
    Thread {
      while true {
        let index = next.withLock { next in
          next += 1
          return next - 1
        }
        guard index < elements.count else { break }
        let outcome = Result { try body(elements[index]) }
        outcomes.withLock { $0[index] = outcome }
      }
      ended.signal()
    }
  }
  for thread in threads { thread.start() }
  for _ in threads { ended.wait() }
  let found = outcomes.withLock { $0 }
  return try elements.indices.map { try found[$0]!.get() }
}
