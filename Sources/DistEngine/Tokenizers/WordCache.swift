/// The ids of words that were met before: a table of fixed size, for one thread at a time.
///
/// A word has four places, so that a text can make neither the table grow nor a search long; a new word takes the place of an older one.
final class WordCache {
  /// A word's bytes, 24 at most and padded with zeros; its length; how many ids; the ids. As long as a cache line.
  private struct Entry {
    var key: (UInt64, UInt64, UInt64) = (0, 0, 0)
    var length: UInt16 = 0
    var count: UInt16 = 0
    var ids: (Int32, Int32, Int32, Int32, Int32, Int32, Int32, Int32, Int32) = (0, 0, 0, 0, 0, 0, 0, 0, 0)
  }

  private static let longestWord = 24
  private static let mostIDs = 9
  private static let ways = 4
  private static let sets = 1 << 13

  private let entries: UnsafeMutablePointer<Entry>
  private let seed = UInt64.random(in: .min ... .max)
  private let turns: UnsafeMutablePointer<UInt8>

  init() {
    entries = .allocate(capacity: Self.sets * Self.ways)
    entries.initialize(repeating: Entry(), count: Self.sets * Self.ways)
    turns = .allocate(capacity: Self.sets)
    turns.initialize(repeating: 0, count: Self.sets)
  }

  deinit {
    entries.deallocate()
    turns.deallocate()
  }

  /// Appends the ids of a word that isn't empty: those it had before, or those that `compute` appends.
  @inline(__always)
  func append(_ word: UnsafeBufferPointer<UInt8>, to ids: inout [Int32], _ compute: (inout [Int32]) -> Void) {
    guard let start = word.baseAddress, word.count <= Self.longestWord else { return compute(&ids) }
    let count = word.count
    let key = (
      WordHash.load(start, count), count > 8 ? WordHash.load(start + 8, count - 8) : 0,
      count > 16 ? WordHash.load(start + 16, count - 16) : 0
    )
    let hash = WordHash.mix(key.0 ^ seed, key.1 ^ 0x9E37_79B9_7F4A_7C15) ^ WordHash.mix(key.2 ^ UInt64(count), seed | 1)
    let set = Int(truncatingIfNeeded: hash ^ hash >> 32) & (Self.sets - 1)
    let places = entries + set * Self.ways
    for way in 0..<Self.ways where places[way].key == key && places[way].length == UInt16(count) {
      withUnsafeBytes(of: &places[way].ids) { raw in
        let known = raw.assumingMemoryBound(to: Int32.self)
        for place in 0..<Int(places[way].count) { ids.append(known[place]) }
      }
      return
    }
    let before = ids.count
    compute(&ids)
    let new = ids.count - before
    guard new <= Self.mostIDs else { return }
    let way = Int(turns[set]) & (Self.ways - 1)
    turns[set] &+= 1
    places[way].key = key
    (places[way].length, places[way].count) = (UInt16(count), UInt16(new))
    withUnsafeMutableBytes(of: &places[way].ids) { raw in
      let known = raw.assumingMemoryBound(to: Int32.self)
      for place in 0..<new { known[place] = ids[before + place] }
    }
  }
}
