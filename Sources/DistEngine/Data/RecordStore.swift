/// The texts of a corpus as bytes, one after the other, and where each begins: little more memory than the text itself.
///
/// A record is one text, or a text with a second one or a prompt. Its bytes are kept as they are; nothing asks whether they are valid UTF-8.
public struct RecordStore: Sendable, RandomAccessCollection {
  private let bytes: [UInt8]
  /// Where texts begin in `bytes`, and where the last one ends, those of a record one behind the other: [count · textsPerRecord + 1].
  private let offsets: [Int]
  /// Which of a record's texts is which.
  private let shape: Shape
  /// The label's index of each record; nil where there are none.
  package let labels: [Int32]?
  /// Whose records they are; nil where each is a unit of its own.
  package let unitNames: UnitNames?

  /// What a record has beside its text.
  struct Shape: Sendable, Hashable {
    var hasSecond = false
    var hasPrompt = false

    init(hasSecond: Bool = false, hasPrompt: Bool = false) { (self.hasSecond, self.hasPrompt) = (hasSecond, hasPrompt) }
    init(_ fields: RecordFields) { self.init(hasSecond: fields.texts.count == 2, hasPrompt: fields.prompt != nil) }

    var textsPerRecord: Int { 1 + (hasSecond ? 1 : 0) + (hasPrompt ? 1 : 0) }
  }

  /// - Parameter offsets: ascending, from 0 to `bytes.count`.
  init(bytes: [UInt8], offsets: [Int], shape: Shape = Shape(), labels: [Int32]? = nil, unitNames: UnitNames? = nil) {
    let count = (offsets.count - 1) / shape.textsPerRecord
    precondition(unitNames?.units.count ?? count == count && labels?.count ?? count == count, "a unit and a label for every record")
    precondition(offsets.first == 0 && offsets.last == bytes.count, "offsets that don't span the bytes")
    precondition((offsets.count - 1) % shape.textsPerRecord == 0, "a record without all of its texts")
    (self.bytes, self.offsets, self.shape) = (bytes, offsets, shape)
    (self.labels, self.unitNames) = (labels, unitNames)
  }

  /// The texts of a list, in its order.
  public init(_ texts: some Sequence<String>) {
    self.init(texts.map { Array($0.utf8) })
  }

  package init(_ records: some Sequence<some Sequence<UInt8>>, labels: [Int32]? = nil, unitNames: UnitNames? = nil) {
    self.init(records.map { [$0] }, shape: Shape(), labels: labels, unitNames: unitNames)
  }

  /// Records of all of their texts.
  private init(_ records: [[some Sequence<UInt8>]], shape: Shape, labels: [Int32]?, unitNames: UnitNames?) {
    var bytes: [UInt8] = []
    var offsets = [0]
    for text in records.joined() {
      bytes.append(contentsOf: text)
      offsets.append(bytes.count)
    }
    self.init(bytes: bytes, offsets: offsets, shape: shape, labels: labels, unitNames: unitNames)
  }

  /// Records of units by name.
  package init(_ records: [(unit: String, text: String)]) {
    var names = UnitNames()
    for record in records { names.append(Array(record.unit.utf8)) }
    self.init(records.map { Array($0.text.utf8) }, unitNames: names)
  }

  /// Completions of prompts.
  package init(completions records: [(prompt: String, text: String)]) {
    self.init(records.map { [Array($0.text.utf8), Array($0.prompt.utf8)] }, shape: Shape(hasPrompt: true), labels: nil, unitNames: nil)
  }

  /// Texts, or pairs of them, with the index of each one's label, and perhaps the unit that each belongs to.
  package init(labelled records: [(texts: [String], label: Int32)], units: [String]? = nil) {
    let isPair = records.first?.texts.count == 2
    let names = units.map { units in
      var names = UnitNames()
      for unit in units { names.append(Array(unit.utf8)) }
      return names
    }
    self.init(
      records.map { $0.texts.map { Array($0.utf8) } }, shape: Shape(hasSecond: isPair), labels: records.map(\.label), unitNames: names)
  }

  /// The records of several stores of one shape, one store's behind the other's.
  package init(joining stores: [RecordStore]) {
    guard let first = stores.first, stores.count > 1 else {
      self = stores.first ?? RecordStore([String]())
      return
    }
    var (bytes, offsets): ([UInt8], [Int]) = ([], [0])
    for store in stores {
      offsets.append(contentsOf: store.offsets.dropFirst().lazy.map { $0 + bytes.count })
      bytes.append(contentsOf: store.bytes)
    }
    self.init(
      bytes: bytes, offsets: offsets, shape: first.shape, labels: first.labels.map { _ in stores.flatMap { $0.labels ?? [] } },
      unitNames: first.unitNames.map { _ in UnitNames(joining: stores.compactMap(\.unitNames)) })
  }

  /// What names a record's unit for the hold-out: the unit's name, or the record itself.
  func holdOutKey(_ record: Int) -> ArraySlice<UInt8> {
    guard let unitNames else { return self[record] }
    return unitNames.names[unitNames.units[record]][...]
  }

  /// Some of the records, in their order.
  func filtered(_ isIncluded: (Int) -> Bool) -> RecordStore {
    let kept = indices.filter(isIncluded)
    var names: UnitNames?
    if let unitNames {
      names = UnitNames()
      for record in kept { names?.append(unitNames.names[unitNames.units[record]]) }
    }
    return RecordStore(
      kept.map { record in (0..<shape.textsPerRecord).map { text(record, $0) } }, shape: shape,
      labels: labels.map { labels in kept.map { labels[$0] } }, unitNames: names)
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int { (offsets.count - 1) / shape.textsPerRecord }
  /// The bytes of a record's text, maybe none.
  public subscript(position: Int) -> ArraySlice<UInt8> { text(position, 0) }

  /// The second text of a pair; nil where records have one.
  package func secondText(of record: Int) -> ArraySlice<UInt8>? { shape.hasSecond ? text(record, 1) : nil }
  /// What the text completes; nil where records have no prompt.
  package func prompt(of record: Int) -> ArraySlice<UInt8>? { shape.hasPrompt ? text(record, shape.textsPerRecord - 1) : nil }

  /// All texts of a record, the prompt among them.
  func texts(of record: Int) -> [ArraySlice<UInt8>] { (0..<shape.textsPerRecord).map { text(record, $0) } }

  package var hasPrompts: Bool { shape.hasPrompt }

  private func text(_ record: Int, _ slot: Int) -> ArraySlice<UInt8> {
    let place = record * shape.textsPerRecord + slot
    return bytes[offsets[place]..<offsets[place + 1]]
  }

  /// Bytes of all texts.
  public var byteCount: Int { bytes.count }
  /// Records without a byte of text, or of both texts: they train nothing but the end of text, and are worth a line in the log.
  public var emptyCount: Int { indices.count { self[$0].isEmpty && secondText(of: $0)?.isEmpty ?? true } }
}
