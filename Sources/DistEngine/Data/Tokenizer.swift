/// Turns text into ids of a vocabulary and back.
public protocol Tokenizer: Sendable {
  /// The name on the command line and in `run.json`.
  var name: String { get }
  /// Ids are below it: the largest id + 1.
  var vocabularySize: Int { get }
  /// The id in front of each record of a language model; nil: ``endOfText`` stands there.
  var beginOfText: Int32? { get }
  /// The id behind each record of a language model.
  var endOfText: Int32 { get }

  /// Appends the ids of a text to `ids`, without the special tokens that a post-processor adds. Any bytes are a text.
  ///
  /// - Parameter limit: ids that the caller will use: those after them may be left out.
  func encode(_ text: ArraySlice<UInt8>, limit: Int, into ids: inout [Int32])

  /// Ids of a whole text.
  func count(of text: ArraySlice<UInt8>) -> Int

  /// The bytes that ids stand for. Ids that stand for no text and unknown ones give nothing.
  func decode(_ ids: some Sequence<Int32>) -> [UInt8]

  /// Special tokens that stand around one text, or around and between two.
  func specialTokenCount(ofPair isPair: Bool) -> Int

  /// Appends what a classifier sees of one text or two: the ids and the special tokens around them, and beside each its token type.
  ///
  /// - Parameter limit: the most ids in all. The special tokens stay and the texts are cut, a pair as ``longestFirst(_:_:room:)`` says; of a limit
  ///   below ``specialTokenCount(ofPair:)`` the first `limit` special tokens are left.
  /// - Returns: ids that were cut away.
  func encodeWithSpecialTokens(
    _ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>?, limit: Int, ids: inout [Int32], types: inout [Int32]
  ) -> Int
}

extension Tokenizer {
  public var beginOfText: Int32? { nil }

  /// The id in front of a language model's text, of a record and of a prompt that is continued alike: where nothing begins a text, the end of another does.
  package var startOfText: Int32 { beginOfText ?? endOfText }

  public func count(of text: ArraySlice<UInt8>) -> Int {
    var ids: [Int32] = []
    encode(text, limit: .max, into: &ids)
    return ids.count
  }

  public func specialTokenCount(ofPair isPair: Bool) -> Int { isPair ? 3 : 2 }

  /// Without a post-processor: the id that begins texts, a text, the id that ends them, and a second text with another such id behind it. All of type 0.
  public func encodeWithSpecialTokens(
    _ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>?, limit: Int, ids: inout [Int32], types: inout [Int32]
  ) -> Int {
    let start = ids.count
    let room = max(0, limit - specialTokenCount(ofPair: second != nil))
    let counts = (first: count(of: first), second: second.map(count) ?? 0)
    let kept = longestFirst(counts.first, counts.second, room: room)
    func append(_ text: ArraySlice<UInt8>, _ count: Int) {
      let start = ids.count
      encode(text, limit: count, into: &ids)
      ids.removeLast(max(0, ids.count - start - count))
      ids.append(endOfText)
    }
    ids.append(startOfText)
    append(first, kept.first)
    if let second { append(second, kept.second) }
    ids.removeLast(max(0, ids.count - start - limit))
    types.append(contentsOf: repeatElement(0, count: ids.count - start))
    return counts.first + counts.second - kept.first - kept.second
  }
}

/// What is left of a pair of `first` and `second` ids in `room` ids: the longer one is cut to the other's length before both are, as `LongestFirst` of
/// Hugging Face's `tokenizers` does. Alone, `second` is 0.
package func longestFirst(_ first: Int, _ second: Int, room: Int) -> (first: Int, second: Int) {
  guard first + second > room else { return (first, second) }
  let isSwapped = first > second
  var shorter = min(first, second)
  var longer = max(shorter, room - shorter)
  if shorter + longer > room {
    shorter = room / 2
    longer = shorter + room % 2
  }
  return isSwapped ? (longer, shorter) : (shorter, longer)
}
