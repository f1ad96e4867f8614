/// Makes inputs from others: what libFuzzer does, without coverage and without its runtime, the same in every run.
public struct Mutator<Random: RandomNumberGenerator> {
  private let seeds: [[UInt8]]
  private var random: Random

  private let words: [[UInt8]] = {
    let texts = [
      "{\"", "\":", "\"", "[", "]", "{", "}", ",", ":", "null", "true", "-0", "1e308", "1e999", "9223372036854775807",
      "18446744073709551616", "-1", "0x1p-3", "nan", "inf", "\\u0000", "\\u001b", "\\ud800", "\\n", "\"\"", "\n", "\r\n", "\r",
      "\t", "\0",
      "\u{FEFF}", "\u{301}", "\u{2028}", "text", "\"text\":\"", "\"shape\":[", "\"data_offsets\":[0,8]", "../",
      "version https://git-lfs.github.com/spec/",
    ]
    return texts.map { Array($0.utf8) } + [[0xFF, 0xFE], [0xFE, 0xFF], [0xFF, 0xFE, 0, 0], [0xC3], [0xED, 0xA0, 0x80]]
      + ["[", "{\"a\":", "0", "\","].map { Array(String(repeating: $0, count: 150).utf8) }
  }()

  /// - Parameter seeds: at least one.
  public init(seeds: [[UInt8]], random: Random) { (self.seeds, self.random) = (seeds, random) }

  /// A seed, changed in up to four ways.
  public mutating func next() -> [UInt8] {
    var bytes = seeds.randomElement(using: &random)!
    for _ in 0..<Int.random(in: 1...4, using: &random) { change(&bytes) }
    return bytes
  }

  private mutating func change(_ bytes: inout [UInt8]) {
    let place = Int.random(in: 0...bytes.count, using: &random)
    let range = place..<min(bytes.count, place + Int.random(in: 0...16, using: &random))
    switch Int.random(in: 0..<7, using: &random) {
    case 0 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    case 1 where place < bytes.count: bytes[place] = .random(in: .min ... .max, using: &random)
    case 2: bytes.removeSubrange(place...)
    case 3: bytes.removeSubrange(range)
    case 4: bytes.insert(contentsOf: Array(bytes[range]), at: place)
    case 5:
      let other = seeds.randomElement(using: &random)!
      bytes.replaceSubrange(place..., with: other[Int.random(in: 0...other.count, using: &random)...])
    default: bytes.replaceSubrange(range, with: words.randomElement(using: &random)!)
    }
  }
}
