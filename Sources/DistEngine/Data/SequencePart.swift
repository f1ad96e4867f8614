/// One rank's part of a corpus as sequences, with which block of the corpus each came from.
struct SequencePart<Source: Tokenizer> {
  /// A block as far as the other ranks have to know it.
  struct BlockSize: BitwiseCopyable {
    let source: Int
    let index: Int
    let records: Int
    let ids: Int

    /// Blocks in the order of the data.
    var place: Int { source << 40 | index }
  }

  var draft: SequenceDraft<Source>
  private(set) var blocks: [BlockSize] = []
  /// Of every text, where anybody asks.
  private(set) var hashes: [UInt64]?
  /// Of each block; nil where every record is a unit.
  private(set) var units: [UnitNames]?
  /// Ids for which there was room, when it was asked last; the first few aren't worth asking.
  private var roomyCount = Self.idsBetweenChecks

  init(_ draft: SequenceDraft<Source>, hashesRecords: Bool, hasUnits: Bool) {
    self.draft = draft
    hashes = hashesRecords ? [] : nil
    units = hasUnits ? [] : nil
  }

  mutating func append(_ records: RecordStore, source: Int, index: Int, name: String) throws(DataError) {
    let before = draft.ids.count
    draft.append(records)
    blocks.append(BlockSize(source: source, index: index, records: records.count, ids: draft.ids.count - before))
    hashes?.append(contentsOf: RecordHashes.values(of: records))
    if let names = records.unitNames { units?.append(names) }
    try checkRoom(name)
  }

  private static var idsBetweenChecks: Int { 32 << 20 }

  private mutating func checkRoom(_ name: String) throws(DataError) {
    guard draft.ids.count > roomyCount else { return }
    roomyCount = draft.ids.count + Self.idsBetweenChecks
    do { try MemoryRoom.check(Self.idsBetweenChecks * MemoryLayout<Int32>.size, for: name) } catch { throw .unreadable(error) }
  }
}

/// Where the blocks of all ranks of a node come to lie in their data set, in the order of the data.
struct BlockPlaces {
  struct Block {
    let rank: Int
    let records: Range<Int>
    let ids: Range<Int>
    /// Among the blocks of its rank.
    let indexOfRank: Int
  }

  let blocks: [Block]
  /// Of each source.
  let recordCounts: [Int]

  var recordCount: Int { blocks.last?.records.upperBound ?? 0 }
  var idCount: Int { blocks.last?.ids.upperBound ?? 0 }

  /// - Parameter sizes: by rank, each one's ascending.
  init<Source>(_ sizes: [[SequencePart<Source>.BlockSize]], sources: Int) {
    var counts = [Int](repeating: 0, count: sources)
    var (records, ids) = (0, 0)
    let all = sizes.enumerated().flatMap { rank, own in own.enumerated().map { (rank: rank, index: $0, size: $1) } }
    blocks = all.sorted { $0.size.place < $1.size.place }.map { rank, index, size in
      counts[size.source] += size.records
      let block = Block(rank: rank, records: records..<records + size.records, ids: ids..<ids + size.ids, indexOfRank: index)
      (records, ids) = (block.records.upperBound, block.ids.upperBound)
      return block
    }
    recordCounts = counts
  }
}
