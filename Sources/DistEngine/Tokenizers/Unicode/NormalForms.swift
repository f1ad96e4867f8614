/// Unicode's normal forms (Annex 15), with the decompositions that `tokenizers` knows.
struct NormalForms: Sendable {
  static let all = NormalForms()

  /// In full, of scalars whose decomposition isn't themselves; Hangul's aren't listed.
  private var canonical: [UInt32: [UInt32]] = [:]
  private var compatible: [UInt32: [UInt32]] = [:]
  /// The scalar that two make, by both.
  private var compositions: [UInt64: UInt32] = [:]
  private var combiningClasses: [UInt32: UInt8] = [:]

  private init() {
    var steps: [UInt32: [UInt32]] = [:]
    for (scalar, parts) in Self.mappings(UnicodeMappingTables.decompositions) { steps[scalar] = parts }
    let excluded = Set(HexadecimalTable.numbers(in: UnicodeMappingTables.composedByNone).map(UInt32.init))
    for (scalar, parts) in steps {
      var full = parts
      while let place = full.firstIndex(where: { steps[$0] != nil }) { full.replaceSubrange(place...place, with: steps[full[place]] ?? []) }
      canonical[scalar] = full
      if parts.count == 2, !excluded.contains(scalar) { compositions[Self.pair(parts[0], parts[1])] = scalar }
    }
    for (scalar, parts) in Self.mappings(UnicodeCompatibilityTables.decompositions) { compatible[scalar] = parts }
    for run in HexadecimalTable.fields(in: UnicodeMappingTables.combiningClasses, separator: " ") {
      let parts = HexadecimalTable.fields(in: run, separator: ":").compactMap { UInt32($0, radix: 16) }
      for scalar in parts[0]..<parts[0] + parts[1] { combiningClasses[scalar] = UInt8(parts[2]) }
    }
  }

  private static func mappings(_ table: String) -> [(UInt32, [UInt32])] {
    HexadecimalTable.fields(in: table, separator: " ").map { entry in
      let sides = HexadecimalTable.fields(in: entry, separator: "=")
      return (
        UInt32(sides[0], radix: 16) ?? 0, HexadecimalTable.fields(in: sides[1], separator: "+").compactMap { UInt32($0, radix: 16) }
      )
    }
  }

  private static func pair(_ first: UInt32, _ second: UInt32) -> UInt64 { UInt64(first) << 32 | UInt64(second) }

  /// A text's normal form. ASCII is its own.
  func normalise(_ text: [UInt8], isComposed: Bool, isCompatible: Bool) -> [UInt8] {
    let scalars = text.withUnsafeBufferPointer { text -> [UInt32]? in
      text.isASCII ? nil : decomposed(text, isCompatible: isCompatible)
    }
    guard var scalars else { return text }
    if isComposed { compose(&scalars) }
    var normalised: [UInt8] = []
    normalised.reserveCapacity(text.count + text.count / 4)
    for scalar in scalars { normalised.append(scalar: scalar) }
    return normalised
  }

  private func decomposed(_ text: UnsafeBufferPointer<UInt8>, isCompatible: Bool) -> [UInt32] {
    var scalars: [UInt32] = []
    scalars.reserveCapacity(text.count)
    /// Where the marks begin that stand at the end of `scalars`.
    var marks = 0
    var areOrdered = true
    var lastClass: UInt8 = 0
    func add(_ scalar: UInt32) {
      let order = scalar < 0x300 ? 0 : combiningClasses[scalar] ?? 0
      if order == 0 {
        if !areOrdered { sortMarks(&scalars, from: marks) }
        (marks, areOrdered) = (scalars.count + 1, true)
      } else if order < lastClass {
        areOrdered = false
      }
      lastClass = order
      scalars.append(scalar)
    }
    var position = 0
    while position < text.count {
      let (scalar, end) = text.scalar(at: position)
      position = end
      if scalar < 0xA0 {
        add(scalar)
      } else if Hangul.syllables.contains(scalar) {
        Hangul.decompose(scalar, add)
      } else if let parts = (isCompatible ? compatible[scalar] : nil) ?? canonical[scalar] {
        parts.forEach(add)
      } else {
        add(scalar)
      }
    }
    if !areOrdered { sortMarks(&scalars, from: marks) }
    return scalars
  }

