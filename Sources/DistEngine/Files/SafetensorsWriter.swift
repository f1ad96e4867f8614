import Foundation

extension Safetensors {
  /// Where a tensor's values are.
  package enum Values {
    case floats(UnsafeBufferPointer<Float>)
    /// Written as floats.
    case narrow(NarrowMatrix)

    var count: Int {
      switch self {
      case .floats(let values): values.count
      case .narrow(let matrix): matrix.rows * matrix.columns
      }
    }
  }

  /// A tensor to be written: its values stay where they are until then.
  package struct Source {
    package let name: String
    package let shape: [Int]
    /// [product of shape], row-major.
    package let values: Values

    package init(name: String, shape: [Int], values: UnsafeBufferPointer<Float>) {
      self.init(name: name, shape: shape, values: .floats(values))
    }

    package init(name: String, shape: [Int], values: Values) {
      precondition(values.count == shape.reduce(1, *), "\(values.count) floats for tensor \(name) \(shape)")
      self.name = name
      self.shape = shape
      self.values = values
    }
  }

  /// Writes a file of F32 tensors, atomically, straight from where the values are. Equal tensors give equal bytes: header
  /// and data are in the order of the names' bytes, the header is padded with spaces to a multiple of 8 bytes.
  ///
  /// - Parameter check: whether what was read on the way is still what it was: what it throws leaves no file of that name.
  /// - Throws: ``FileError``.
  package static func write(
    _ tensors: [Source], metadata: [String: String] = ["format": "pt"], to path: String, check: () throws -> Void = {}
  ) throws {
    let sorted = tensors.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    let header = start(sorted.map { ($0.name, $0.shape) }, metadata: metadata)
    try AtomicFile.write(to: path) { writer in
      try writer.append(header)
      for tensor in sorted {
        switch tensor.values {
        case .floats(let values): try writer.append(UnsafeRawBufferPointer(values))
        case .narrow(let matrix): try append(matrix, to: &writer)
        }
      }
      try check()
    }
  }

  /// A row at a time.
  private static func append(_ matrix: NarrowMatrix, to writer: inout AtomicFile.Writer) throws(FileError) {
    let row = AlignedBuffer<Float>(count: matrix.columns)
    for index in 0..<matrix.rows {
      matrix.block(index..<index + 1, 0..<matrix.columns).widen(into: Matrix(row.base, rows: 1, columns: matrix.columns))
      try writer.append(UnsafeRawBufferPointer(row.elements))
    }
  }

  /// What stands in front of the data of F32 tensors: the header, and its length before it.
  ///
  /// - Parameter tensors: in the order of the names' bytes, as their data follow.
  package static func start(_ tensors: [(name: String, shape: [Int])], metadata: [String: String]) -> [UInt8] {
    var fields: [String] = []
    if !metadata.isEmpty {
      let pairs = metadata.sorted { $0.key < $1.key }.map { "\(quoted($0.key)):\(quoted($0.value))" }
      fields.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    var offset = 0
    for tensor in tensors {
      let end = offset + tensor.shape.reduce(1, *) * MemoryLayout<Float>.size
      let shape = tensor.shape.map { "\($0)" }.joined(separator: ",")
      fields.append("\(quoted(tensor.name)):{\"dtype\":\"F32\",\"shape\":[\(shape)],\"data_offsets\":[\(offset),\(end)]}")
      offset = end
    }
    var header = Array("{\(fields.joined(separator: ","))}".utf8)
    while !header.count.isMultiple(of: 8) { header.append(UInt8(ascii: " ")) }
    return withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header
  }

  /// A string as JSON.
  private static func quoted(_ string: String) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    do { return String(decoding: try encoder.encode(string), as: UTF8.self) } catch {
      preconditionFailure("a name as JSON: \(error)")
    }
  }
}
