import DistEngine
import Foundation

/// A model directory whose files have other element types than are written here.
package enum StoredModel {
  /// The element of a file that is nearest to a float.
  package static func bytes(_ value: Float, _ type: String) -> [UInt8] {
    switch type {
    case "BF16":
      // To nearest, ties to even; what is finite here stays so.
      let bits = value.bitPattern
      let rounded = UInt16(truncatingIfNeeded: (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16)
      return withUnsafeBytes(of: rounded.littleEndian) { Array($0) }
    case "F16": return withUnsafeBytes(of: Float16(value).bitPattern.littleEndian) { Array($0) }
    default: return withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
    }
  }

  /// A copy of a directory's configuration, and of its tensors in elements of a type.
  ///
  /// - Parameters:
  ///   - offset: bytes in front of the data beyond a multiple of 8: tensors may begin anywhere.
  ///   - shards: files, with an index where there are several.
  package static func write(_ directory: String, to copy: String, as type: String, offset: Int = 0, shards: Int = 1) throws {
    let file = try SafetensorsFile(path: "\(directory)/model.safetensors")
    try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
    for name in ["config.json", "tokenizer.json"] where FileManager.default.fileExists(atPath: "\(directory)/\(name)") {
      try FileManager.default.copyItem(atPath: "\(directory)/\(name)", toPath: "\(copy)/\(name)")
    }
    var places: [String: String] = [:]
    for shard in 0..<shards {
      let name = shards == 1 ? "model.safetensors" : "model-\(shard + 1).safetensors"
      var (fields, data): ([String], Data) = ([], Data())
      for (index, tensor) in file.tensors.enumerated() where index % shards == shard {
        var values = [Float](repeating: 0, count: tensor.count)
        try values.withUnsafeMutableBufferPointer { try file.read(tensor, into: $0) }
        let start = data.count
        for value in values { data.append(contentsOf: bytes(value, type)) }
        fields.append("\"\(tensor.name)\":{\"dtype\":\"\(type)\",\"shape\":\(tensor.shape),\"data_offsets\":[\(start),\(data.count)]}")
        places[tensor.name] = name
      }
      var header = Array("{\(fields.joined(separator: ","))}".utf8)
      while header.count % 8 != offset { header.append(UInt8(ascii: " ")) }
      try (withUnsafeBytes(of: UInt64(header.count).littleEndian) { Data($0) } + header + data).write(to: URL(filePath: "\(copy)/\(name)"))
    }
    if shards > 1 {
      let index = try JSONSerialization.data(withJSONObject: ["metadata": [:], "weight_map": places])
      try index.write(to: URL(filePath: "\(copy)/model.safetensors.index.json"))
    }
  }
}
