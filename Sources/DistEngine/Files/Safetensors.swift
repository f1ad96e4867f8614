import Foundation

/// The safetensors file format: 8 bytes with the header's length N (little-endian), N bytes of JSON
/// (`{"name": {"dtype": "F32", "shape": […], "data_offsets": [begin, end]}, …, "__metadata__": {…}}`), then the tensors'
/// bytes, one after the other without gaps, row-major, little-endian. Reading: ``SafetensorsFile``; writing: `write`.
///
/// Tensors may begin at any byte, also where a file is mapped into memory.
package enum Safetensors {
  /// A longer header is refused, as the format's own library does: 100 MB.
  package static let longestHeader = 100_000_000

  /// How a tensor's elements are stored. Files may hold others; only these are read as floats.
  package enum ElementType: String, Sendable {
    case float64 = "F64"
    case float32 = "F32"
    case float16 = "F16"
    case bfloat16 = "BF16"
  }

  /// Bytes of an element of every type of the format, by its name.
  static let elementSizes = [
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
  ]

  /// One tensor of a file.
  package struct Tensor: Sendable, Hashable {
    package let name: String
    /// The format's name of the element type, such as `F32`.
    package let elementType: String
    package let shape: [Int]
    /// Bytes in the file's data part.
    package let byteRange: Range<Int>

    package var count: Int { shape.reduce(1, *) }
  }
}

/// What is wrong with a safetensors file or the tensors in it.
public enum SafetensorsError: UserError, Equatable {
  case truncatedHeader(path: String, bytes: Int, needed: Int)
  case headerTooLong(path: String, length: UInt64)
  case malformedHeader(path: String, reason: String)
  case malformedTensor(path: String, tensor: String, reason: String)
  case truncatedData(path: String, tensor: String, end: Int, dataBytes: Int)
  case unclaimedBytes(path: String, count: Int)
  case unsupportedElementType(path: String, tensor: String, elementType: String)
  case changedWhileRead(path: String, tensor: String)

  public var description: String {
    switch self {
    case .truncatedHeader(let path, let bytes, let needed):
      "\(path): not a whole safetensors file: \(bytes) bytes where the header alone needs \(needed)"
    case .headerTooLong(let path, let length):
      "\(path): not a safetensors file: a header of \(length) bytes (at most \(Safetensors.longestHeader))"
    case .malformedHeader(let path, let reason): "\(path): not a safetensors file: \(reason)"
    case .malformedTensor(let path, let tensor, let reason): "\(path): tensor \(tensor.quotable): \(reason)"
    case .truncatedData(let path, let tensor, let end, let dataBytes):
      "\(path): truncated: tensor \(tensor.quotable) ends at byte \(end) of the data, which has \(dataBytes)"
    case .unclaimedBytes(let path, let count): "\(path): \(count) bytes after the last tensor belong to none"
    case .unsupportedElementType(let path, let tensor, let elementType):
      "\(path): tensor \(tensor.quotable) is stored as \(elementType.quotable): must be F32, F16, BF16 or F64"
    case .changedWhileRead(let path, let tensor): "\(path): tensor \(tensor.quotable) could not be read whole: the file changed"
    }
  }
}
