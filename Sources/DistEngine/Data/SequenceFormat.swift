/// What a record becomes as ids.
public enum SequenceFormat: Sendable, Hashable {
  /// The id that begins texts, the prompt's ids if there is one, the text's, the id that ends texts, cut to T + 1 ids. Each id is the target of those
  /// before it; those of the prompt carry no loss.
  case language(begin: Int32, end: Int32)
  /// What the tokenizer's post-processor makes of a text or a pair, cut to T ids; one label a sequence.
  case classification

  /// A language model's sequences between the tokenizer's own ids.
  public static func language(_ tokenizer: some Tokenizer) -> SequenceFormat {
    .language(begin: tokenizer.startOfText, end: tokenizer.endOfText)
  }

  /// Ids of a sequence that are inputs and carry no row of their own: a language model's last id is a target alone.
  var idsBeyondRows: Int { if case .language = self { 1 } else { 0 } }
}

/// What is known of many records' sequences together.
package struct SequenceStatistics: Sendable, Hashable, BitwiseCopyable {
  /// Rows of the longest sequence.
  package var longest = 0
  /// Records of which a part is left out, and the rows left out of all of them.
  package var cutRecords = 0
  package var cutRows = 0
  /// Records without text.
  package var emptyRecords = 0
  /// Completions that were cut away altogether: no target of theirs counts.
  package var uncountedRecords = 0
  /// Targets that count, of all records.
  package var countedTargets = 0

  static func + (a: Self, b: Self) -> Self {
    Self(
      longest: max(a.longest, b.longest), cutRecords: a.cutRecords + b.cutRecords, cutRows: a.cutRows + b.cutRows,
      emptyRecords: a.emptyRecords + b.emptyRecords, uncountedRecords: a.uncountedRecords + b.uncountedRecords,
      countedTargets: a.countedTargets + b.countedTargets)
  }
}

/// Makes sequences of records, one after the other.
struct SequenceDraft<Source: Tokenizer> {
  private let tokenizer: Source
  private let format: SequenceFormat
  /// T.
  private let longestSequence: Int
  let ids = GrowingIDs()
  let types = GrowingIDs()
  /// Ids of each sequence.
  private(set) var lengths: [Int32] = []
  private(set) var labels: [Int32] = []
  private(set) var lossStarts: [Int32] = []
  private(set) var statistics = SequenceStatistics()
  private(set) var hasTypes = false
  // A record's, and its types.
  private var own: [Int32] = []
  private var ownTypes: [Int32] = []

  /// - Parameter longestSequence: T, at least 1. A language model's sequence always has 2 ids or more, so that every record has a target.
  init(tokenizer: Source, format: SequenceFormat, longestSequence: Int) {
    precondition(longestSequence >= 1, "sequences of \(longestSequence) ids")
    (self.tokenizer, self.format, self.longestSequence) = (tokenizer, format, longestSequence)
  }

  mutating func append(_ records: RecordStore) {
    for record in records.indices {
      own.removeAll(keepingCapacity: true)
      ownTypes.removeAll(keepingCapacity: true)
      let isEmpty = records[record].isEmpty && records.secondText(of: record)?.isEmpty ?? true
      if isEmpty { statistics.emptyRecords += 1 }
      let cut: Int
      switch format {
      case .language(let begin, let end): cut = appendTexts(of: record, in: records, begin: begin, end: end)
      case .classification: cut = appendPair(of: record, in: records)
      }
      if cut > 0 { (statistics.cutRecords, statistics.cutRows) = (statistics.cutRecords + 1, statistics.cutRows + cut) }
      statistics.longest = max(statistics.longest, own.count - format.idsBeyondRows)
      lengths.append(Int32(own.count))
      ids.append(own)
      if let label = records.labels?[record] { labels.append(label) }
    }
  }

  /// - Returns: targets that are cut away.
  private mutating func appendTexts(of record: Int, in records: RecordStore, begin: Int32, end: Int32) -> Int {
    own.append(begin)
    let prompt = records.prompt(of: record).map { append($0, room: longestSequence) } ?? 0
    let promptRows = own.count - 1
    let text = append(records[record], room: longestSequence - promptRows)
    if own.count <= longestSequence { own.append(end) }
    let rows = own.count - 1
    if records.hasPrompts { lossStarts.append(Int32(promptRows)) }
    statistics.countedTargets += rows - promptRows
    if rows == promptRows { statistics.uncountedRecords += 1 }
    return prompt + text + 1 - rows
  }

  /// Appends as many ids of a text as there is room for; counts all of them.
  private mutating func append(_ text: ArraySlice<UInt8>, room: Int) -> Int {
    let start = own.count
    if room > 0 { tokenizer.encode(text, limit: room, into: &own) }
    let made = own.count - start
    own.removeLast(max(0, made - room))
    return made < room ? made : tokenizer.count(of: text)
  }

  private mutating func appendPair(of record: Int, in records: RecordStore) -> Int {
    let cut = tokenizer.encodeWithSpecialTokens(
      records[record], records.secondText(of: record), limit: longestSequence, ids: &own, types: &ownTypes)
    // Where nothing is put around a text without ids: attention needs a place to look at.
    if own.isEmpty {
      own.append(tokenizer.endOfText)
      ownTypes.append(0)
    }
    types.append(ownTypes)
    hasTypes = hasTypes || ownTypes.contains { $0 != 0 }
    statistics.countedTargets += 1
    return cut
  }

  /// Moves everything to where it stays, block by block, and gives back what is moved.
  ///
  /// - Parameter blocks: whose sequences these are, in their order.
  func move(to memory: SequenceMemory, _ blocks: [BlockPlaces.Block]) {
    var first = 0
    for block in blocks {
      ids.move(block.ids.count, to: memory.ids.baseAddress! + block.ids.lowerBound)
      if memory.layout.hasTypes { types.move(block.ids.count, to: memory.types.baseAddress! + block.ids.lowerBound) }
      var end = block.ids.lowerBound
      for (own, record) in zip(first..., block.records) {
        end += Int(lengths[own])
        memory.offsets[record + 1] = end
        if memory.layout.hasLabels { memory.labels[record] = labels[own] }
        if memory.layout.hasLossStarts { memory.lossStarts[record] = lossStarts[own] }
      }
      first += block.records.count
    }
  }
}
