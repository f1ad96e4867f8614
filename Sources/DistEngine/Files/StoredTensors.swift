import Crypto

/// Matrices of 16-bit floats that may stay where files have them, by the names that a model's layers know them by.
package struct StoredTensors: Sendable {
  fileprivate struct Place: Sendable {
    let path: String
    let tensor: Safetensors.Tensor
    let type: NarrowFloat
  }

  /// A file as it was when its header was read.
  private struct File: Sendable {
    let identity: FileIdentity
    let header: SHA256.Digest
  }

  private var places: [String: Place] = [:]
  /// By path, every file that has any.
  private var files: [String: File] = [:]

  package init() {}

  /// - Parameter tensors: by the model's names; others than matrices of 16 bits are left out.
  init(_ tensors: [String: (file: SafetensorsFile, tensor: Safetensors.Tensor)]) {
    for (name, (file, tensor)) in tensors where tensor.shape.count == 2 && tensor.count > 0 {
      guard let type = NarrowFloat(tensor.elementType) else { continue }
      places[name] = Place(path: file.path, tensor: tensor, type: type)
      files[file.path] = File(identity: file.identity, header: file.headerDigest)
    }
  }

  package func contains(_ name: String) -> Bool { places[name] != nil }

  /// The same where files have the same tensors in the same places.
  var layoutDigest: [UInt8] { files.sorted { $0.key < $1.key }.flatMap { Array($0.value.header) } }

  /// The same where these are the same files of one machine.
  var identity: [UInt8] { files.sorted { $0.key < $1.key }.flatMap { file in withUnsafeBytes(of: file.value.identity) { Array($0) } } }

  /// The tensors of these names, mapped.
  ///
  /// - Throws: also where a file isn't what it was when its header was read.
  package func map(_ names: [String]) throws -> MappedTensors {
    let places = names.map { name in
      guard let place = self.places[name] else { preconditionFailure("\(name) is in no file") }
      return place
    }
    var files: [String: (file: SafetensorsFile, mapped: MappedFile)] = [:]
    for path in Set(places.map(\.path)) {
      let file = try SafetensorsFile(path: path)
      guard file.identity == self.files[path]?.identity else { throw MappedFile.changed(path) }
      files[path] = (file, try file.map())
    }
    let matrices = places.map { place in
      let (file, mapped) = files[place.path]!
      let start = mapped.bytes.baseAddress! + file.bytesInFile(of: place.tensor).lowerBound
      return NarrowMatrix(start, place.type, rows: place.tensor.shape[0], columns: place.tensor.shape[1])
    }
    return MappedTensors(matrices, of: places.map { ($0.path, $0.tensor.name) }, in: files.values.map(\.mapped))
  }
}

/// Tensors in mapped files.
package final class MappedTensors {
  /// In the order in which they were asked for.
  package let matrices: [NarrowMatrix]
  private let tensors: [(path: String, name: String)]
  private let files: [MappedFile]

  fileprivate init(_ matrices: [NarrowMatrix], of tensors: [(path: String, name: String)], in files: [MappedFile]) {
    (self.matrices, self.tensors, self.files) = (matrices, tensors, files.sorted { $0.path < $1.path })
  }

  /// - Throws: ``FileError`` where a file isn't what it was when it was mapped.
  package func checkUnchanged() throws(FileError) { for file in files { try file.checkUnchanged() } }

  /// Of every so many'th tensor, for one of several ranks that read them together.
  ///
  /// - Returns: file and name of the first that has a value that isn't finite.
  package func firstNotFinite(part: Int = 0, of parts: Int = 1) -> (path: String, tensor: String)? {
    stride(from: part, to: matrices.count, by: parts).first { !matrices[$0].isFinite }.map { (tensors[$0].path, tensors[$0].name) }
  }
}

extension NarrowFloat {
  /// nil: of another width.
  fileprivate init?(_ elementType: String) {
    switch Safetensors.ElementType(rawValue: elementType) {
    case .bfloat16: self = .bfloat16
    case .float16: self = .float16
    default: return nil
    }
  }
}
