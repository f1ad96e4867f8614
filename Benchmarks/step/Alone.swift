import ArgumentParser
import CAllocationCounter
import DistEngine
import Foundation

/// One combination with a process to itself: what the system says of the process is then the combination's own.
struct Alone: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "One mode alone in the process: time, peak memory, page faults and allocations, as a line of JSON.")

  @OptionGroup var shape: ShapeOptions
  @Option(help: "standard, hooks or ghost.") var mode = "ghost"

  /// Seconds and peak memory as the peers of Benchmarks/peers give them.
  struct Result: Codable {
    var version = "dp-mpirun"
    var mode, model: String
    var parameters, batch, seqLen: Int
    /// Of each timed step, by the clock and by the processor.
    var seconds, processorSeconds: [Double]
    /// The largest resident set of the process, and what it held before the model: program, libraries, data.
    var peakMb, beforeMb: Double
    var plannedMb: Double
    /// Records of a microbatch.
    var microbatch: Int
    /// Of each timed step, by all threads. Allocations are nil where nothing counts them.
    var faults: [Int]
    var allocations: [Int]?
    /// What of a step's allocations the noise's AES takes: a piece of key stream comes in memory of its own.
    var noiseAllocations: Int?
    /// sgemm's rate in a process that is as busy as the steps were.
    var sgemmGigaflops: Double
  }

  func run() throws {
    let mode: TrainingMode = try Choice.one(mode, "mode")
    let clipping: Clipping = try Choice.one(shape.clipping, "clipping")
    let model = try Choice.preset(shape.model).configuration
    let dataset = TokenizedDataset.synthetic(records: shape.batch, length: shape.seqLen, labels: model.isEncoder ? model.labelCount : nil)
    try Self.warmUp()
    let before = MemoryMeter.residentBytes
    var run = try FixedBatchRun(
      model: model, mode: mode, clipping: clipping, microbatch: shape.microbatch,
      recompute: Choice.one(shape.recompute, "recomputation"), dataset: dataset, threads: shape.threads)
    var usages = [Usage](repeating: .now, count: shape.steps + 1)
    var seconds = [Double](repeating: 0, count: shape.steps)
    for step in 0..<shape.warmUp { _ = try run.step(step) }
    usages[0] = .now
    for step in 0..<shape.steps {
      seconds[step] = try run.step(shape.warmUp + step)
      usages[step + 1] = .now
    }
    let peak = MemoryMeter.peakResidentBytes
    let steps = zip(usages, usages.dropFirst()).map { $1 - $0 }
    let counts = ac_is_counting() != 0
    let result = Result(
      mode: mode.rawValue, model: shape.model, parameters: model.parameterCount, batch: shape.batch, seqLen: shape.seqLen,
      seconds: seconds, processorSeconds: steps.map(\.processorSeconds), peakMb: Self.megabytes(peak),
      beforeMb: Self.megabytes(before), plannedMb: Self.megabytes(run.plannedBytes), microbatch: run.microbatchRecords,
      faults: steps.map(\.faults), allocations: counts ? steps.map(\.allocations) : nil,
      noiseAllocations: counts && mode.isPrivate ? Self.noiseAllocations(elements: model.parameterCount) : nil,
      sgemmGigaflops: SgemmRate.measure(rows: 512, inner: model.width, columns: 4 * model.width) / 1e9)
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = .sortedKeys
    print(String(decoding: try encoder.encode(result), as: UTF8.self))
  }

  private static func megabytes(_ bytes: Int) -> Double { Double(bytes) / Double(MemoryMeter.megabyte) }

  /// A step of the smallest model: what libraries set up at their first use is the empty program's.
  private static func warmUp() throws {
    var run = try FixedBatchRun(
      model: ModelPreset.tiny.configuration, mode: .ghost, clipping: .flat, microbatch: nil, recompute: .none,
      dataset: .synthetic(records: 2, length: 8))
    _ = try run.step(0)
  }

  /// What the noise of so many elements allocates, drawn in parts of a size that pieces of key stream divide.
  private static func noiseAllocations(elements: Int) -> Int {
    let source = GaussianSource(RandomKey(seed: 1).subKey(for: .noise))
    let part = min(elements, 64 * CounterRandom.wordsPerPiece)
    let values = AlignedBuffer<Float>(count: part)
    let before = ac_allocations()
    for first in stride(from: 0, to: elements, by: part) {
      let range = first..<min(first + part, elements)
      source.add(step: 1, elements: range, scale: 1, to: UnsafeMutableBufferPointer(start: values.base, count: range.count))
    }
    return Int(ac_allocations() - before)
  }
}

/// What a process runs.
struct ShapeOptions: ParsableArguments {
  @Option(help: "A preset.") var model = "seed-medium"
  @Option(help: "flat or per-layer.") var clipping = "flat"
  @Option(help: "Records of a step.") var batch = 4
  @Option(help: "Targets of a record.") var seqLen = 512
  @Option(help: "Examples processed at a time (default: auto).") var microbatch: Int?
  @Option(help: "none or blocks.") var recompute = "none"
  @Option(help: "Threads.") var threads = 1
  @Option(help: "Timed steps.") var steps = 3
  @Option(help: "Steps before the timed ones.") var warmUp = 3

  init() {}

  var arguments: [String] {
    let microbatch = microbatch.map { ["--microbatch", "\($0)"] } ?? []
    return microbatch + [
      "--model", model, "--clipping", clipping, "--batch", "\(batch)", "--seq-len", "\(seqLen)", "--recompute", recompute,
      "--threads", "\(threads)", "--steps", "\(steps)", "--warm-up", "\(warmUp)",
    ]
  }
}

/// What the process has used so far.
struct Usage {
  var processorSeconds: Double
  /// Minor ones: pages that the system gave or mapped without reading from a disk.
  var faults: Int
  var allocations: Int

  static var now: Usage {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    let seconds = { (time: timeval) in Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }
    return Usage(
      processorSeconds: seconds(usage.ru_utime) + seconds(usage.ru_stime), faults: usage.ru_minflt,
      allocations: Int(ac_allocations()))
  }

  static func - (a: Usage, b: Usage) -> Usage {
    Usage(
      processorSeconds: a.processorSeconds - b.processorSeconds, faults: a.faults - b.faults,
      allocations: a.allocations - b.allocations)
  }
}

extension Alone {
  /// Runs a combination in a process of its own.
  static func inProcess(_ shape: ShapeOptions, mode: String) throws -> Result {
    let process = Process()
    process.executableURL = Bundle.main.executableURL
    process.arguments = ["alone", "--mode", mode] + shape.arguments
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let line = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { throw ExitCode(process.terminationStatus) }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Result.self, from: line)
  }
}
