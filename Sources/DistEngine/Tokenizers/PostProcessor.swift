/// The special tokens that stand around one text or two, with token types.
struct PostProcessor: Sendable, Equatable {
  enum Part: Sendable, Equatable {
    case first(type: Int32)
    case second(type: Int32)
    case special([Int32], type: Int32)
  }

  /// Around one text: holds `first` once.
  let single: [Part]
  /// Around two: holds `first` and `second` once each.
  let pair: [Part]

  /// Nothing but the texts.
  static let none = PostProcessor(single: [.first(type: 0)], pair: [.first(type: 0), .second(type: 1)])

  /// BERT's: one text has type 0, the second with what ends it type 1.
  static func bert(begin: Int32, end: Int32) -> PostProcessor {
    let single: [Part] = [.special([begin], type: 0), .first(type: 0), .special([end], type: 0)]
    return PostProcessor(single: single, pair: single + [.second(type: 1), .special([end], type: 1)])
  }

  /// RoBERTa's: two ends of text between the texts, and no types.
  static func roberta(begin: Int32, end: Int32) -> PostProcessor {
    let single: [Part] = [.special([begin], type: 0), .first(type: 0), .special([end], type: 0)]
    return PostProcessor(single: single, pair: single + [.special([end], type: 0), .second(type: 0), .special([end], type: 0)])
  }

  func specialTokenCount(ofPair isPair: Bool) -> Int {
    (isPair ? pair : single).reduce(0) { count, part in
      if case .special(let ids, _) = part { count + ids.count } else { count }
    }
  }

  var largestID: Int32 {
    (single + pair).reduce(-1) { largest, part in
      if case .special(let ids, _) = part { max(largest, ids.max() ?? -1) } else { largest }
    }
  }

  /// Appends the ids of one text, or of two, within their special tokens.
  func append(_ first: ArraySlice<Int32>, _ second: ArraySlice<Int32>?, to ids: inout [Int32], types: inout [Int32]) {
    for part in second == nil ? single : pair {
      let (new, type) =
        switch part {
        case .first(let type): (first, type)
        case .second(let type): (second ?? [], type)
        case .special(let ids, let type): (ids[...], type)
        }
      ids.append(contentsOf: new)
      types.append(contentsOf: repeatElement(type, count: new.count))
    }
  }
}
