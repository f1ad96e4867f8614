import ArgumentParser
import DistEngine
import Foundation

/// Times optimizer steps on fixed batches of full length, through the library, beside sgemm's rate in the same process.
///
/// NOT private: the batch is fixed, as benchmarks of other trainers do it, and the noise is the same in every step.
struct Modes: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Modes of one shape, alternating in one process, beside sgemm's rate.")

  @Option(help: "A preset.") var model = "seed-medium"
  @Option(help: "standard, hooks or ghost, separated by commas: they alternate.") var modes = "standard,ghost"
  @Option(help: "flat or per-layer.") var clipping = "flat"
  @Option(help: "Records of a step.") var batch = 4
  @Option(help: "Targets of a record.") var seqLen = 512
  @Option(help: "Examples processed at a time (default: auto).") var microbatch: Int?
  @Option(help: "none or blocks, separated by commas: each for every mode, they alternate too.") var recompute = "none"
  @Option(help: "f32 or bf16, separated by commas: each for every one of these, they alternate too.") var precision = "f32"
  @Option(help: "Threads, separated by commas: they alternate too.") var threads = "1"
  @Option(help: "Timed steps of each combination, after one that isn't.") var steps = 3

  mutating func run() throws {
    let shape = try Choice.preset(model).configuration
    let clipping: Clipping = try Choice.one(clipping, "clipping")
    let modes: [TrainingMode] = try Choice.list(modes, "mode")
    let dataset = TokenizedDataset.synthetic(records: batch, length: seqLen, labels: shape.isEncoder ? shape.labelCount : nil)
    let recomputations: [Recomputation] = try Choice.list(recompute, "recomputation")
    let precisions: [Precision] = try Choice.list(precision, "precision")
    let teams = try Choice.numbers(threads, "number of threads").map(ThreadTeam.init(count:))
    var runs = try modes.flatMap { mode in
      try recomputations.flatMap { recompute in
        try precisions.map {
          try FixedBatchRun(
            model: shape, mode: mode, clipping: clipping, microbatch: microbatch, recompute: recompute, dataset: dataset,
            threads: teams.map(\.count).max() ?? 1, precision: $0)
        }
      }
    }
    // By mode, and within a mode by team.
    let combinations = runs.indices.flatMap { run in teams.map { (run: run, team: $0) } }
    var seconds = [[Double]](repeating: [], count: combinations.count)
    var sgemm: [Double] = []
    for round in 0...steps {
      for (index, (run, team)) in combinations.enumerated() {
        let time = try runs[run].step(round, team: team)
        if round > 0 { seconds[index].append(time) }
      }
      sgemm.append(SgemmRate.measure(rows: 512, inner: shape.width, columns: 4 * shape.width))
    }
    let tokens = Double(batch * seqLen)
    let rate = sgemm.sorted()[sgemm.count / 2]
    let flops = Double(batch) * shape.trainingFlops(targets: seqLen)
    let line = { (values: [String]) in print(values.joined(separator: "\t")) }
    print(
      "\(model), batch \(batch), T \(seqLen), \(shape.parameterCount) parameters; sgemm \(Int(rate / 1e9)) GFLOP/s, one thread")
    line(["precision", "mode", "recompute", "threads", "s/step", "fastest", "tokens/s", "of sgemm's rate", "to the first", "planned MB"])
    let median = seconds.map { $0.sorted()[$0.count / 2] }
    for (index, (run, team)) in combinations.enumerated() {
      line([
        runs[run].products == .float32 ? Precision.f32.rawValue : Precision.bf16.rawValue, runs[run].mode.rawValue, runs[run].recompute.rawValue, "\(team.count)", String(format: "%.3f", median[index]),
        String(format: "%.3f", seconds[index].min()!), String(format: "%.0f", tokens / median[index]),
        String(format: "%.2f", flops / rate / median[index] / Double(team.count)),
        String(format: "%.3f", median[index] / median[0]),
        String(format: "%.0f", Double(runs[run].plannedBytes) / Double(MemoryMeter.megabyte)),
      ])
    }
    print("peak of this process, all modes together: \(MemoryMeter.peakResidentBytes / MemoryMeter.megabyte) MB")
  }
}

/// For what runs in other processes.
struct SgemmAlone: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "sgemm", abstract: "sgemm's rate on this thread, in GFLOP/s, at a layer's shape.")

  @Option(help: "A preset.") var model = "seed-medium"

  func run() throws {
    let width = try Choice.preset(model).configuration.width
    print(String(format: "%.1f", SgemmRate.measure(rows: 512, inner: width, columns: 4 * width) / 1e9))
  }
}

enum SgemmRate {
  /// Flops a second of a product of a layer's shape.
  static func measure(rows: Int, inner: Int, columns: Int) -> Double {
    let (a, b, c) = (
      AlignedBuffer<Float>(count: rows * inner), AlignedBuffer<Float>(count: inner * columns),
      AlignedBuffer<Float>(count: rows * columns)
    )
    let clock = ContinuousClock()
    var best = Double.infinity
    for _ in 0..<5 {
      let time = clock.measure {
        for _ in 0..<4 {
          MatrixProducts.multiply(
            .plain(Matrix(a.base, rows: rows, columns: inner)), .plain(Matrix(b.base, rows: inner, columns: columns)),
            into: Matrix(c.base, rows: rows, columns: columns))
        }
      }
      best = min(best, Double(time.components.seconds) + Double(time.components.attoseconds) * 1e-18)
    }
    return 8 * Double(rows) * Double(inner) * Double(columns) / best
  }
}
