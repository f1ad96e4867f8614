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

  /// - Parameter longestSequence: T: sequences are cut to T inputs and T targets. A cut record is still one record.
  public init(_ records: RecordStore, tokenizer: some Tokenizer, longestSequence: Int) {
    var ids: [Int32] = []
    var offsets = [0]
    offsets.reserveCapacity(records.count + 1)
    var longest = 0
    for record in records {
      tokenizer.encodeRecord(record, longestSequence: longestSequence, into: &ids)
      longest = max(longest, ids.count - offsets.last! - 1)
      offsets.append(ids.count)
    }
    self.ids = ids
    self.offsets = offsets
    self.longestSequence = longest
  }

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
