/// The state that a checkpoint holds, where this rank has it.
package struct CheckpointState {
  /// One kind of it: parameters, frozen parameters, one of the optimizer's moments.
  package struct Part {
    /// Of the tensors in the files.
    package let name: String
    /// Elements of the whole.
    package let count: Int
    /// Of the whole, in canonical order, what this rank holds; `values` has them one behind the other.
    package let held: [Range<Int>]
    package let values: Vector
    /// Whether every rank holds all of it. One that happens to hold all of what is divided may be the only one that does.
    package let isReplicated: Bool

    /// Some elements that this rank holds.
    func elements(_ range: Range<Int>) -> Vector? {
      var offset = 0
      for own in held {
        if own.lowerBound <= range.lowerBound, range.upperBound <= own.upperBound {
          let first = offset + range.lowerBound - own.lowerBound
          return Vector(rebasing: values[first..<first + range.count])
        }
        offset += own.count
      }
      return nil
    }
  }

  package static let parameters = "parameters"
  package static let frozen = "frozen"

  /// In the order of their names.
  package let parts: [Part]
  package let updates: Int

  /// - Parameters:
  ///   - parameters: `[P]`, all of them.
  ///   - frozen: those that come from no file; else empty.
  ///   - shards: what of the optimizer's state this rank has.
  package init(parameters: Vector, frozen: Vector, optimizer: Optimizer, shards: ShardPlan) {
    let count = parameters.count
    // Before the first update all moments are 0.
    let moments = optimizer.updates == 0 ? [] : optimizer.moments
    let all = moments.map {
      Part(name: $0.name, count: count, held: shards.updated, values: $0.values, isReplicated: shards.sharding == .none)
    }
      + [Part(name: Self.parameters, count: count, held: [0..<count], values: parameters, isReplicated: true)]
      + (frozen.isEmpty ? [] : [Part(name: Self.frozen, count: frozen.count, held: [0..<frozen.count], values: frozen, isReplicated: true)])
    parts = all.sorted { $0.name < $1.name }
    updates = optimizer.updates
  }

  /// Bytes of a checkpoint's tensors.
  package static func byteCount(parameters: Int, frozen: Int, moments: Int) -> Int {
    (parameters * (1 + moments) + frozen) * MemoryLayout<Float>.size
  }
}

/// Some elements of one part, as a tensor of a slice's file.
package struct CheckpointSlice: Equatable {
  package let part: String
  package let elements: Range<Int>

  /// With as many digits as any model needs, so that names are in the order of elements.
  var name: String { "\(part).\(Self.digits(elements.lowerBound))-\(Self.digits(elements.upperBound))" }

  private static func digits(_ number: Int) -> String {
    let text = "\(number)"
    return String(repeating: "0", count: max(0, 13 - text.count)) + text
  }

  package init(part: String, elements: Range<Int>) { (self.part, self.elements) = (part, elements) }

  /// - Returns: nil for a name that isn't one.
  init?(name: String) {
    guard let dot = name.lastIndex(of: ".") else { return nil }
    let bounds = name[name.index(after: dot)...].split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard bounds.count == 2, let first = bounds[0], let end = bounds[1], first >= 0, end >= first else { return nil }
    self.init(part: String(name[..<dot]), elements: first..<end)
    guard self.name == name else { return nil }
  }
}

/// Who writes a checkpoint.
package struct CheckpointWriters {
  /// This rank's place among those that write; nil for one that doesn't.
  let place: Int?
  /// Ranks that write.
  let count: Int
  /// Ranks that hold a slice which no writer has: they hand it to rank 0.
  let remote: [Int]

  /// - Parameter isDirectoryShared: whether all hosts see one directory; otherwise rank 0's host alone writes.
  package init(_ shards: ShardPlan, topology: NodeTopology, isDirectoryShared: Bool) {
    let ranks = topology.nodeOfRank.count
    // With `node`, every node has all of the state: the first one's ranks write.
    let takesAll = isDirectoryShared && shards.sharding != .node
    let first = topology.nodeOfRank.indices.filter { topology.nodeOfRank[$0] == topology.nodeOfRank[0] }
    count = takesAll ? ranks : first.count
    place = takesAll ? topology.rank : first.firstIndex(of: topology.rank)
    remote = shards.sharding == .optimizer && !isDirectoryShared ? topology.nodeOfRank.indices.filter { !first.contains($0) } : []
  }

  /// What this rank writes of a part: of one that every rank holds whole an even share, of another what it holds.
  func ranges(of part: CheckpointState.Part) -> [Range<Int>] {
    guard let place else { return [] }
    let ranges = part.isReplicated ? [part.count * place / count..<part.count * (place + 1) / count] : part.held
    return ranges.filter { !$0.isEmpty }
  }
}
