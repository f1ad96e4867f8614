import ArgumentParser
import DistEngine
import Foundation

/// Page faults and allocations of a step, for models of several sizes: nothing of it may grow with the model.
struct PerStep: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Page faults and allocations of a step, by model and mode.")

  @Option(help: "Presets, separated by commas.") var models = "tiny,seed-medium,small"
  @Option(help: "Modes, separated by commas.") var modes = "standard,hooks,ghost"
  @Option(help: "Records of a step.") var batch = 4
  @Option(help: "Targets of a record.") var seqLen = 128
  @Option(help: "Examples processed at a time (default: auto).") var microbatch: Int?
  @Option(help: "Threads.") var threads = 1
  @Option(help: "Steps that are counted, after three that aren't.") var steps = 3

  func run() throws {
    let modes: [TrainingMode] = try Choice.list(modes, "mode")
    print("Batch \(batch), T \(seqLen), \(threads) threads. The most of any of \(steps) steps after the third.")
    var table = Table(["model", "parameters", "mode", "b", "faults", "allocations", "of them the noise's", "others"])
    for model in models.split(separator: ",") {
      for mode in modes {
        var shape = ShapeOptions.standard
        (shape.model, shape.batch, shape.seqLen, shape.microbatch) = (String(model), batch, seqLen, microbatch)
        (shape.threads, shape.steps) = (threads, steps)
        let result = try Alone.inProcess(shape, mode: mode.rawValue)
        let allocations = result.allocations?.max()
        let noise = result.noiseAllocations ?? 0
        table.append([
          result.model, "\(result.parameters)", result.mode, "\(result.microbatch)", "\(result.faults.max() ?? 0)",
          allocations.map { "\($0)" } ?? "-", "\(noise)", allocations.map { "\($0 - noise)" } ?? "-",
        ])
      }
    }
    table.print()
  }
}

/// Peak memory by logical batch where microbatches are `auto`: it may not grow.
struct LogicalBatches: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Peak memory by logical batch, microbatches chosen by the program.")

  @Option(help: "A preset.") var model = "seed-medium"
  @Option(help: "Modes, separated by commas.") var modes = "standard,ghost"
  @Option(help: "Records of a step, separated by commas.") var batches = "8,64,512"
  @Option(help: "Targets of a record.") var seqLen = 128
  @Option(help: "Threads.") var threads = 1
  @Option(help: "Steps.") var steps = 2

  func run() throws {
    let modes: [TrainingMode] = try Choice.list(modes, "mode")
    print("\(model), T \(seqLen), \(threads) threads. MB; the ratio is to the first batch.")
    var table = Table(["mode", "batch", "b", "planned", "before", "peak", "ratio"])
    for mode in modes {
      var first: Double?
      for batch in try Choice.numbers(batches, "number of records") {
        var shape = ShapeOptions.standard
        (shape.model, shape.batch, shape.seqLen, shape.threads) = (model, batch, seqLen, threads)
        (shape.steps, shape.warmUp) = (steps, 0)
        let result = try Alone.inProcess(shape, mode: mode.rawValue)
        let reference = first ?? result.peakMb
        first = reference
        table.append([
          result.mode, "\(batch)", "\(result.microbatch)", result.plannedMb.rounded(1), result.beforeMb.rounded(1),
          result.peakMb.rounded(1), (result.peakMb / reference).rounded(3),
        ])
      }
    }
    table.print()
  }
}

/// What the plan says beside what the process took, less what it held before.
struct PlannedPeaks: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "planned-peaks", abstract: "Planned memory against the measured peak, by mode, length and batch.")

  @Option(help: "A preset.") var model = "seed-medium"
  @Option(help: "Modes, separated by commas.") var modes = "standard,hooks,ghost"
  @Option(help: "flat and per-layer, separated by commas.") var clippings = "flat,per-layer"
  @Option(help: "none and blocks, separated by commas.") var recompute = "none,blocks"
  @Option(help: "Shapes BxT, separated by commas.") var shapes = "4x512,16x128"
  @Option(help: "Examples processed at a time (default: auto).") var microbatch: Int?
  @Option(help: "Threads.") var threads = 1
  @Option(help: "Steps.") var steps = 2

  func run() throws {
    let modes: [TrainingMode] = try Choice.list(modes, "mode")
    let clippings: [Clipping] = try Choice.list(clippings, "clipping")
    let recomputations: [Recomputation] = try Choice.list(recompute, "recomputation")
    print("\(model), \(threads) threads. MB; the ratio is of the peak less what was held before to the plan.")
    var table = Table(["mode", "clipping", "recompute", "B", "T", "b", "planned", "before", "peak", "ratio"])
    for text in shapes.split(separator: ",") {
      let sizes = text.split(separator: "x").compactMap { Int($0) }
      guard sizes.count == 2 else { throw ValidationError("no shape BxT: \(text)") }
      for mode in modes {
        // Without privacy nothing is clipped.
        for clipping in mode.isPrivate ? clippings : [.flat] {
          for recomputation in recomputations {
            var shape = ShapeOptions.standard
            (shape.model, shape.batch, shape.seqLen, shape.microbatch) = (model, sizes[0], sizes[1], microbatch)
            (shape.clipping, shape.recompute, shape.threads) = (clipping.rawValue, recomputation.rawValue, threads)
            (shape.steps, shape.warmUp) = (steps, 0)
            let result = try Alone.inProcess(shape, mode: mode.rawValue)
            table.append([
              result.mode, mode.isPrivate ? clipping.rawValue : "-", recomputation.rawValue, "\(sizes[0])", "\(sizes[1])",
              "\(result.microbatch)", result.plannedMb.rounded(1), result.beforeMb.rounded(1), result.peakMb.rounded(1),
              ((result.peakMb - result.beforeMb) / result.plannedMb).rounded(3),
            ])
          }
        }
      }
    }
    table.print()
  }
}

extension ShapeOptions {
  /// As the command line has them where nothing is said. (What ArgumentParser declares has no values before it has parsed.)
  static var standard: ShapeOptions { parseOrExit([]) }
}

/// Columns as wide as what stands in them: numbers to the right, names to the left.
struct Table {
  private var rows: [[String]]

  init(_ titles: [String]) { rows = [titles] }

  mutating func append(_ row: [String]) { rows.append(row) }

  func print() {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    for row in rows {
      let cells = row.indices.map { column in
        let padding = String(repeating: " ", count: widths[column] - row[column].count)
        let isName = rows.dropFirst().contains { Double($0[column]) == nil && $0[column] != "-" }
        return isName ? row[column] + padding : padding + row[column]
      }
      Swift.print(cells.joined(separator: "  "))
    }
  }
}

extension Double {
  func rounded(_ digits: Int) -> String { String(format: "%.\(digits)f", self) }
}
