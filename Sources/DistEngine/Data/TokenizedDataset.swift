/// Records as ids, one after the other: what training reads.
///
/// A record's sequence of n + 1 ids (n ≥ 1) gives n inputs, all but the last id, and n targets, all but the first.
public struct TokenizedDataset: Sendable {
  /// All sequences.
  public let ids: [Int32]
  /// Where sequences begin in `ids`, and where the last one ends: [count + 1].
  private let offsets: [Int]
  /// T: the most targets a sequence has; 0 without records.
  public let longestSequence: Int
  /// Records of which a part is left out, and the targets left out of all of them.
  public let cutRecords: (count: Int, targets: Int)
  /// Which records belong together.
  package let units: UnitIndex
  /// Records without text: their one target is the end of text.
  public let emptyRecordCount: Int

  /// - Parameter longestSequence: T: sequences are cut to T inputs and T targets. A cut record is still one record.
  public init(_ records: RecordStore, tokenizer: some Tokenizer, longestSequence: Int) {
    var ids: [Int32] = []
    var offsets = [0]
    offsets.reserveCapacity(records.count + 1)
    var longest = 0
    var (cutCount, cutTargets, emptyCount) = (0, 0, 0)
    ids.reserveCapacity(Self.idCount(records, tokenizer: tokenizer, longestSequence: longestSequence))
    for record in records {
      // A text's targets are its ids and the end of text.
      let left = tokenizer.count(of: record) + 1 - longestSequence
      if left > 0 { (cutCount, cutTargets) = (cutCount + 1, cutTargets + left) }
      if record.isEmpty { emptyCount += 1 }
      tokenizer.encodeRecord(record, longestSequence: longestSequence, into: &ids)
      longest = max(longest, ids.count - offsets.last! - 1)
      offsets.append(ids.count)
    }
    units = records.unitNames.map(UnitIndex.init) ?? UnitIndex(recordCount: records.count)
    self.ids = ids
    self.offsets = offsets
    self.longestSequence = longest
    cutRecords = (cutCount, cutTargets)
    emptyRecordCount = emptyCount
  }

  /// Ids of all sequences, before they are made.
  package static func idCount(_ records: RecordStore, tokenizer: some Tokenizer, longestSequence: Int) -> Int {
    records.reduce(0) { $0 + min(tokenizer.count(of: $1) + 1, longestSequence) + 1 }
  }

  public var unitCount: Int { units.count }
  public var count: Int { offsets.count - 1 }
  public var isEmpty: Bool { count == 0 }

  /// Targets of all records.
  public var totalTargetCount: Int { ids.count - count }

  /// Targets, and inputs, of record `i`: at least 1.
  public func targetCount(of i: Int) -> Int { offsets[i + 1] - offsets[i] - 1 }

  /// Where the inputs of record `i` stand in `ids`; its targets stand one further.
  public func inputRange(of i: Int) -> Range<Int> { offsets[i]..<(offsets[i + 1] - 1) }

  public func inputs(of i: Int) -> ArraySlice<Int32> { ids[inputRange(of: i)] }

  public func targets(of i: Int) -> ArraySlice<Int32> { ids[(offsets[i] + 1)..<offsets[i + 1]] }
}
