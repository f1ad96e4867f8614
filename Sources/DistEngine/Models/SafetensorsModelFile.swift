import Foundation

/// Model directories in Hugging Face's layout: `config.json` and `model.safetensors`, or shards of it listed in
/// `model.safetensors.index.json`.
package enum ModelFile {
  /// What `config.json` says.
  package struct Description: Sendable {
    package let configuration: ModelConfiguration
    /// Settings that training here leaves aside, such as `resid_pdrop 0.1`: worth a line in the log.
    package let ignoredSettings: [String]
  }

  /// A file in a directory that says how text becomes the ids that its model knows, other than by taking bytes; nil where there is none.
  package static func tokenizerFile(directory: String) -> String? {
    ["tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model"].map { "\(directory)/\($0)" }
      .first { FileManager.default.fileExists(atPath: $0) }
  }

  /// - Throws: ``FileError``, ``ModelConfigurationError`` with the file's path.
  package static func readConfiguration(directory: String) throws -> Description {
    let path = "\(directory)/config.json"
    let json = Data(try FileBytes.read(path))
    do {
      return Description(
        configuration: try ModelConfiguration(json: json), ignoredSettings: try ModelConfiguration.ignoredSettings(inJSON: json))
    } catch {
      throw ModelConfigurationError.inFile(path: path, error)
    }
  }

  /// Overwrites `slab` ([layout.totalCount]) with a directory's parameters, converted to `Float`.
  ///
  /// Names count with and without their family's prefix (`transformer.`), and behind the prefixes `_orig_mod.` and `module.`; buffers that a
  /// family's files store beside its parameters are passed over. A tied head that is stored a second time has to equal the embedding.
  /// - Throws: ``ModelFileError``, ``SafetensorsError``, ``FileError``. What the slab then holds is undefined.
  package static func readParameters(
    directory: String, layout: ParameterLayout, into slab: UnsafeMutableBufferPointer<Float>
  ) throws {
    precondition(slab.count == layout.totalCount, "\(slab.count) floats for a model of \(layout.totalCount)")
    try readParameters(directory: directory, layout: layout) { UnsafeMutableBufferPointer(rebasing: slab[$0.range]) }
  }

  /// The same into memory that is given tensor by tensor; of nil a tensor isn't read.
  ///
  /// - Parameter allowsNewHead: whether a classifier that isn't there, or is for another number of labels, is left as it is in memory.
  package static func readParameters(
    directory: String, layout: ParameterLayout, allowsNewHead: Bool = false,
    into values: (ParameterLayout.Entry) -> UnsafeMutableBufferPointer<Float>?
  ) throws {
    let checked = try checkedTensors(directory: directory, layout: layout, allowsNewHead: allowsNewHead)
    let embedding = TensorNames(of: layout).tokenTable
    for entry in layout {
      guard let (file, tensor) = checked.stored[entry.name], let values = values(entry) else { continue }
      try file.read(tensor, into: values)
      guard values.allFinite else { throw ModelFileError.notFinite(path: file.path, tensor: tensor.name) }
    }
    if let tiedHead = checked.tiedHead, let table = checked.stored[embedding] { try checkTied(tiedHead, equals: table) }
  }

  /// Matrices of a directory that may stay in its files: those of 16-bit floats. Nothing where the weights aren't there.
  ///
  /// - Parameter allowsNewHead: as ``readParameters(directory:layout:into:)`` takes it.
  package static func mappableTensors(
    directory: String, configuration: ModelConfiguration, allowsNewHead: Bool
  ) throws -> StoredTensors {
    guard isThere(directory: directory) else { return StoredTensors() }
    return StoredTensors(try checkedTensors(directory: directory, layout: configuration.base.parameterLayout, allowsNewHead: allowsNewHead).stored)
  }

  private static func isThere(directory: String) -> Bool {
    [weightsName, indexName].contains { FileManager.default.fileExists(atPath: "\(directory)/\($0)") }
  }

  /// Compares the headers of a directory's weights with what `config.json` says, before anything is planned or allocated for it.
  ///
  /// Weights that aren't there are not missed: one rank alone reads them.
  /// - Parameter adapter: the directory of an adapter, which has what the model lacks of a classifier.
  /// - Returns: what is to be known of heads: which is new, which isn't used.
  /// - Throws: what ``readParameters(directory:layout:into:)`` throws of names and shapes.
  @discardableResult
  package static func checkShapes(
    directory: String, configuration: ModelConfiguration, allowsNewHead: Bool = false, adapter: String? = nil
  ) throws -> [String] {
    guard isThere(directory: directory) else { return [] }
    let allowsNewHead = allowsNewHead || adapter != nil
    let checked = try checkedTensors(directory: directory, layout: configuration.base.parameterLayout, allowsNewHead: allowsNewHead)
    var notes: [String] = []
    if let adapter {
      if let missing = checked.new.first(where: { !(configuration.adapters?.savedParameters.contains($0) ?? false) }) {
        throw AdapterError.headMissing(model: directory, tensor: missing, adapter: adapter)
      }
    } else if !checked.new.isEmpty {
      notes.append("\(directory) has no classifier for \(configuration.labelCount) labels: \(checked.new.joined(separator: ", ")) are new")
    }
    if let first = checked.unused.first {
      let others = checked.unused.count - 1
      notes.append("\(directory): \(first.quotable)\(others == 0 ? "" : " and \(others) more") belong to another head and aren't used")
    }
    return notes
  }

  /// A directory's tensors: all of a layout and no others.
  private struct CheckedTensors {
    var stored: [String: Stored]
    /// A tied head that is stored a second time.
    var tiedHead: Stored?
    /// Tensors of a classifier that isn't there.
    var new: [String] = []
    /// Tensors of another head.
    var unused: [String] = []
  }

  private static func checkedTensors(directory: String, layout: ParameterLayout, allowsNewHead: Bool = false) throws -> CheckedTensors {
    let names = TensorNames(of: layout)
    var checked = CheckedTensors(stored: try storedTensors(directory: directory, layout: layout, names: names))
    if layout.contains(where: { $0.role == .classifier }) {
      checked.unused = checked.stored.keys.filter { name in
        layout.entry(named: name) == nil && names.unused.contains { name.hasPrefix($0) || name.hasPrefix(names.prefix + $0) }
      }.sorted()
      for name in checked.unused { checked.stored[name] = nil }
      if allowsNewHead { checked.new = missingClassifier(layout, in: &checked.stored) }
    } else if layout.entry(named: names.head) == nil, let head = checked.stored.removeValue(forKey: names.head) {
      checked.tiedHead = head
      if checked.stored[names.tokenTable] == nil { checked.stored[names.tokenTable] = head }
    }
    try check(checked.stored, against: layout, without: checked.new, directory: directory)
    return checked
  }

  /// Tensors of a classifier's layers that a file lacks, or has for another number of labels: those are taken out. A layer is there whole or not at
  /// all: one of which a part is there isn't new, and its other tensors are missed.
  private static func missingClassifier(_ layout: ParameterLayout, in stored: inout [String: Stored]) -> [String] {
    layout.groups.flatMap { group -> [String] in
      let entries = layout[group]
      guard entries.allSatisfy({ $0.role == .classifier }) else { return [] }
      let isAbsent = entries.allSatisfy { stored[$0.name] == nil }
      let isOfOtherLabels = entries.allSatisfy { entry in
        guard let shape = stored[entry.name]?.tensor.shape else { return false }
        return shape.count == entry.shape.count && shape.first != entry.shape.first && shape.dropFirst() == entry.shape.dropFirst()
      }
      guard isAbsent || isOfOtherLabels else { return [] }
      for entry in entries { stored[entry.name] = nil }
      return entries.map(\.name)
    }
  }

  /// Makes a directory that `from_pretrained` loads. Each file appears whole or not at all, the configuration
  /// last.
  ///
  /// - Parameter parameters: [configuration.parameterCount], in canonical order.
  /// - Throws: ``FileError``.
  package static func write(
    directory: String, configuration: ModelConfiguration, parameters: UnsafeBufferPointer<Float>
  ) throws {
    let layout = configuration.parameterLayout
    precondition(parameters.count == layout.totalCount, "\(parameters.count) floats for a model of \(layout.totalCount)")
    try write(directory: directory, configuration: configuration, layout: layout) { .floats(UnsafeBufferPointer(rebasing: parameters[$0.range])) }
  }

  /// The same from memory that is given tensor by tensor.
  ///
  /// - Parameters:
  ///   - layout: of all tensors.
  ///   - check: of ``Safetensors/write(_:metadata:to:check:)``.
  package static func write(
    directory: String, configuration: ModelConfiguration, layout: ParameterLayout, check: () throws -> Void = {},
    values: (ParameterLayout.Entry) -> Safetensors.Values
  ) throws {
    try AtomicFile.makeDirectory(directory)
    let tensors = layout.map { Safetensors.Source(name: $0.name, shape: $0.shape, values: values($0)) }
    try Safetensors.write(tensors, to: "\(directory)/\(weightsName)", check: check)
    try AtomicFile.write(configuration.json(), to: "\(directory)/config.json")
  }

  private static let weightsName = "model.safetensors"
  private static let indexName = "model.safetensors.index.json"

  private typealias Stored = (file: SafetensorsFile, tensor: Safetensors.Tensor)

  /// Every parameter that a directory holds, by the name that the model's class gives it.
  private static func storedTensors(directory: String, layout: ParameterLayout, names: TensorNames) throws -> [String: Stored] {
    var stored: [String: Stored] = [:]
    for path in try weightFiles(directory: directory) {
      let file = try SafetensorsFile(path: path)
      for tensor in file.tensors {
        let own = unwrapped(tensor.name)
        if names.isBuffer(own) { continue }
        let isWhole = own == names.head || own.hasPrefix(names.prefix) || layout.entry(named: String(own)) != nil
        let name = isWhole ? String(own) : names.prefix + own
        guard stored.updateValue((file, tensor), forKey: name) == nil else {
          throw ModelFileError.storedTwice(path: path, tensor: name)
        }
      }
    }
    return stored
  }

  /// Whether a directory has the one file that is written here.
  static func hasWeights(directory: String) -> Bool { FileManager.default.fileExists(atPath: "\(directory)/\(weightsName)") }

  static func weightFiles(directory: String) throws -> [String] {
    let whole = "\(directory)/\(weightsName)"
    let index = "\(directory)/\(indexName)"
    if FileManager.default.fileExists(atPath: whole) { return [whole] }
    guard FileManager.default.fileExists(atPath: index) else {
      throw ModelFileError.noWeights(directory: directory, others: otherWeights(directory: directory))
    }

    return try weightNames(inIndex: FileBytes.read(index), path: index).map { "\(directory)/\($0)" }
  }

  /// The files that an index names, each once, in the order of their names.
  package static func weightNames(inIndex bytes: [UInt8], path: String) throws(ModelFileError) -> [String] {
    let value: JSONValue
    do { value = try JSONScanner.parse(file: bytes) } catch {
      throw .malformedIndex(path: path, reason: error.described(in: bytes))
    }
    guard let fields = value.object?["weight_map"]?.object else {
      throw .malformedIndex(path: path, reason: "must be an object that has a weight_map")
    }
    var names: Set<String> = []
    // In the order of their names: every rank must refuse the same one.
    for (_, value) in fields.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
      guard let name = value.string else { throw .malformedIndex(path: path, reason: "weight_map: must be names of files") }
      guard name.utf8.count <= 255 else { throw .malformedIndex(path: path, reason: "weight_map: a name longer than 255 bytes") }
      names.insert(name)
    }
    let sorted = names.sorted()
    // The system takes a name up to its first NUL: another file.
    let isOutside = { (name: String) in
      ["", ".", ".."].contains(name) || name.utf8.contains { $0 < 0x20 || $0 == 0x2F || $0 == 0x7F }
    }
    if let outside = sorted.first(where: isOutside) {
      throw .malformedIndex(path: path, reason: "\"\(outside.quotable)\" is not a file of the directory")
    }
    return sorted
  }

  /// Weights in forms that aren't read here.
  private static func otherWeights(directory: String) -> [String] {
    let endings = ["bin", "pt", "pth", "ckpt", "h5", "msgpack", "gguf", "onnx", "safetensors"]
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    return names.filter { endings.contains(($0 as NSString).pathExtension.lowercased()) }.sorted()
  }

  /// A name without what torch.compile and DistributedDataParallel put in front of it.
  private static func unwrapped(_ name: String) -> Substring {
    var name = name[...]
    while let prefix = ["_orig_mod.", "module."].first(where: name.hasPrefix) { name = name.dropFirst(prefix.count) }
    return name
  }

  /// - Parameter new: what need not be there.
  private static func check(
    _ stored: [String: Stored], against layout: ParameterLayout, without new: [String], directory: String
  ) throws {
    let missing = layout.filter { stored[$0.name] == nil && !new.contains($0.name) }
    if let first = missing.first {
      throw ModelFileError.missing(directory: directory, tensor: first.name, shape: first.shape, others: missing.count - 1)
    }
    for entry in layout {
      guard let (file, tensor) = stored[entry.name] else { continue }
      guard tensor.shape == entry.shape else {
        throw ModelFileError.misshapen(path: file.path, tensor: tensor.name, found: tensor.shape, expected: entry.shape)
      }
    }
    let unknown = stored.filter { layout.entry(named: $0.key) == nil }.sorted { $0.key < $1.key }
    if let (_, (file, tensor)) = unknown.first {
      throw ModelFileError.unknown(path: file.path, tensor: tensor.name, shape: tensor.shape, others: unknown.count - 1)
    }
  }

  private static func checkTied(_ head: Stored, equals table: Stored) throws {
    let (file, tensor) = head
    guard tensor.shape == table.tensor.shape else {
      throw ModelFileError.misshapen(path: file.path, tensor: tensor.name, found: tensor.shape, expected: table.tensor.shape)
    }
    try file.forEachPiece(of: tensor) { piece, offset in
      let own = AlignedBuffer<Float>(count: piece.count)
      try table.file.read(table.tensor, offset..<offset + piece.count, into: own.elements)
      guard piece.elementsEqual(own.elements) else {
        throw ModelFileError.tiedHeadDiffers(path: file.path, tensor: tensor.name)
      }
    }
  }
}

extension UnsafeMutableBufferPointer<Float> {
  fileprivate var allFinite: Bool {
    var sum: Float = 0
    for value in self { sum += value * 0 }
    return sum == 0
  }
}
