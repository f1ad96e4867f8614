/// Bytes as they are: ids 0–255 are bytes, 256 is `<|endoftext|>`, which begins and ends records and stands around and between a
/// classifier's texts.
public struct ByteTokenizer: Tokenizer {
  public init() {}

  public var name: String { "bytes" }
  public var vocabularySize: Int { 257 }
  public var beginOfText: Int32? { 256 }
  public var endOfText: Int32 { 256 }

  public func encode(_ text: ArraySlice<UInt8>, limit: Int, into ids: inout [Int32]) {
    ids.append(contentsOf: text.prefix(limit).lazy.map { Int32($0) })
  }

  public func count(of text: ArraySlice<UInt8>) -> Int { text.count }

  public func decode(_ ids: some Sequence<Int32>) -> [UInt8] {
    ids.compactMap { UInt8(exactly: $0) }
  }
}
