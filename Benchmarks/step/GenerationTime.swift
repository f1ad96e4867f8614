import ArgumentParser
import DistEngine

/// What an id takes as a text grows.
struct GenerationTime: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generation", abstract: "Time of the first and the last ids of a generated text, and what its keys and values need.")

  @Option(help: "A preset, with fresh parameters.") var model = "small"
  @Option(help: "Ids.") var tokens = 1024
  @Option(help: "Ids at the text's start and end that are timed.") var part = 100
  @Option(help: "Threads.") var threads = 1

  func run() throws {
    let shape = try Choice.preset(model).configuration
    guard tokens >= 2 * part, part >= 1, tokens <= shape.longestSequence else {
      throw ValidationError("--tokens \(tokens): from 2 parts of \(part) to the \(shape.longestSequence) positions of \(model)")
    }
    let plan = Generation.plan(shape, ids: tokens, threads: threads)
    let replica = try ModelReplica(plan)
    plan.layout.initialise(replica.parameters, from: GaussianSource(RandomKey(seed: 1).subKey(for: .initialisation)))
    var ids: [Int32] = [0]
    let clock = ContinuousClock()
    var times: [Duration] = []
    replica.team.use {
      for _ in 0..<tokens {
        times.append(
          clock.measure {
            let logits = Generation.logits(after: ids[...], known: ids.count - 1, replica: replica)
            ids.append(Int32(logits.indices.max { logits[$0] < logits[$1] } ?? 0))
          })
      }
    }
    let seconds = { (times: ArraySlice<Duration>) in times.reduce(Duration.zero, +) / .seconds(1) }
    let (first, last) = (seconds(times.prefix(part)), seconds(times.suffix(part)))
    let cache = plan.memory.buffers.filter { $0.name.hasSuffix("keys and values") }.reduce(0) { $0 + $1.byteCount }
    print(
      "\(model), \(tokens) ids, \(threads) threads: first \(part) \(first.rounded(3)) s, last \(part) \(last.rounded(3)) s, "
        + "ratio \((last / first).rounded(3)); keys and values \(cache / MemoryMeter.megabyte) MB of \(plan.byteCount / MemoryMeter.megabyte) MB planned")
  }
}
