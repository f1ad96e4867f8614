#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Where a data set's arrays lie in one piece of memory. What isn't asked for takes no place.
package struct SequenceLayout: Sendable, Hashable {
  let records: Int
  let ids: Int
  let hasTypes: Bool
  let hasLabels: Bool
  let hasLossStarts: Bool

  package var byteCount: Int { places.end }

  /// Bytes from the start: where each sequence begins `[records + 1]` as Int, then as Int32 ids `[ids]`, types `[ids]`, labels and loss starts
  /// `[records]`.
  fileprivate var places: (ids: Int, types: Int, labels: Int, lossStarts: Int, end: Int) {
    let size = MemoryLayout<Int32>.size
    let ids = (records + 1) * MemoryLayout<Int>.size
    let types = ids + self.ids * size
    let labels = types + (hasTypes ? self.ids * size : 0)
    let lossStarts = labels + (hasLabels ? records * size : 0)
    return (ids, types, labels, lossStarts, lossStarts + (hasLossStarts ? records * size : 0))
  }
}

/// The memory that a data set rests on. Written while it is made, read only afterwards.
package final class SequenceMemory: @unchecked Sendable {
  package let layout: SequenceLayout
  /// All of it.
  let bytes: UnsafeMutableRawBufferPointer
  let offsets: UnsafeMutableBufferPointer<Int>
  let ids, types, labels, lossStarts: UnsafeMutableBufferPointer<Int32>
  /// nil where the memory is this process's own.
  let owner: AnyObject?

  /// Memory of this process, zero. A page is taken when it is first written.
  convenience init(_ layout: SequenceLayout) {
    self.init(layout, in: PageMemory.take(layout.byteCount), owner: nil)
    CoreDumps.leaveOut(UnsafeRawBufferPointer(bytes))
  }

  /// - Parameter owner: whose the memory is; held as long as this is.
  init(_ layout: SequenceLayout, in bytes: UnsafeMutableRawBufferPointer, owner: AnyObject?) {
    precondition(bytes.count >= layout.byteCount, "\(bytes.count) bytes for \(layout.byteCount)")
    (self.layout, self.bytes, self.owner) = (layout, UnsafeMutableRawBufferPointer(rebasing: bytes[..<layout.byteCount]), owner)
    let places = layout.places
    func elements(_ place: Int, _ count: Int) -> UnsafeMutableBufferPointer<Int32> {
      UnsafeMutableRawBufferPointer(rebasing: bytes[place..<place + count * MemoryLayout<Int32>.size]).bindMemory(to: Int32.self)
    }
    offsets = UnsafeMutableRawBufferPointer(rebasing: bytes[..<places.ids]).bindMemory(to: Int.self)
    ids = elements(places.ids, layout.ids)
    types = elements(places.types, layout.hasTypes ? layout.ids : 0)
    labels = elements(places.labels, layout.hasLabels ? layout.records : 0)
    lossStarts = elements(places.lossStarts, layout.hasLossStarts ? layout.records : 0)
  }

  deinit { if owner == nil { PageMemory.release(bytes) } }
}

/// Some of a data set's numbers, in the data set's own memory, which lasts as long as this does.
public struct SequenceIDs: RandomAccessCollection, Equatable, Sendable {
  private let owner: SequenceMemory
  nonisolated(unsafe) private let elements: UnsafePointer<Int32>
  public let startIndex: Int
  public let endIndex: Int

  init(_ owner: SequenceMemory, _ all: UnsafeMutableBufferPointer<Int32>, _ range: Range<Int>) {
    precondition(0 <= range.lowerBound && range.upperBound <= all.count, "\(range) of \(all.count)")
    self.owner = owner
    elements = UnsafePointer(all.baseAddress!)
    (startIndex, endIndex) = (range.lowerBound, range.upperBound)
  }

  public subscript(position: Int) -> Int32 {
    precondition((startIndex..<endIndex).contains(position), "place \(position) of \(startIndex)..<\(endIndex)")
    return elements[position]
  }

  public func withContiguousStorageIfAvailable<Result>(_ body: (UnsafeBufferPointer<Int32>) throws -> Result) rethrows -> Result? {
    try withExtendedLifetime(owner) { try body(UnsafeBufferPointer(start: elements + startIndex, count: count)) }
  }

  public static func == (a: Self, b: Self) -> Bool { a.elementsEqual(b) }
}

/// Whole pages from the system, which takes them back at once: what the allocator keeps for later would count as held.
enum PageMemory {
  static func take(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
    let size = max(byteCount, 1)
    guard let address = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), address != MAP_FAILED else {
      preconditionFailure("no memory for \(size) bytes")
    }
    return UnsafeMutableRawBufferPointer(start: address, count: byteCount)
  }

  static func release(_ bytes: UnsafeMutableRawBufferPointer) { munmap(bytes.baseAddress, max(bytes.count, 1)) }
}

/// Ids of which nobody knows yet how many there will be: in pieces, each given back as soon as its ids have moved to where they stay. One list, whoever
/// refers to it: a copy would keep the pieces.
final class GrowingIDs {
  /// Ids of a piece.
  private static let pieceCount = 1 << 20

  private final class Piece {
    let ids = PageMemory.take(pieceCount * MemoryLayout<Int32>.size).bindMemory(to: Int32.self)
    init() { CoreDumps.leaveOut(UnsafeRawBufferPointer(ids)) }
    deinit { PageMemory.release(UnsafeMutableRawBufferPointer(ids)) }
  }

  private var pieces: [Piece?] = []
  /// Where the first id that hasn't moved is, and where the next one goes, in the pieces' order.
  private var start = 0
  private var end = 0

  var count: Int { end - start }

  func append(_ ids: [Int32]) {
    var rest = ids[...]
    while !rest.isEmpty {
      let (piece, place) = end.quotientAndRemainder(dividingBy: Self.pieceCount)
      if piece == pieces.count { pieces.append(Piece()) }
      let part = rest.prefix(Self.pieceCount - place)
      _ = UnsafeMutableBufferPointer(rebasing: pieces[piece]!.ids[place...]).update(fromContentsOf: part)
      rest = rest.dropFirst(part.count)
      end += part.count
    }
  }

  /// Moves the first `count` ids.
  func move(_ count: Int, to destination: UnsafeMutablePointer<Int32>) {
    precondition(count <= self.count, "\(count) ids of \(self.count)")
    var moved = 0
    while moved < count {
      let (piece, place) = start.quotientAndRemainder(dividingBy: Self.pieceCount)
      let part = min(count - moved, Self.pieceCount - place)
      (destination + moved).update(from: pieces[piece]!.ids.baseAddress! + place, count: part)
      (moved, start) = (moved + part, start + part)
      if start % Self.pieceCount == 0 || start == end { pieces[piece] = nil }
    }
  }
}
