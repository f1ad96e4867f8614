import DistEngine
import Foundation

enum Fixtures {
  static let directory = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Fixtures").path(percentEncoded: false)
  static let tiny = "\(directory)/gpt2-tiny/model"

  static func bytes(_ path: String) throws -> [UInt8] { try FileBytes.read(path) }
}

/// Some tensors and their values, in memory.
struct Tensors {
  private(set) var all: [(name: String, shape: [Int], values: [Float])] = []

  init() {}

  /// The fixture's parameters.
  init(readingFixture layout: ParameterLayout) throws {
    let values = try readParameters(Fixtures.tiny, layout)
    all = layout.map { ($0.name, $0.shape, Array(values[$0.range])) }
  }

  subscript(name: String) -> [Float]? {
    get { all.first { $0.name == name }?.values }
  }

  mutating func add(_ name: String, _ shape: [Int], _ values: [Float]) { all.append((name, shape, values)) }

  mutating func add(_ name: String, _ shape: [Int]) {
    let count = shape.reduce(1, *)
    add(name, shape, (0..<count).map { Float($0) * 0.25 - 3 })
  }

  mutating func remove(_ name: String) { all.removeAll { $0.name == name } }

  mutating func rename(_ change: (String) -> String) { all = all.map { (change($0.name), $0.shape, $0.values) } }

  func filtered(_ isKept: (String) -> Bool) -> Tensors {
    var kept = self
    kept.all.removeAll { !isKept($0.name) }
    return kept
  }

  /// Writes them from memory of their own that lives until the file is there.
  func write(to path: String, metadata: [String: String] = ["format": "pt"]) throws {
    let buffers = all.map { tensor in
      let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: tensor.values.count)
      _ = buffer.initialize(from: tensor.values)
      return buffer
    }
    defer { for buffer in buffers { buffer.deallocate() } }
    try Safetensors.write(
      zip(all, buffers).map { Safetensors.Source(name: $0.name, shape: $0.shape, values: UnsafeBufferPointer($1)) },
      metadata: metadata, to: path)
  }
}

func readParameters(_ directory: String, _ layout: ParameterLayout) throws -> [Float] {
  var values = [Float](repeating: .nan, count: layout.totalCount)
  try values.withUnsafeMutableBufferPointer { try ModelFile.readParameters(directory: directory, layout: layout, into: $0) }
  return values
}

func read(_ name: String, from file: SafetensorsFile) throws -> [Float] {
  let tensor = file.tensor(named: name)!
  var values = [Float](repeating: .nan, count: tensor.count)
  try values.withUnsafeMutableBufferPointer { try file.read(tensor, into: $0) }
  return values
}
