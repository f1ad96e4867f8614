/// Which fields of a record are read, and what for. Texts and prompt are bytes; a label is one of those that are public.
public struct RecordFields: Sendable, Hashable {
  /// One text, or two that are taken as a pair.
  public var texts: [String]
  /// What a completion stands behind; it carries no loss.
  public var prompt: String?
  /// The label of a classification, and the labels that there are.
  public var label: String?
  public var labels: LabelSet?
  /// Names the unit of privacy that a record belongs to; nil: every record is one.
  public var unit: String?

  public init(texts: [String] = ["text"], prompt: String? = nil, label: String? = nil, labels: LabelSet? = nil, unit: String? = nil) {
    precondition((1...2).contains(texts.count) && (label == nil) == (labels == nil), "fields that can't be")
    (self.texts, self.prompt, self.label, self.labels, self.unit) = (texts, prompt, label, labels, unit)
  }

  /// A field of text with the option that names it, in the order in which a store keeps them.
  struct Slot {
    let name: String
    let option: String
  }

  var slots: [Slot] {
    texts.map { Slot(name: $0, option: "--text-field") } + (prompt.map { [Slot(name: $0, option: "--prompt-field")] } ?? [])
  }

  /// Every field with the option that names it.
  var all: [Slot] {
    slots + (label.map { [Slot(name: $0, option: "--label-field")] } ?? []) + (unit.map { [Slot(name: $0, option: "--unit")] } ?? [])
  }
}

/// The labels that there are: public, stated by the user or by the model, never found in the data.
public struct LabelSet: Sendable, Hashable {
  /// By index.
  public let names: [String]
  /// Whether a number that is no label's name is an index: so a model's own labels are meant in data that number them, as Hugging Face's do.
  /// Where a name is itself a number, only names count.
  public let allowsIndices: Bool
  private let places: [[UInt8]: Int32]

  /// - Parameter isModels: the model's own `id2label`, in the order of its ids.
  /// - Throws: ``DataError`` for fewer than two labels, an empty name, or one that comes twice.
  public init(_ names: [String], isModels: Bool = false) throws(DataError) {
    let what = isModels ? "the model's id2label" : "--labels"
    guard names.count >= 2 else {
      throw .badLabels(what: what, reason: "\(names.count == 1 ? "1 label" : "no label"): a classification has two or more")
    }
    var places: [[UInt8]: Int32] = [:]
    for (place, name) in names.enumerated() {
      guard !name.isEmpty else { throw .badLabels(what: what, reason: "label \(place + 1) is empty: each must have a name") }
      guard places.updateValue(Int32(place), forKey: Array(name.utf8)) == nil else {
        throw .badLabels(what: what, reason: "\(JSONValue.string(name)) stands there twice: names must differ")
      }
    }
    self.names = names
    self.places = places
    allowsIndices = isModels && !names.contains { Int($0) != nil }
  }

  public var count: Int { names.count }

  /// The index of a label as the data have it; nil: none of these.
  func index(of label: some Collection<UInt8>) -> Int32? {
    if let place = places[Array(label)] { return place }
    guard allowsIndices, let number = Int32(String(decoding: label, as: UTF8.self)), names.indices.contains(Int(number)) else { return nil }
    return number
  }

  /// What a label must be, for a refusal: which ones there are is public, which one a record has isn't.
  var allowed: String {
    let shown = names.prefix(8).map { "\($0.quotable)" }.joined(separator: ", ")
    return "must be one of \(shown)" + (names.count > 8 ? " … (\(names.count) in all)" : "") + (allowsIndices ? ", or its number from 0" : "")
  }
}
