import DistEngine

/// Every byte of an accepted file's data belongs to exactly one tensor, of that tensor's shape.
enum SafetensorsProperties {
  private struct Content: Equatable {
    let tensors: [Safetensors.Tensor]
    let metadata: [String: String]
  }

  /// Bytes are a whole file or, where they begin with a brace, a header alone: then the data part is as long as the header asks for, so that
  /// mutations needn't hit upon lengths.
  static func check(_ bytes: [UInt8]) throws(Violation) {
    guard bytes.first != UInt8(ascii: "{") else {
      var dataBytes = 0
      // Each round learns where the first tensor ends that has no room.
      for _ in 0..<16 {
        guard case .failure(.truncatedData(_, _, let end, _)) = try checkHeader(bytes, dataBytes: dataBytes) else { return }
        dataBytes = end
      }
      return
    }
    let length = try twice { () throws(SafetensorsError) in
      try SafetensorsHeader.length(start: bytes.prefix(SafetensorsHeader.startBytes), size: bytes.count, path: "input")
    }
    guard case .success(let count) = length else { return }
    try require(8 + count <= bytes.count, "a header beyond the file's end")
    _ = try checkHeader(Array(bytes[8..<(8 + count)]), dataBytes: bytes.count - 8 - count)
  }

  private static func checkHeader(_ json: [UInt8], dataBytes: Int) throws(Violation) -> Result<Content, SafetensorsError> {
    let read = try twice { () throws(SafetensorsError) in
      let (tensors, metadata) = try SafetensorsHeader.parse(json, dataBytes: dataBytes, path: "input")
      return Content(tensors: tensors, metadata: metadata)
    }
    guard case .success(let content) = read else { return read }
    var end = 0
    for tensor in content.tensors {
      try require(tensor.byteRange.lowerBound == end, "a gap or an overlap before byte \(end)")
      end = tensor.byteRange.upperBound
      let elements = tensor.shape.reduce(1.0) { $0 * Double($1) }
      try require(elements >= 0 && elements == Double(tensor.count), "\(tensor.count) elements of shape \(tensor.shape)")
      let (size, rest) =
        tensor.count == 0 ? (0, tensor.byteRange.count) : tensor.byteRange.count.quotientAndRemainder(dividingBy: tensor.count)
      try require(rest == 0 && [0, 1, 2, 4, 8].contains(size), "\(tensor.byteRange.count) bytes for \(tensor.count) elements")
    }
    try require(end == dataBytes, "bytes that belong to no tensor")
    try require(Set(content.tensors.map(\.name)).count == content.tensors.count, "a name twice")
    return read
  }
}
