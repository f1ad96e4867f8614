import Foundation

/// Reads a whole checkpoint back into a run's state, on any number of ranks: rank 0 reads, every rank takes what it holds.
package struct CheckpointReader {
  private let directory: String
  private let manifest: CheckpointManifest
  private let communicator: Communicator

  /// - Parameter directory: of the one checkpoint, on rank 0.
  package init(_ manifest: CheckpointManifest, directory: String, communicator: Communicator) {
    (self.manifest, self.directory, self.communicator) = (manifest, directory, communicator)
  }

  /// Elements that go round at a time.
  private static let blockCount = 1 << 20

  /// Collective. Parameters go to rank 0 alone, for the exchange that the sharding has; frozen ones and moments to every rank that holds some.
  ///
  /// - Throws: ``CheckpointError/otherShape(path:reason:)`` where the slices don't make up the state.
  package func read(into state: CheckpointState) throws {
    let slices = try communicator.agree("checkpoint") {
      communicator.rank == 0 ? try CheckpointSlices(directory, files: manifest.files.map(\.name), parts: state.parts) : nil
    }
    let most = state.parts.map(\.count).max() ?? 0
    let block = AlignedBuffer<Float>(count: min(Self.blockCount, most))
    for part in state.parts {
      for first in stride(from: 0, to: part.count, by: Self.blockCount) {
        let range = first..<min(part.count, first + Self.blockCount)
        let values = UnsafeMutableBufferPointer(rebasing: block.elements[..<range.count])
        try communicator.agree("checkpoint") { try slices?.read(part.name, range, into: values) }
        if part.name == CheckpointState.parameters {
          if communicator.rank == 0 { part.take(values, of: range) }
        } else {
          try communicator.broadcast(values)
          part.take(values, of: range)
        }
      }
    }
  }
}

/// The tensors of a checkpoint's files by the elements that they hold.
private struct CheckpointSlices {
  private let slices: [String: [(elements: Range<Int>, tensor: Safetensors.Tensor, file: SafetensorsFile)]]

  /// - Throws: where they aren't all elements of all parts, each once, or more.
  init(_ directory: String, files: [String], parts: [CheckpointState.Part]) throws {
    var slices: [String: [(elements: Range<Int>, tensor: Safetensors.Tensor, file: SafetensorsFile)]] = [:]
    for name in files {
      let file = try SafetensorsFile(path: "\(directory)/\(name)")
      for tensor in file.tensors {
        guard let slice = CheckpointSlice(name: tensor.name), tensor.shape == [slice.elements.count], tensor.elementType == "F32" else {
          throw CheckpointError.otherShape(path: file.path, reason: "tensor \(tensor.name.quotable) is no slice of a checkpoint")
        }
        slices[slice.part, default: []].append((slice.elements, tensor, file))
      }
    }
    for part in slices.keys { slices[part]?.sort { $0.elements.lowerBound < $1.elements.lowerBound } }
    for part in parts {
      var end = 0
      for slice in slices[part.name] ?? [] {
        guard slice.elements.lowerBound == end else { break }
        end = slice.elements.upperBound
      }
      guard end == part.count, slices[part.name]?.last?.elements.upperBound ?? 0 == end else {
        throw CheckpointError.otherShape(path: directory, reason: "its slices of \(part.name) are not those of \(part.count) elements")
      }
    }
    guard slices.count == parts.count(where: { $0.count > 0 }) else {
      throw CheckpointError.otherShape(path: directory, reason: "it holds \(slices.keys.sorted().joined(separator: ", ")), and the run has \(parts.map(\.name).joined(separator: ", "))")
    }
    self.slices = slices
  }

  /// Some elements of a part, from as many files as they are in.
  func read(_ part: String, _ range: Range<Int>, into values: Vector) throws {
    for slice in slices[part] ?? [] {
      let common = slice.elements.clamped(to: range)
      guard !common.isEmpty else { continue }
      let target = UnsafeMutableBufferPointer(rebasing: values[common.lowerBound - range.lowerBound..<common.upperBound - range.lowerBound])
      let first = common.lowerBound - slice.elements.lowerBound
      try slice.file.readFloats(slice.tensor, first..<first + common.count, into: target)
    }
  }
}

extension CheckpointState.Part {
  /// Copies what this rank holds of some elements of the whole.
  fileprivate func take(_ block: Vector, of range: Range<Int>) {
    var offset = 0
    for own in held {
      let common = own.clamped(to: range)
      if !common.isEmpty {
        let source = Vector(rebasing: block[common.lowerBound - range.lowerBound..<common.upperBound - range.lowerBound])
        let first = offset + common.lowerBound - own.lowerBound
        _ = Vector(rebasing: values[first..<first + common.count]).update(fromContentsOf: source)
      }
      offset += own.count
    }
  }
}
