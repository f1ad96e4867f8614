/// The JSON in front of a safetensors file's data.
package enum SafetensorsHeader {
  private struct Entry {
    let dtype: String
    let shape: [Int]
    let data_offsets: [Int]

    init(_ value: JSONValue, name: String, path: String) throws(SafetensorsError) {
      func field<T>(_ key: String, _ expected: String, _ read: (JSONValue) -> T?) throws(SafetensorsError) -> T {
        guard let found = value.object?[key] else {
          throw .malformedHeader(path: path, reason: "its header is malformed: \(name.quotable).\(key): missing")
        }
        guard let result = read(found) else {
          throw .malformedHeader(path: path, reason: "its header is malformed: \(name.quotable).\(key): must be \(expected)")
        }
        return result
      }
      func integers(_ value: JSONValue) -> [Int]? {
        guard let values = value.array else { return nil }
        let integers = values.compactMap(\.integer)
        return integers.count == values.count ? integers : nil
      }
      dtype = try field("dtype", "a string", \.string)
      shape = try field("shape", "an array of integers", integers)
      data_offsets = try field("data_offsets", "an array of integers", integers)
    }
  }

  private struct Header {
    var entries: [String: Entry] = [:]
    var metadata: [String: String] = [:]

    init(_ value: JSONValue, path: String) throws(SafetensorsError) {
      // In the order of names, so that all ranks refuse a file for the same reason.
      for (key, value) in (value.object ?? [:]).sorted(by: { $0.key < $1.key }) {
        guard key == "__metadata__" else {
          entries[key] = try Entry(value, name: key, path: path)
          continue
        }
        // The format's own library takes null for none.
        if value == .null { continue }
        guard let fields = value.object else {
          throw .malformedHeader(path: path, reason: "its header is malformed: __metadata__: must be an object")
        }
        for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
          guard let text = value.string else {
            throw .malformedHeader(path: path, reason: "its header is malformed: __metadata__.\(name.quotable): must be a string")
          }
          metadata[name] = text
        }
      }
    }
  }

  /// Bytes of a file's beginning that ``length(start:size:path:)`` looks at.
  package static let startBytes = 64

  /// Length of the JSON, of a file of `size` bytes that has room for it.
  ///
  /// - Parameter start: the file's first ``startBytes`` bytes, or all of a shorter one.
  package static func length(start: some Collection<UInt8>, size: Int, path: String) throws(SafetensorsError) -> Int {
    guard size >= 8, start.count >= 8 else { throw .truncatedHeader(path: path, bytes: size, needed: 8) }
    if FileBytes.isLargeFilePointer(start) {
      throw .malformedHeader(path: path, reason: FileBytes.largeFilePointerReason)
    }
    let length = start.prefix(8).reversed().reduce(0 as UInt64) { $0 << 8 | UInt64($1) }
    guard length <= Safetensors.longestHeader else { throw .headerTooLong(path: path, length: length) }
    guard size - 8 >= Int(length) else {
      throw .truncatedHeader(path: path, bytes: size, needed: 8 + Int(length))
    }
    return Int(length)
  }

  /// Tensors in the order of their bytes, and the metadata.
  ///
  /// - Parameter dataBytes: length of the data part as the file has it.
  package static func parse(
    _ json: [UInt8], dataBytes: Int, path: String
  ) throws(SafetensorsError) -> (tensors: [Safetensors.Tensor], metadata: [String: String]) {
    guard json.first == UInt8(ascii: "{") else {
      throw .malformedHeader(path: path, reason: "its header does not start with {")
    }
    let value: JSONValue
    do {
      value = try json.withUnsafeBufferPointer { (bytes) throws(JSONFault) in try JSONScanner.parse(bytes) }
    } catch {
      // Headers are one long line: the byte of the file says where.
      throw .malformedHeader(
        path: path, reason: "its header is malformed at byte \(8 + error.offset) of the file: \(error.reason)")
    }
    let header = try Header(value, path: path)
    var tensors: [Safetensors.Tensor] = []
    for (name, entry) in header.entries.sorted(by: { $0.key < $1.key }) { tensors.append(try tensor(name, entry, path: path)) }
    // Empty tensors share their place with their neighbour: shorter first, then by name.
    tensors.sort {
      ($0.byteRange.lowerBound, $0.byteRange.upperBound, $0.name) < ($1.byteRange.lowerBound, $1.byteRange.upperBound, $1.name)
    }
    var end = 0
    for tensor in tensors {
      let begin = tensor.byteRange.lowerBound
      guard begin == end else {
        let fault = begin < end ? "overlaps the tensor before it, which ends at" : "leaves a gap after"
        throw .malformedTensor(path: path, tensor: tensor.name, reason: "begins at byte \(begin) and \(fault) byte \(end)")
      }
      end = tensor.byteRange.upperBound
      guard end <= dataBytes else {
        throw .truncatedData(path: path, tensor: tensor.name, end: end, dataBytes: dataBytes)
      }
    }
    guard end == dataBytes else { throw .unclaimedBytes(path: path, count: dataBytes - end) }
    return (tensors, header.metadata)
  }

  private static func tensor(_ name: String, _ entry: Entry, path: String) throws(SafetensorsError) -> Safetensors.Tensor {
    func malformed(_ reason: String) -> SafetensorsError { .malformedTensor(path: path, tensor: name, reason: reason) }

    guard entry.dtype.utf8.count <= 16, let elementSize = Safetensors.elementSizes[entry.dtype] else {
      throw malformed("unknown element type \(entry.dtype.quotable)")
    }
    guard entry.data_offsets.count == 2, let begin = entry.data_offsets.first, let end = entry.data_offsets.last,
      0 <= begin, begin <= end
    else { throw malformed("data_offsets \(entry.data_offsets.quotable) are not a range") }
    var bytes = elementSize
    for size in entry.shape {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: size)
      guard size >= 0, !overflow else { throw malformed("impossible shape \(entry.shape.quotable)") }
      bytes = product
    }
    guard end - begin == bytes else {
      throw malformed("\(end - begin) bytes where \(entry.dtype) \(entry.shape.quotable) needs \(bytes)")
    }
    return Safetensors.Tensor(name: name, elementType: entry.dtype, shape: entry.shape, byteRange: begin..<end)
  }
}
