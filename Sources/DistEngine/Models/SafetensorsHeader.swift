import Foundation

/// The JSON in front of a safetensors file's data.
enum SafetensorsHeader {
  private struct Entry: Codable {
    let dtype: String
    let shape: [Int]
    let data_offsets: [Int]
  }

  private struct Name: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  private struct Header: Decodable {
    var entries: [String: Entry] = [:]
    var metadata: [String: String] = [:]

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: Name.self)
      for key in container.allKeys {
        if key.stringValue == "__metadata__" {
          metadata = try container.decode([String: String].self, forKey: key)
        } else {
          entries[key.stringValue] = try container.decode(Entry.self, forKey: key)
        }
      }
    }
  }

  /// Tensors in the order of their bytes, and the metadata.
  ///
  /// - Parameter dataBytes: length of the data part as the file has it.
  static func parse(
    _ json: Data, dataBytes: Int, path: String
  ) throws(SafetensorsError) -> (tensors: [Safetensors.Tensor], metadata: [String: String]) {
    let header: Header
    do {
      guard json.first == UInt8(ascii: "{") else {
        throw SafetensorsError.malformedHeader(path: path, reason: "its header does not start with {")
      }
      header = try JSONDecoder().decode(Header.self, from: json)
    } catch let error as SafetensorsError {
      throw error
    } catch {
      throw .malformedHeader(
        path: path, reason: "its header is malformed: \(DecodingError.location(of: error))\(DecodingError.reason(of: error))")
    }
    var tensors: [Safetensors.Tensor] = []
    for (name, entry) in header.entries { tensors.append(try tensor(name, entry, path: path)) }
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

    guard let elementSize = Safetensors.elementSizes[entry.dtype] else { throw malformed("unknown element type \(entry.dtype)") }
    guard entry.data_offsets.count == 2, let begin = entry.data_offsets.first, let end = entry.data_offsets.last,
      0 <= begin, begin <= end
    else { throw malformed("data_offsets \(entry.data_offsets) are not a range") }
    var bytes = elementSize
    for size in entry.shape {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: size)
      guard size >= 0, !overflow else { throw malformed("impossible shape \(entry.shape)") }
      bytes = product
    }
    guard end - begin == bytes else {
      throw malformed("\(end - begin) bytes where \(entry.dtype) \(entry.shape) needs \(bytes)")
    }
    return Safetensors.Tensor(name: name, elementType: entry.dtype, shape: entry.shape, byteRange: begin..<end)
  }
}
