/// Reads records and makes their sequences. The ranks of a node do it side by side, each its blocks of the files, and hold what they made once; what they
/// make is what one rank would.
///
/// Ids are gathered in pieces while nobody knows how many there will be, then moved to where they stay, and each piece given back: at the peak a node holds
/// its data set once, and for every rank a block of text and a piece.
package struct SequenceLoader<Source: Tokenizer> {
  private let tokenizer: Source
  private let format: SequenceFormat
  private let longestSequence: Int
  private let fields: RecordFields
  /// nil: this process alone.
  private let ranks: DataRanks?
  private let blockBytes: Int
  private let sharesMemory: Bool

  /// - Parameters:
  ///   - longestSequence: T.
  ///   - sharesMemory: false: each rank has memory of its own, as where there is no room for one that they share.
  package init(
    tokenizer: Source, format: SequenceFormat, longestSequence: Int, fields: RecordFields, ranks: DataRanks?, blockBytes: Int = RecordFile.blockBytes,
    sharesMemory: Bool = true
  ) {
    (self.tokenizer, self.format, self.longestSequence, self.fields) = (tokenizer, format, longestSequence, fields)
    (self.ranks, self.blockBytes, self.sharesMemory) = (ranks, blockBytes, sharesMemory)
  }

  /// Collective, where there are ranks.
  ///
  /// - Parameters:
  ///   - hashesRecords: whether anybody asks which records there are: then the first rank of the job gets it told.
  ///   - progress: told how many bytes of all are read.
  /// - Throws: ``DataError`` that names the file and the line, the first of the data whoever found it.
  package func load(
    _ sources: [RecordSource], hashesRecords: Bool = false, progress: (_ bytes: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> (dataset: TokenizedDataset, hashes: RecordHashes?) {
    var own = SequencePart(
      SequenceDraft(tokenizer: tokenizer, format: format, longestSequence: longestSequence), hashesRecords: hashesRecords, hasUnits: fields.unit != nil)
    if let ranks {
      try ranks.agree("reading the data") { place in try read(sources, into: &own, place: &place, progress) }
    } else {
      var place = 0
      try read(sources, into: &own, place: &place, progress)
    }
    return try gather(own, sources)
  }

  /// Reads this rank's part.
  private func read(
    _ sources: [RecordSource], into own: inout SequencePart<Source>, place: inout Int, _ progress: (_ bytes: Int, _ total: Int) -> Void
  ) throws(DataError) {
    let (part, parts) = (ranks?.node.rank ?? 0, ranks?.node.size ?? 1)
    let total = sources.reduce(0) { $0 + $1.byteCount }
    var passed = 0
    for (number, source) in sources.enumerated() {
      place = number << 40
      // The first blocks of many small files are a rank's each.
      var blocks = try source.blocks(part: part, of: parts, firstPart: number, blockBytes: blockBytes)
      func next() throws(DataError) -> RecordStore? {
        defer { place = number << 40 | blocks.index }
        return try blocks.next()
      }
      while let records = try next() {
        try own.append(records, source: number, index: blocks.index, name: source.name)
        progress(passed + blocks.bytesPassed, total)
      }
      passed += source.byteCount
    }
  }

  /// Brings the parts of all ranks together.
  private func gather(_ own: SequencePart<Source>, _ sources: [RecordSource]) throws -> (dataset: TokenizedDataset, hashes: RecordHashes?) {
    let node = ranks?.node
    let places = try BlockPlaces(node.gathered(own.blocks), sources: sources.count)
    let check = { () throws(DataError) in
      if let empty = places.recordCounts.firstIndex(of: 0) { throw DataError.noRecords(path: sources[empty].name) }
    }
    if let ranks { try ranks.world.agree("reading the data", check) } else { try check() }
    let hasTypes = try node.gathered([own.draft.hasTypes]).joined().contains(true)
    let layout = SequenceLayout(
      records: places.recordCount, ids: places.idCount, hasTypes: hasTypes, hasLabels: fields.label != nil, hasLossStarts: fields.prompt != nil)
    let memory = try SequenceMemory.make(layout, node: node, shared: sharesMemory)
    own.draft.move(to: memory, places.blocks.filter { $0.rank == node?.rank ?? 0 })
    if let node { try memory.complete(places, node: node) }
    let statistics = try node.gathered([own.draft.statistics]).joined().reduce(SequenceStatistics(), +)
    let units = try own.units.map { try UnitIndex(gathering: $0, places, node: node) } ?? UnitIndex(recordCount: places.recordCount)
    let dataset = TokenizedDataset(memory, format: format, statistics: statistics, units: units)
    guard let hashes = own.hashes else { return (dataset, nil) }
    guard let ranks else { return (dataset, RecordHashes(hashes)) }
    let all = try ranks.node.gather(bytes: hashes.bytes)
    return (dataset, ranks.world.rank == 0 ? all.map { RecordHashes($0.flatMap([UInt64].init(bytes:))) } : nil)
  }
}

extension Communicator? {
  /// Every rank's values, in the order of ranks; without ranks one's own.
  fileprivate func gathered<Value: BitwiseCopyable>(_ own: [Value]) throws -> [[Value]] {
    guard let self else { return [own] }
    return try self.allgather(bytes: own.bytes).map([Value].init(bytes:))
  }
}

extension Array where Element: BitwiseCopyable {
  /// As they lie in memory, for ranks of one representation.
  fileprivate var bytes: [UInt8] { withUnsafeBytes { [UInt8]($0) } }

  fileprivate init(bytes: [UInt8]) {
    let stride = MemoryLayout<Element>.stride
    self = bytes.withUnsafeBytes { bytes in
      (0..<bytes.count / stride).map { bytes.loadUnaligned(fromByteOffset: $0 * stride, as: Element.self) }
    }
  }
}
