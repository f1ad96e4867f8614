/// `dp-mpirun tokenize`: the ids of records, one JSON object a line.
public enum Tokenization {
  /// - Parameters:
  ///   - fields: those of the texts; two are a pair.
  ///   - addsSpecialTokens: whether the tokenizer's special tokens stand around the texts, which a pair needs.
  ///   - write: gets whole lines, a few at a time.
  public static func run(
    tokenizer kind: TokenizerKind, data: [String], textFields: [String], addsSpecialTokens: Bool, write: ([UInt8]) -> Void
  ) throws {
    let names = textFields.joined(separator: ",")
    guard (1...2).contains(textFields.count), !textFields.contains(""), Set(textFields).count == textFields.count else {
      throw TrainingError.badOption(option: "--text-field", value: names, allowed: "the name of a field, or two for a pair, as a,b")
    }
    guard textFields.count == 1 || addsSpecialTokens else {
      throw TrainingError.conflictingOptions(
        "--text-field \(names) is a pair, which special tokens put together: add --special-tokens")
    }
    let tokenizer = try kind.make()
    for source in try Corpus(data: data, fields: RecordFields(texts: textFields)).training {
      var (blocks, isEmpty) = (try source.blocks(), true)
      while let records = try blocks.next() {
        isEmpty = isEmpty && records.isEmpty
        lines(of: records, by: tokenizer, addsSpecialTokens: addsSpecialTokens, write)
      }
      if isEmpty { throw DataError.noRecords(path: source.name) }
    }
  }

  private static func lines(
    of records: RecordStore, by tokenizer: some Tokenizer, addsSpecialTokens: Bool, _ write: ([UInt8]) -> Void
  ) {
    var text: [UInt8] = []
    var (ids, types): ([Int32], [Int32]) = ([], [])
    for record in records.indices {
      ids.removeAll(keepingCapacity: true)
      types.removeAll(keepingCapacity: true)
      if addsSpecialTokens {
        _ = tokenizer.encodeWithSpecialTokens(records[record], records.secondText(of: record), limit: .max, ids: &ids, types: &types)
      } else {
        tokenizer.encode(records[record], limit: .max, into: &ids)
      }
      text += Array("{\"ids\":[".utf8)
      for (place, id) in ids.enumerated() {
        if place > 0 { text.append(UInt8(ascii: ",")) }
        text += "\(id)".utf8
      }
      text += Array("]}\n".utf8)
      if text.count > 1 << 20 {
        write(text)
        text.removeAll(keepingCapacity: true)
      }
    }
    write(text)
  }
}
