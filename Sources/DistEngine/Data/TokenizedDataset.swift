/// Records as ids, one after the other: what training reads. Copies share one memory.
///
/// A language model's sequence of n + 1 ids (n ≥ 1) gives n inputs, all but the last id, and n targets, all but the first; those before
/// ``lossStart(of:)`` carry no loss. A classifier's sequence of n ids gives n inputs, and has one label. Either way it has n rows.
public struct TokenizedDataset: Sendable {
  public let format: SequenceFormat
  private let memory: SequenceMemory
  package let statistics: SequenceStatistics
  /// Which records belong together.
  package let units: UnitIndex

  init(_ memory: SequenceMemory, format: SequenceFormat, statistics: SequenceStatistics, units: UnitIndex) {
    (self.memory, self.format, self.statistics, self.units) = (memory, format, statistics, units)
  }

  /// Sequences of records that are in memory, in this process's own.
  ///
  /// - Parameters:
  ///   - format: nil: a language model's, between the tokenizer's own ids.
  ///   - longestSequence: T: sequences are cut to T rows. A cut record is still one record.
  public init<Source: Tokenizer>(_ records: RecordStore, tokenizer: Source, format: SequenceFormat? = nil, longestSequence: Int) {
    let format = format ?? .language(tokenizer)
    var draft = SequenceDraft(tokenizer: tokenizer, format: format, longestSequence: longestSequence)
    draft.append(records)
    let memory = SequenceMemory(
      SequenceLayout(
        records: records.count, ids: draft.ids.count, hasTypes: draft.hasTypes, hasLabels: records.labels != nil, hasLossStarts: records.hasPrompts))
    draft.move(
      to: memory, [BlockPlaces.Block(rank: 0, records: 0..<draft.lengths.count, ids: 0..<draft.ids.count, indexOfRank: 0)])
    self.init(
      memory, format: format, statistics: draft.statistics,
      units: records.unitNames.map(UnitIndex.init) ?? UnitIndex(recordCount: records.count))
  }

  /// All sequences.
  public var ids: SequenceIDs { SequenceIDs(memory, memory.ids, 0..<memory.ids.count) }
  /// All of the memory that the sequences are in.
  func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try withExtendedLifetime(memory) { try body(UnsafeRawBufferPointer(memory.bytes)) }
  }
  package var byteCount: Int { memory.layout.byteCount }

  public var isClassification: Bool { format == .classification }
  public var unitCount: Int { units.count }
  public var count: Int { memory.layout.records }
  public var isEmpty: Bool { count == 0 }
  /// T: the most rows a sequence has; 0 without records.
  public var longestSequence: Int { statistics.longest }

  /// Rows of all records: a language model's targets, those without loss among them; a classifier's inputs.
  public var totalTargetCount: Int { memory.ids.count - count * format.idsBeyondRows }

  /// Targets that carry loss, of all records; a classifier's labels.
  public var countedTargetCount: Int { statistics.countedTargets }

  /// Rows of record `i`: its inputs, at least 1, and a language model's targets, those without loss among them.
  public func targetCount(of i: Int) -> Int { memory.offsets[i + 1] - memory.offsets[i] - format.idsBeyondRows }

  /// Where the inputs of record `i` stand in `ids`; a language model's targets stand one further.
  public func inputRange(of i: Int) -> Range<Int> { memory.offsets[i]..<(memory.offsets[i + 1] - format.idsBeyondRows) }

  public func inputs(of i: Int) -> SequenceIDs { SequenceIDs(memory, memory.ids, inputRange(of: i)) }

  /// A language model's targets.
  public func targets(of i: Int) -> SequenceIDs { SequenceIDs(memory, memory.ids, (memory.offsets[i] + 1)..<memory.offsets[i + 1]) }

  /// The label's index among the public ones; nil where records have none.
  public func label(of i: Int) -> Int32? { memory.layout.hasLabels ? memory.labels[i] : nil }

  /// Types of the inputs; nil: all are 0.
  public func tokenTypes(of i: Int) -> SequenceIDs? { memory.layout.hasTypes ? SequenceIDs(memory, memory.types, inputRange(of: i)) : nil }

  /// The first of a record's targets that carries loss: where a completion begins behind its prompt; as many as it has targets where the
  /// completion was cut away.
  public func lossStart(of i: Int) -> Int { memory.layout.hasLossStarts ? Int(memory.lossStarts[i]) : 0 }

  /// Targets of record `i` that carry loss.
  public func countedTargetCount(of i: Int) -> Int { isClassification ? 1 : targetCount(of: i) - lossStart(of: i) }
}
