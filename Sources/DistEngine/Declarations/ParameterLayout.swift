import Foundation

/// Parameter tensors in canonical order: names sorted by their bytes, each row-major, one after the other without padding. An element's
/// place in this order identifies it everywhere: in the slab, in noise, in files.
public struct ParameterLayout: Sendable, RandomAccessCollection {
  public struct Entry: Sendable, Hashable {
    /// Place in the canonical order.
    public let index: Int
    public let name: String
    public let shape: [Int]
    /// Floats before the tensor's first.
    public let offset: Int
    /// Floats in the tensor.
    public let count: Int
    /// Of its declaration.
    package let group: Int
    package let stage: Int
    package let fresh: FreshValues
    package let role: ParameterRole

    public var range: Range<Int> { offset..<(offset + count) }
  }

  private let entries: [Entry]
  private let placeOfName: [String: Int]
  /// Tensors by group, which lie one behind the other: they get their gradient together.
  package let groups: [Range<Int>]
  /// Floats in all tensors.
  public let totalCount: Int

  /// - Parameter declarations: in any order; names are unique, and no other tensor's name stands between those of a group.
  package init(_ declarations: [ParameterDeclaration]) {
    var offset = 0
    let sorted = declarations.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    entries = sorted.enumerated().map { index, tensor in
      let entry = Entry(
        index: index, name: tensor.name, shape: tensor.shape, offset: offset, count: tensor.shape.reduce(1, *), group: tensor.group,
        stage: tensor.stage, fresh: tensor.fresh, role: tensor.role)
      offset += entry.count
      return entry
    }
    totalCount = offset
    placeOfName = Dictionary(uniqueKeysWithValues: entries.map { ($0.name, $0.index) })
    groups = Self.runs(of: entries.map(\.group)).map(\.range)
    precondition(groups.count == Set(entries.map(\.group)).count, "another tensor stands between those of a group")
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int { entries.count }
  public subscript(position: Int) -> Entry { entries[position] }

  /// The tensor of that name, or nil.
  public func entry(named name: String) -> Entry? { placeOfName[name].map { entries[$0] } }

  /// The tensor of that name, which is known to exist.
  public subscript(name: String) -> Entry {
    guard let entry = entry(named: name) else { preconditionFailure("no parameter \(name)") }
    return entry
  }

  /// The tensors of a stage, which lie one behind the other; nil where it has none.
  package func tensors(ofStage stage: Int) -> Range<Int>? {
    let runs = Self.runs(of: entries.map(\.stage)).filter { $0.value == stage }
    precondition(runs.count <= 1, "tensors of another stage stand between those of stage \(stage)")
    return runs.first?.range
  }

  /// The tensors as matrices of one slab, by index; a vector is one row.
  package var extents: [TensorSlab.Extent] {
    map { entry in
      TensorSlab.Extent(
        offset: entry.offset, rows: entry.shape.count == 1 ? 1 : entry.shape[0], columns: entry.shape.last ?? 1)
    }
  }

  /// In what order layers' gradients are known.
  package enum LayerOrder {
    /// From the last stage down to the first, as a backward pass goes.
    case backward
    /// The first stage, then the others from the last one down.
    case embeddingsFirst
  }

  /// The layers' tensors, those of the last stage first.
  package var groupsInBackwardOrder: [Range<Int>] { inOrder(.backward) }

  private func inOrder(_ order: LayerOrder) -> [Range<Int>] {
    let place = { (layer: Range<Int>) in
      let stage = entries[layer.lowerBound].stage
      return order == .embeddingsFirst && stage == 0 ? Int.min : -stage
    }
    return groups.enumerated().sorted { (place($0.element), $0.offset) < (place($1.element), $1.offset) }.map(\.element)
  }

  /// Elements of a layer, whose tensors follow each other.
  package func floats(ofLayer layer: Range<Int>) -> Range<Int> { entries[layer.lowerBound].offset..<entries[layer.upperBound - 1].range.upperBound }

  /// All elements in parts: of one stage each, one behind the other in the canonical order, in the order of the stages.
  ///
  /// - Parameter capacity: floats of a part, 1 or more.
  package func parts(inOrder order: LayerOrder, capacity: Int) -> [Range<Int>] {
    var runs: [(stage: Int, floats: Range<Int>)] = []
    for layer in inOrder(order) {
      let floats = floats(ofLayer: layer)
      let stage = entries[layer.lowerBound].stage
      if let last = runs.last, last.stage == stage, last.floats.upperBound == floats.lowerBound {
        runs[runs.count - 1].floats = last.floats.lowerBound..<floats.upperBound
      } else {
        runs.append((stage, floats))
      }
    }
    return runs.flatMap { run in
      stride(from: run.floats.lowerBound, to: run.floats.upperBound, by: capacity).map { $0..<Swift.min($0 + capacity, run.floats.upperBound) }
    }
  }

  /// Writes fresh values. Element j's number is a function of the key and j alone.
  package func initialise(_ parameters: Vector, from source: GaussianSource) {
    precondition(parameters.count == totalCount)
    for tensor in self { tensor.initialise(Vector(rebasing: parameters[tensor.range]), from: source) }
  }

  private static func runs(of values: [Int]) -> [(value: Int, range: Range<Int>)] {
    var runs: [(value: Int, range: Range<Int>)] = []
    for (index, value) in values.enumerated() {
      if let last = runs.last, last.value == value {
        runs[runs.count - 1].range = last.range.lowerBound..<index + 1
      } else {
        runs.append((value, index..<index + 1))
      }
    }
    return runs
  }
}

extension ParameterLayout.Entry {
  /// Writes the tensor's fresh values: those of its elements in the layout that it is an entry of.
  func initialise(_ values: Vector, from source: GaussianSource) {
    switch fresh {
    case .zeros: values.update(repeating: 0)
    case .ones: values.update(repeating: 1)
    case .normal(let deviation):
      values.update(repeating: 0)
      source.add(step: 0, elements: range, scale: deviation, to: values)
    case .uniform(let bound):
      values.update(repeating: 0)
      source.add(step: 0, elements: range, scale: 1, to: values)
      // A normal z behind its own distribution function is uniform, 2Φ(z) − 1 = erf(z/√2).
      for index in values.indices { values[index] = Float(bound * erf(Double(values[index]) / 2.0.squareRoot())) }
    }
  }
}
