extension SequenceMemory {
  /// What MPI itself keeps in the file system for shared memory, for each rank of a node.
  private static let sharedReservePerRank = 16 << 20

  /// Memory for a data set, zero: one that the ranks of a node share, where there are several and the file system for shared memory has room for it; else
  /// each rank's own. Collective over the node.
  static func make(_ layout: SequenceLayout, node: Communicator?, shared: Bool) throws -> SequenceMemory {
    guard let node, node.size > 1, shared else { return SequenceMemory(layout) }
    let room = (AvailableMemory.current.sharedByteCount ?? .max) - node.size * sharedReservePerRank
    guard try node.broadcast(layout.byteCount <= room) else { return SequenceMemory(layout) }
    let window = try SharedWindow(byteCount: node.rank == 0 ? layout.byteCount : 0, touchesPages: false, communicator: node)
    return SequenceMemory(layout, in: window)
  }

  private convenience init(_ layout: SequenceLayout, in window: SharedWindow) {
    self.init(layout, in: UnsafeMutableRawBufferPointer(window.elements(ofRank: 0, as: UInt8.self)), owner: window)
  }

  /// Returns when what each rank has moved here is where all of them see it: in the memory that they share, or, where each has its own, in everyone's.
  /// Collective over the node.
  func complete(_ places: BlockPlaces, node: Communicator) throws {
    if let window = owner as? SharedWindow { return try window.fence() }
    for block in places.blocks {
      func tell<Element: BitwiseCopyable>(_ elements: UnsafeMutableBufferPointer<Element>, _ range: Range<Int>) throws {
        if !elements.isEmpty { try node.broadcast(UnsafeMutableBufferPointer(rebasing: elements[range]), from: block.rank) }
      }
      try tell(offsets, block.records.lowerBound + 1..<block.records.upperBound + 1)
      try tell(ids, block.ids)
      try tell(types, block.ids)
      try tell(labels, block.records)
      try tell(lossStarts, block.records)
    }
  }
}

extension UnitIndex {
  /// The units of the records of all ranks of a node, in the order of the data. Collective over the node.
  ///
  /// - Parameter blocks: of this rank.
  init(gathering blocks: [UnitNames], _ places: BlockPlaces, node: Communicator?) throws {
    guard let node else {
      self.init(UnitNames(joining: blocks))
      return
    }
    let all = try node.allgather(bytes: blocks.flatMap(\.bytes)).map(UnitNames.blocks)
    self.init(UnitNames(joining: places.blocks.map { all[$0.rank][$0.indexOfRank] }))
  }
}

extension UnitNames {
  /// For the other ranks: how many names and records there are, each name with its length, each record's unit.
  fileprivate var bytes: [UInt8] {
    var bytes: [UInt8] = []
    func append(_ number: Int) { withUnsafeBytes(of: number) { bytes.append(contentsOf: $0) } }
    append(names.count)
    append(units.count)
    for name in names {
      append(name.count)
      bytes += name
    }
    units.forEach(append)
    return bytes
  }

  fileprivate static func blocks(_ bytes: [UInt8]) -> [UnitNames] {
    var rest = bytes[...]
    func number() -> Int {
      defer { rest = rest.dropFirst(MemoryLayout<Int>.size) }
      return rest.withUnsafeBytes { $0.loadUnaligned(as: Int.self) }
    }
    var blocks: [UnitNames] = []
    while !rest.isEmpty {
      let (nameCount, unitCount) = (number(), number())
      let names = (0..<nameCount).map { _ in
        let count = number()
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
      }
      var block = UnitNames()
      for _ in 0..<unitCount { block.append(names[number()]) }
      blocks.append(block)
    }
    return blocks
  }
}
