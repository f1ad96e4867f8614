/// Which pairs of tokens become one, and in which order: a pair's rank and the id that it makes.
struct BytePairMerges: Sendable {
  private var pairs: [UInt64]
  private var ranks: [Int32]
  /// The id that a rank's merge makes.
  private var results: [Int32] = []
  private let seed = UInt64.random(in: .min ... .max) | 1

  init(capacity: Int) {
    var size = 16
    while size < 2 * capacity { size *= 2 }
    pairs = [UInt64](repeating: 0, count: size)
    ranks = [Int32](repeating: -1, count: size)
    results.reserveCapacity(capacity)
  }

  /// Adds the merge of the next rank. Of a pair that is there already it takes the place.
  mutating func add(_ first: Int32, _ second: Int32, makes result: Int32) {
    precondition(2 * results.count < pairs.count, "more merges than there is room for")
    let slot = slot(Self.pair(first, second))
    pairs[slot] = Self.pair(first, second)
    ranks[slot] = Int32(results.count)
    results.append(result)
  }

  @inline(__always)
  private static func pair(_ first: Int32, _ second: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: first)) << 32 | UInt64(UInt32(bitPattern: second))
  }

  @inline(__always)
  private func slot(_ pair: UInt64) -> Int {
    var slot = Int(truncatingIfNeeded: WordHash.mix(pair ^ 0x9E37_79B9_7F4A_7C15, seed)) & (pairs.count - 1)
    while ranks[slot] >= 0, pairs[slot] != pair { slot = (slot + 1) & (pairs.count - 1) }
    return slot
  }

  /// A pair's rank; nil where it doesn't become one.
  @inline(__always)
  func rank(_ first: Int32, _ second: Int32) -> Int32? {
    let rank = ranks[slot(Self.pair(first, second))]
    return rank < 0 ? nil : rank
  }

  func result(ofRank rank: Int32) -> Int32 { results[Int(rank)] }
}

/// Merges the symbols of a word, the pair of the lowest rank first, of equal ones the leftmost: in time n·log n, by a heap over a linked
/// list.
struct MergeQueue {
  /// Symbols by place; −1: merged into the one in front of it.
  private(set) var ids: [Int32] = []
  private var previous: [Int32] = []
  private var next: [Int32] = []
  /// rank << 32 | place of the left symbol, as a heap of four children a node, the least first.
  private var heap: [UInt64] = []

  /// Symbols beyond which memory isn't kept for the next word.
  private static let keptCapacity = 1 << 16

  var count: Int { ids.count }

  mutating func append(_ id: Int32) { ids.append(id) }

  /// Merges what was appended, appends what is left to `result` and is empty again.
  mutating func merge(by merges: BytePairMerges, into result: inout [Int32]) {
    let count = ids.count
    previous.removeAll(keepingCapacity: true)
    next.removeAll(keepingCapacity: true)
    heap.removeAll(keepingCapacity: true)
    for place in 0..<count {
      previous.append(Int32(place - 1))
      next.append(Int32(place + 1))
      if place + 1 < count { queue(place, place + 1, merges, isSorted: false) }
    }
    if heap.count > 1 { for place in (0...(heap.count - 2) / 4).reversed() { sink(place) } }
    while let top = popLeast() {
      let (rank, left) = (Int32(truncatingIfNeeded: top >> 32), Int(top & 0xFFFF_FFFF))
      let right = Int(next[left])
      // Merged since it was queued, itself or its neighbour.
      guard ids[left] >= 0, right < count, merges.rank(ids[left], ids[right]) == rank else { continue }
      ids[left] = merges.result(ofRank: rank)
      ids[right] = -1
      let after = Int(next[right])
      next[left] = Int32(after)
      if after < count {
        previous[after] = Int32(left)
        queue(left, after, merges, isSorted: true)
      }
      if previous[left] >= 0 { queue(Int(previous[left]), left, merges, isSorted: true) }
    }
    for id in ids where id >= 0 { result.append(id) }
    if count > Self.keptCapacity { self = MergeQueue() } else { ids.removeAll(keepingCapacity: true) }
  }

  @inline(__always)
  private mutating func queue(_ left: Int, _ right: Int, _ merges: BytePairMerges, isSorted: Bool) {
    guard let rank = merges.rank(ids[left], ids[right]) else { return }
    heap.append(UInt64(UInt32(rank)) << 32 | UInt64(left))
    if isSorted { rise(heap.count - 1) }
  }

  private mutating func rise(_ start: Int) {
    var place = start
    let entry = heap[place]
    while place > 0, heap[(place - 1) / 4] > entry {
      heap[place] = heap[(place - 1) / 4]
      place = (place - 1) / 4
    }
    heap[place] = entry
  }

  private mutating func sink(_ start: Int) {
    var place = start
    let entry = heap[place]
    while case let first = 4 * place + 1, first < heap.count {
      var least = first
      for child in first + 1..<max(first + 1, min(first + 4, heap.count)) where heap[child] < heap[least] { least = child }
      guard heap[least] < entry else { break }
      heap[place] = heap[least]
      place = least
    }
    heap[place] = entry
  }

  private mutating func popLeast() -> UInt64? {
    guard let least = heap.first else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      sink(0)
    }
    return least
  }
}
