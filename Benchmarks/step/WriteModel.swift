import ArgumentParser
import DistEngine
import Foundation

/// A model directory of a preset's shape with random values of 16 bits: what a frozen model costs doesn't hang on what it has learned.
struct WriteModel: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "write-model", abstract: "A model directory of a preset's shape, of random BF16 values, in several files with an index.")

  @Option(help: "A preset.") var model = "llama-7b"
  @Option(help: "Files.") var shards = 3
  @Option(help: "The directory.") var output: String

  func run() throws {
    let shape = try Choice.preset(model).configuration
    try FileManager.default.createDirectory(atPath: output, withIntermediateDirectories: true)
    let layout = Array(shape.parameterLayout)
    let source = GaussianSource(RandomKey(seed: 1).subKey(for: .initialisation))
    var places: [String: String] = [:]
    for shard in 0..<shards {
      let name = shards == 1 ? "model.safetensors" : String(format: "model-%05d-of-%05d.safetensors", shard + 1, shards)
      // A tensor is in the file that its first element falls into, all files being of about one size.
      let own = layout.filter { $0.offset * shards / shape.parameterCount == shard }
      var (fields, offset): ([String], Int) = ([], 0)
      for entry in own {
        fields.append("\"\(entry.name)\":{\"dtype\":\"BF16\",\"shape\":\(entry.shape),\"data_offsets\":[\(offset),\(offset + 2 * entry.count)]}")
        offset += 2 * entry.count
        places[entry.name] = name
      }
      var header = Array("{\(fields.joined(separator: ","))}".utf8)
      while !header.count.isMultiple(of: 8) { header.append(UInt8(ascii: " ")) }
      try AtomicFile.write(to: "\(output)/\(name)") { writer in
        try writer.append(withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header)
        for entry in own { try append(entry, from: source, to: &writer) }
      }
    }
    if shards > 1 {
      let index = try JSONSerialization.data(withJSONObject: ["metadata": ["total_size": 2 * shape.parameterCount], "weight_map": places])
      try AtomicFile.write(index, to: "\(output)/model.safetensors.index.json")
    }
    try AtomicFile.write(shape.json(), to: "\(output)/config.json")
  }

  /// Elements that are made at a time.
  private static let piece = 1 << 20

  private func append(_ entry: ParameterLayout.Entry, from source: GaussianSource, to writer: inout AtomicFile.Writer) throws {
    let floats = AlignedBuffer<Float>(count: Self.piece)
    let halves = AlignedBuffer<UInt16>(count: Self.piece)
    // Vectors are norms' gains, or biases.
    let (mean, deviation): (Float, Double) = entry.shape.count == 1 ? (entry.fresh == .ones ? 1 : 0, 0) : (0, 0.02)
    for first in stride(from: entry.range.lowerBound, to: entry.range.upperBound, by: Self.piece) {
      let elements = first..<min(first + Self.piece, entry.range.upperBound)
      let values = Vector(rebasing: floats.elements[..<elements.count])
      values.update(repeating: mean)
      source.add(step: 0, elements: elements, scale: deviation, to: values)
      for index in values.indices { halves.elements[index] = UInt16(truncatingIfNeeded: values[index].bitPattern >> 16) }
      try writer.append(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(halves.elements)[..<(2 * elements.count)]))
    }
  }
}