  /// Puts marks in the order of their classes; those of one class stay in theirs.
  private func sortMarks(_ scalars: inout [UInt32], from start: Int) {
    let keys = scalars[start...].enumerated().map { UInt64(combiningClasses[$1] ?? 0) << 56 | UInt64($0) << 24 | UInt64($1) }
    scalars.replaceSubrange(start..., with: keys.sorted().lazy.map { UInt32($0 & 0xFF_FFFF) })
  }

  private func compose(_ scalars: inout [UInt32]) {
    var end = 0
    var starter: Int?
    /// Class of the scalar in front, where it isn't the starter itself.
    var lastClass: UInt8?
    for scalar in scalars {
      let order = combiningClasses[scalar] ?? 0
      // Blocked: a scalar of no lesser class stands between it and the starter.
      if let starter, lastClass.map({ $0 < order }) ?? true, let composed = composition(scalars[starter], scalar) {
        scalars[starter] = composed
        continue
      }
      scalars[end] = scalar
      if order == 0 {
        (starter, lastClass) = (end, nil)
      } else {
        lastClass = order
      }
      end += 1
    }
    scalars.removeLast(scalars.count - end)
  }

  private func composition(_ first: UInt32, _ second: UInt32) -> UInt32? {
    Hangul.compose(first, second) ?? compositions[Self.pair(first, second)]
  }
}

/// Hangul's syllables are computed (Unicode 3.12).
private enum Hangul {
  static let syllables: Range<UInt32> = 0xAC00..<0xD7A4
  private static let (leads, vowels, trails): (UInt32, UInt32, UInt32) = (0x1100, 0x1161, 0x11A7)
  private static let (leadCount, vowelCount, trailCount): (UInt32, UInt32, UInt32) = (19, 21, 28)

  static func decompose(_ syllable: UInt32, _ add: (UInt32) -> Void) {
    let index = syllable - syllables.lowerBound
    add(leads + index / (vowelCount * trailCount))
    add(vowels + index % (vowelCount * trailCount) / trailCount)
    if !index.isMultiple(of: trailCount) { add(trails + index % trailCount) }
  }

  static func compose(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if (leads..<leads + leadCount).contains(first), (vowels..<vowels + vowelCount).contains(second) {
      return syllables.lowerBound + ((first - leads) * vowelCount + second - vowels) * trailCount
    }
    guard syllables.contains(first), (first - syllables.lowerBound).isMultiple(of: trailCount),
      (trails + 1..<trails + trailCount).contains(second)
    else { return nil }
    return first + second - trails
  }
}

/// Lower case of single scalars, as Rust's `to_lowercase`.
struct LowerCase: Sendable {
  static let all = LowerCase()

  private var mappings: [UInt32: UInt32] = [:]

  private init() {
    for run in HexadecimalTable.fields(in: UnicodeMappingTables.lowercase, separator: " ") {
      let parts = HexadecimalTable.fields(in: run, separator: ":").compactMap { Int($0, radix: 16) }
      for place in 0..<parts[1] {
        let scalar = parts[0] + place * parts[2]
        mappings[UInt32(scalar)] = UInt32(scalar + parts[3])
      }
    }
  }

  func append(_ scalar: UInt32, to text: inout [UInt8]) {
    if scalar < 0x80 {
      text.append(UInt8(scalar) | ((0x41...0x5A).contains(scalar) ? 0x20 : 0))
    } else if scalar == 0x130 {
      text.append(contentsOf: "i\u{307}".utf8)
    } else {
      text.append(scalar: mappings[scalar] ?? scalar)
    }
  }
}
