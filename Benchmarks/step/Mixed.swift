import ArgumentParser
import DistEngine
import Foundation

/// Steps on records of mixed length, with microbatches filled in each of the ways that there are: alternating in one process.
///
/// NOT private: the batch is fixed.
struct Mixed: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Records of mixed length: a microbatch each, sharing microbatches, and as auto divides them. Ghost, flat.")

  @Option(help: "A preset.") var model = "seed-medium"
  @Option(help: "Records of a step.") var batch = 32
  @Option(help: "Targets of a record on average, before long ones are cut.") var mean = 260.0
  @Option(help: "Standard deviation of the lengths' logarithms.") var deviation = 1.0
  @Option(help: "Targets of the longest record.") var seqLen = 1024
  @Option(help: "Threads.") var threads = 1
  @Option(help: "Timed steps of each way, after one that isn't.") var steps = 3

  func run() throws {
    let shape = try Choice.preset(model).configuration
    let lengths = Self.lengths(batch, mean: mean, deviation: deviation, longest: seqLen)
    let dataset = TokenizedDataset.synthetic(lengths: lengths)
    let positions = dataset.longestSequence
    let rows = max(positions, 512)
    let ways: [(name: String, capacity: Microbatch.Capacity?)] = [
      ("a record each", Microbatch.Capacity(units: 1, rows: positions, positions: positions, unitsAreRecords: true)),
      ("shared", Microbatch.Capacity(units: rows, rows: rows, positions: positions, unitsAreRecords: true)),
      ("auto", nil),
    ]
    var runs = try ways.map {
      try FixedBatchRun(
        model: shape, mode: .ghost, clipping: .flat, microbatch: nil, recompute: .none, dataset: dataset, capacity: $0.capacity, threads: threads)
    }
    var seconds = [[Double]](repeating: [], count: ways.count)
    for round in 0...steps {
      for way in ways.indices {
        let time = try runs[way].step(round)
        if round > 0 { seconds[way].append(time) }
      }
    }
    let targets = dataset.totalTargetCount
    print(
      "\(model), \(batch) records of \(targets / batch) targets on average, median \(lengths.sorted()[batch / 2]), longest \(positions), \(threads) threads; auto: "
        + (runs[2].capacity.ownMicrobatchRows.map { "\($0) targets or more alone" } ?? "\(runs[2].capacity.units) records in \(runs[2].capacity.rows) targets"))
    print(["way", "s/step", "fastest", "targets/s", "to the first", "planned MB"].joined(separator: "\t"))
    let medians = seconds.map { $0.sorted()[$0.count / 2] }
    for way in ways.indices {
      print(
        [
          ways[way].name, String(format: "%.3f", medians[way]), String(format: "%.3f", seconds[way].min()!),
          String(format: "%.0f", Double(targets) / medians[way]), String(format: "%.3f", medians[way] / medians[0]),
          String(format: "%.0f", Double(runs[way].plannedBytes) / Double(MemoryMeter.megabyte)),
        ].joined(separator: "\t"))
    }
  }

  /// Log-normal, at evenly spaced quantiles: the same in every run.
  static func lengths(_ count: Int, mean: Double, deviation: Double, longest: Int) -> [Int] {
    let center = log(mean) - deviation * deviation / 2
    return (0..<count).map { record in
      let z = normalQuantile((Double(record) + 0.5) / Double(count))
      return min(longest, max(1, Int(exp(center + deviation * z).rounded())))
    }
  }

  /// By bisection of `erfc`.
  private static func normalQuantile(_ p: Double) -> Double {
    var (low, high) = (-10.0, 10.0)
    for _ in 0..<60 {
      let middle = (low + high) / 2
      if erfc(-middle / 2.0.squareRoot()) / 2 < p { low = middle } else { high = middle }
    }
    return low
  }
}
