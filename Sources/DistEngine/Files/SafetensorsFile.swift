import Crypto
import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A safetensors file open for reading. The header is read and checked at once, each tensor's bytes when it's asked for,
/// a piece at a time, converted to `Float` where the caller wants them.
package final class SafetensorsFile: Sendable {
  package let path: String
  /// In the order of their bytes in the file.
  package let tensors: [Safetensors.Tensor]
  package let metadata: [String: String]
  private let placeOfName: [String: Int]
  private let file: Int32
  private let dataStart: Int
  let identity: FileIdentity
  /// Of everything in front of the data: the same where the same tensors lie in the same places.
  package let headerDigest: SHA256.Digest

  /// - Throws: ``FileError`` where it can't be read, ``SafetensorsError`` where it isn't a whole, well-formed file: every byte of
  ///   the data belongs to exactly one tensor, whose length is that of its shape.
  package init(path: String) throws {
    self.path = path
    try FileBytes.checkReadable(path)
    file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw FileError(path: path, action: "read") }
    do {
      identity = try FileIdentity(file, path: path)
      let size = identity.size
      let header = try Self.readHeader(of: file, path: path, size: size)
      dataStart = 8 + header.count
      headerDigest = SHA256.hash(data: header)
      (tensors, metadata) = try SafetensorsHeader.parse(header, dataBytes: size - dataStart, path: path)
      placeOfName = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
    } catch {
      close(file)
      throw error
    }
  }

  deinit { close(file) }

  package func tensor(named name: String) -> Safetensors.Tensor? { placeOfName[name].map { tensors[$0] } }

  /// The whole file in memory, as it was when its header was read.
  func map() throws(FileError) -> MappedFile { try MappedFile(file, path: path, identity: identity) }

  /// Where a tensor lies, from the file's first byte.
  func bytesInFile(of tensor: Safetensors.Tensor) -> Range<Int> {
    dataStart + tensor.byteRange.lowerBound..<dataStart + tensor.byteRange.upperBound
  }

  /// Bytes of the data that are converted at a time.
  private static var pieceBytes: Int { 1 << 20 }

  /// Overwrites `destination` ([count] floats, row-major) with a tensor of this file.
  ///
  /// - Throws: ``SafetensorsError`` for an element type that isn't a float, ``FileError`` for a failed read.
  package func read(_ tensor: Safetensors.Tensor, into destination: UnsafeMutableBufferPointer<Float>) throws {
    precondition(destination.count == tensor.count, "\(destination.count) floats for tensor \(tensor.name) \(tensor.shape)")
    try forEachPiece(of: tensor) { piece, offset in
      _ = UnsafeMutableBufferPointer(rebasing: destination[offset..<(offset + piece.count)]).update(fromContentsOf: piece)
    }
  }

  /// Overwrites `destination` with some elements of a tensor of this file, converted.
  package func read(_ tensor: Safetensors.Tensor, _ elements: Range<Int>, into destination: UnsafeMutableBufferPointer<Float>) throws {
    precondition(elements.upperBound <= tensor.count && destination.count == elements.count, "elements of \(tensor.name)")
    try forEachPiece(of: tensor, elements) { piece, offset in
      _ = UnsafeMutableBufferPointer(rebasing: destination[offset..<(offset + piece.count)]).update(fromContentsOf: piece)
    }
  }

  /// Overwrites `destination` with some elements of an F32 tensor of this file, without a copy between.
  package func readFloats(_ tensor: Safetensors.Tensor, _ elements: Range<Int>, into destination: UnsafeMutableBufferPointer<Float>) throws {
    precondition(tensor.elementType == "F32" && elements.upperBound <= tensor.count && destination.count == elements.count, "elements of \(tensor.name)")
    let size = MemoryLayout<Float>.size
    try readFully(UnsafeMutableRawBufferPointer(destination), at: dataStart + tensor.byteRange.lowerBound + elements.lowerBound * size, tensor: tensor.name)
  }

  /// Calls `body` with the tensor's values, some at a time: floats and the number of those before them.
  ///
  /// - Parameter elements: nil: all.
  package func forEachPiece(
    of tensor: Safetensors.Tensor, _ elements: Range<Int>? = nil, _ body: (_ values: UnsafeMutableBufferPointer<Float>, _ offset: Int) throws -> Void
  ) throws {
    let elements = elements ?? 0..<tensor.count
    guard let type = Safetensors.ElementType(rawValue: tensor.elementType) else {
      throw SafetensorsError.unsupportedElementType(path: path, tensor: tensor.name, elementType: tensor.elementType)
    }
    let elementSize = Safetensors.elementSizes[tensor.elementType]!
    let pieceCount = min(elements.count, Self.pieceBytes / elementSize)
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: max(pieceCount * elementSize, 8), alignment: 64)
    let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: max(pieceCount, 1))
    defer {
      bytes.deallocate()
      floats.deallocate()
    }
    var done = 0
    while done < elements.count {
      let count = min(pieceCount, elements.count - done)
      let piece = UnsafeMutableRawBufferPointer(rebasing: bytes[..<(count * elementSize)])
      try readFully(piece, at: dataStart + tensor.byteRange.lowerBound + (elements.lowerBound + done) * elementSize, tensor: tensor.name)
      let values = UnsafeMutableBufferPointer(rebasing: floats[..<count])
      type.convert(UnsafeRawBufferPointer(piece), to: values)
      try body(values, done)
      done += count
    }
  }

  private func readFully(_ bytes: UnsafeMutableRawBufferPointer, at offset: Int, tensor: String) throws {
    var done = 0
    while done < bytes.count {
      let count = pread(file, bytes.baseAddress! + done, bytes.count - done, off_t(offset + done))
      if count > 0 {
        done += count
      } else if count == 0 {
        throw SafetensorsError.changedWhileRead(path: path, tensor: tensor)
      } else if errno != EINTR {
        throw FileError(path: path, action: "read")
      }
    }
  }

  /// The header's JSON. `size` is the file's.
  private static func readHeader(of file: Int32, path: String, size: Int) throws -> [UInt8] {
    var start = [UInt8](repeating: 0, count: min(size, SafetensorsHeader.startBytes))
    guard pread(file, &start, start.count, 0) == start.count else { throw FileError(path: path, action: "read") }
    let length = try SafetensorsHeader.length(start: start, size: size, path: path)
    var header = [UInt8](repeating: 0, count: length)
    let count = header.withUnsafeMutableBytes { pread(file, $0.baseAddress, $0.count, 8) }
    guard count == length else { throw FileError(path: path, action: "read") }
    return header
  }
}

extension Safetensors.ElementType {
  /// Little-endian elements to floats: exact but for `F64`, which is rounded to nearest.
  fileprivate func convert(_ bytes: UnsafeRawBufferPointer, to floats: UnsafeMutableBufferPointer<Float>) {
    switch self {
    case .float32:
      for i in floats.indices { floats[i] = Float(bitPattern: UInt32(littleEndian: load(bytes, i))) }
    case .float16:
      for i in floats.indices { floats[i] = Float(Float16(bitPattern: UInt16(littleEndian: load(bytes, i)))) }
    case .bfloat16:
      for i in floats.indices { floats[i] = Float(bitPattern: UInt32(UInt16(littleEndian: load(bytes, i))) << 16) }
    case .float64:
      for i in floats.indices { floats[i] = Float(Double(bitPattern: UInt64(littleEndian: load(bytes, i)))) }
    }
  }

  private func load<T: BitwiseCopyable>(_ bytes: UnsafeRawBufferPointer, _ index: Int) -> T {
    bytes.loadUnaligned(fromByteOffset: index * MemoryLayout<T>.size, as: T.self)
  }
}
