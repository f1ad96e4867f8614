/// Turns text into ids of a vocabulary and back.
public protocol Tokenizer: Sendable {
  /// The name on the command line and in `run.json`.
  var name: String { get }
  /// Ids are below it.
  var vocabularySize: Int { get }
  /// The id of `<|endoftext|>`, which stands before and behind each record.
  var endOfText: Int32 { get }

  /// Appends the ids of a text to `ids`. Any bytes are a text.
  ///
  /// - Parameter limit: ids that the caller will use: those after them may be left out.
  func encode(_ text: ArraySlice<UInt8>, limit: Int, into ids: inout [Int32])

  /// Ids of a whole text.
  func count(of text: ArraySlice<UInt8>) -> Int

  /// The bytes that ids stand for. Ids that stand for no text, `<|endoftext|>` and unknown ones, give nothing.
  func decode(_ ids: some Sequence<Int32>) -> [UInt8]
}

extension Tokenizer {
  public func count(of text: ArraySlice<UInt8>) -> Int {
    var ids: [Int32] = []
    encode(text, limit: .max, into: &ids)
    return ids.count
  }

  /// Appends a record's sequence: `<|endoftext|>`, the text's ids, `<|endoftext|>`, cut to `longestSequence` + 1 ids.
  ///
  /// - Parameter longestSequence: T, at least 1. A sequence always has 2 ids or more, so that every record has a target.
  public func encodeRecord(_ text: ArraySlice<UInt8>, longestSequence: Int, into ids: inout [Int32]) {
    precondition(longestSequence >= 1, "sequences of \(longestSequence) ids")
    let start = ids.count
    ids.append(endOfText)
    encode(text, limit: longestSequence, into: &ids)
    ids.append(endOfText)
    let targets = ids.count - start - 1
    if targets > longestSequence { ids.removeLast(targets - longestSequence) }
  }
}
