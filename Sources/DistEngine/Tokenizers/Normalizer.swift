/// A step of what is done to a text before it is split, as `tokenizers` does it.
enum Normalizer: Sendable, Equatable {
  case bert(cleansText: Bool, spacesChinese: Bool, stripsAccents: Bool, lowercases: Bool)
  case form(isComposed: Bool, isCompatible: Bool)
  case lowercase
  case stripAccents
  case replace([UInt8], with: [UInt8])
  case prepend([UInt8])
  case strip(left: Bool, right: Bool)

  /// How many times as long a replacement can make a text.
  var growth: Double {
    guard case .replace(let pattern, let content) = self else { return 1 }
    return max(1, Double(content.count) / Double(pattern.count))
  }

  /// - Parameter text: valid UTF-8, and so is the result.
  func apply(to text: [UInt8]) -> [UInt8] {
    switch self {
    case .bert(let cleansText, let spacesChinese, let stripsAccents, let lowercases):
      var text = text
      if cleansText { text = Self.cleansed(text) }
      if spacesChinese { text = Self.chineseSpaced(text) }
      if stripsAccents {
        text = NormalForms.all.normalise(text, isComposed: false, isCompatible: false)
        text = Self.filtered(text, without: .nonspacing)
      }
      return lowercases ? Self.lowercased(text) : text
    case .form(let isComposed, let isCompatible):
      return NormalForms.all.normalise(text, isComposed: isComposed, isCompatible: isCompatible)
    case .lowercase: return Self.lowercased(text)
    case .stripAccents: return Self.filtered(text, without: .combining)
    case .replace(let pattern, let content): return text.substituting(pattern, with: content)
    case .prepend(let prefix): return text.isEmpty ? text : prefix + text
    case .strip(let left, let right): return Self.stripped(text, left: left, right: right)
    }
  }

  /// Calls `body` with each scalar and appends what it appends.
  private static func rewritten(_ text: [UInt8], _ body: (UInt32, inout [UInt8]) -> Void) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.count)
    text.withUnsafeBufferPointer { text in
      var position = 0
      while position < text.count {
        let (scalar, end) = text.scalar(at: position)
        body(scalar, &result)
        position = end
      }
    }
    return result
  }

  private static func cleansed(_ text: [UInt8]) -> [UInt8] {
    let classes = ScalarClasses.all
    return rewritten(text) { scalar, result in
      if (0x21...0x7E).contains(scalar) { return result.append(UInt8(scalar)) }
      let kind = classes[scalar]
      if kind.contains(.cleaned) { return }
      result.append(scalar: kind.contains(.space) ? 0x20 : scalar)
    }
  }

  private static func chineseSpaced(_ text: [UInt8]) -> [UInt8] {
    guard text.contains(where: { $0 >= 0xE3 }) else { return text }
    return rewritten(text) { scalar, result in
      guard isChinese(scalar) else { return result.append(scalar: scalar) }
      result.append(0x20)
      result.append(scalar: scalar)
      result.append(0x20)
    }
  }

  /// The blocks that BERT takes for Chinese.
  private static func isChinese(_ scalar: UInt32) -> Bool {
    switch scalar {
    case 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F, 0x2B920...0x2CEAF,
      0x2F800...0x2FA1F:
      true
    default: false
    }
  }

  private static func filtered(_ text: [UInt8], without kind: ScalarClass) -> [UInt8] {
    guard text.contains(where: { $0 >= 0x80 }) else { return text }
    let classes = ScalarClasses.all
    return rewritten(text) { scalar, result in
      if classes[scalar].isDisjoint(with: kind) { result.append(scalar: scalar) }
    }
  }

  private static func lowercased(_ text: [UInt8]) -> [UInt8] {
    let lower = LowerCase.all
    return rewritten(text) { scalar, result in lower.append(scalar, to: &result) }
  }

  private static func stripped(_ text: [UInt8], left: Bool, right: Bool) -> [UInt8] {
    let classes = ScalarClasses.all
    return text.withUnsafeBufferPointer { text in
      var (start, end) = (0, text.count)
      while left, start < end, case let (scalar, next) = text.scalar(at: start), classes[scalar].contains(.space) { start = next }
      while right, start < end, case let last = text.scalarStart(before: end), classes[text.scalar(at: last).value].contains(.space) {
        end = last
      }
      return Array(text[start..<end])
    }
  }
}

extension [UInt8] {
  /// The bytes with every `pattern`, from first to last and none within another, replaced.
  ///
  /// - Parameter pattern: not empty.
  func substituting(_ pattern: [UInt8], with content: [UInt8]) -> [UInt8] {
    guard let first = pattern.first, contains(first) else { return self }
    var result: [UInt8] = []
    result.reserveCapacity(count)
    withUnsafeBufferPointer { text in
      var position = 0
      while position < text.count {
        if text[position] == first, text.holds(pattern, at: position) {
          result.append(contentsOf: content)
          position += pattern.count
        } else {
          result.append(text[position])
          position += 1
        }
      }
    }
    return result
  }
}
