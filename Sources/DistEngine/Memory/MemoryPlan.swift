/// Every buffer of a run, computed from its configuration before anything is allocated.
///
/// Layers, clipping and optimizers declare what they need: a name, a category, a size, and when in a step it is alive.
/// ``layout()`` gives each buffer a place in one slab; buffers that are never alive together may share a place.
/// ``MemoryArena`` allocates exactly that slab, so what is planned is what a run holds.
public struct MemoryPlan: Sendable {
  public enum Category: String, CaseIterable, Codable, Sendable {
    case parameters
    case mappedParameters = "frozen parameters (mapped)"
    case gradients
    case perExampleGradients = "per-example gradients"
    case activations
    case bookKeeping = "book-keeping"
    case optimizerState = "optimizer state"
    case communication
    case data
    case workspace
  }

  /// Names a buffer of a plan.
  public struct BufferID: Hashable, Sendable {
    let index: Int
  }

  /// Whose memory a buffer is.
  public enum Placement: Sendable {
    /// One rank's own.
    case rank
    /// One rank's own part of a window that the ranks of its node share.
    case window
    /// One for all ranks of a node.
    case node
    /// Pages of files, which a node's cache has once for all of its ranks.
    case file
  }

  public struct Buffer: Sendable {
    public let name: String
    public let placement: Placement
    public let category: Category
    /// Bytes asked for.
    public let byteCount: Int
    /// The points of a step's timeline at which the buffer holds something, on either course.
    public let lifetime: ClosedRange<Int>
    /// Those on each course that a microbatch may take: a step with the microbatches of one doesn't need what another one's does.
    public let courses: Courses

    /// Whether the two are never alive together, whichever course is taken.
    func mayShare(with other: Buffer) -> Bool { !courses.overlaps(other.courses) }
  }

  /// A buffer's lifetime on each of the two courses; nil where it isn't used.
  public struct Courses: Sendable, Equatable {
    /// Of a microbatch of several units, and of any where a plan has one course alone.
    public let several: ClosedRange<Int>?
    /// Of a microbatch of one unit, where the plan deals with that in another way.
    public let only: ClosedRange<Int>?

    package init(several: ClosedRange<Int>?, only: ClosedRange<Int>?) {
      precondition(several != nil || only != nil, "a buffer that is never used")
      (self.several, self.only) = (several, only)
    }

    /// The same on both.
    package init(_ lifetime: ClosedRange<Int>) { self.init(several: lifetime, only: lifetime) }

    func overlaps(_ other: Courses) -> Bool {
      Self.overlap(several, other.several) || Self.overlap(only, other.only)
    }

    private static func overlap(_ one: ClosedRange<Int>?, _ other: ClosedRange<Int>?) -> Bool {
      guard let one, let other else { return false }
      return one.overlaps(other)
    }

    /// From the first use to the last, whatever the course.
    var whole: ClosedRange<Int> {
      guard let several, let only else { return several ?? only! }
      return min(several.lowerBound, only.lowerBound)...max(several.upperBound, only.upperBound)
    }
  }

  /// Where the buffers of a plan lie in the slab.
  public struct Layout: Sendable {
    /// Bytes from the slab's start, by buffer.
    public let offsets: [Int]
    /// Bytes of the slab.
    public let byteCount: Int
  }

  /// A lifetime that spans every step.
  public static let always: ClosedRange<Int> = Int.min...Int.max

  /// Buffers start at multiples of this many bytes: a cache line, and the widest vector.
  static let alignment = 64

  public private(set) var buffers: [Buffer] = []

  public init() {}

  /// Declares a buffer of `count` elements of a type.
  package mutating func add<Element: BitwiseCopyable>(
    _ name: String, _ category: Category, count: Int, of type: Element.Type = Float.self,
    lifetime: ClosedRange<Int> = MemoryPlan.always, placement: Placement = .rank
  ) -> BufferID {
    add(name, category, count: count, of: type, courses: Courses(lifetime), placement: placement)
  }

  /// Declares a buffer that isn't alive for as long on both courses.
  package mutating func add<Element: BitwiseCopyable>(
    _ name: String, _ category: Category, count: Int, of type: Element.Type = Float.self, courses: Courses, placement: Placement = .rank
  ) -> BufferID {
    precondition(count >= 0, "buffer \(name) of \(count) elements")
    buffers.append(
      Buffer(
        name: name, placement: placement, category: category, byteCount: count * MemoryLayout<Element>.stride, lifetime: courses.whole,
        courses: courses))
    return BufferID(index: buffers.count - 1)
  }

  /// Bytes of the buffers that aren't of the slab.
  ///
  /// - Parameter category: nil counts all.
  public func byteCount(in placement: Placement, category: Category? = nil) -> Int {
    buffers.reduce(0) {
      $0 + ($1.placement == placement && $1.category == category ?? $1.category ? $1.byteCount : 0)
    }
  }

  /// Bytes that one rank's resident set may come to: its slab, its part of the window, and what its node shares.
  public var byteCountOfRank: Int { layout().byteCount + byteCount(in: .window) + sharedByteCount() }

  /// Bytes that the ranks of a node have once.
  ///
  /// - Parameter category: nil counts all.
  public func sharedByteCount(category: Category? = nil) -> Int { byteCount(in: .node, category: category) + byteCount(in: .file, category: category) }

  /// The slab, of the rank's own buffers. First fit by decreasing size: each buffer takes the lowest place that no buffer alive at the same time holds.
  public func layout() -> Layout {
    var offsets = [Int](repeating: 0, count: buffers.count)
    var placed: [(buffer: Buffer, bytes: Range<Int>)] = []
    var total = 0
    let order = buffers.indices.sorted {
      (buffers[$0].byteCount, $1) > (buffers[$1].byteCount, $0)
    }
    for index in order {
      let buffer = buffers[index]
      guard buffer.placement == .rank else { continue }
      let size = (buffer.byteCount + Self.alignment - 1) / Self.alignment * Self.alignment
      if size == 0 { continue }
      var offset = 0
      for other in placed where !other.buffer.mayShare(with: buffer) {
        if other.bytes.lowerBound >= offset + size { break }
        offset = max(offset, other.bytes.upperBound)
      }
      offsets[index] = offset
      total = max(total, offset + size)
      let bytes = offset..<offset + size
      let position = placed.firstIndex { $0.bytes.lowerBound > bytes.lowerBound } ?? placed.endIndex
      placed.insert((buffer, bytes), at: position)
    }
    return Layout(offsets: offsets, byteCount: total)
  }

  /// Buffers that blocks have alike, under one name.
  public struct BufferGroup: Sendable {
    /// With `h.*` for a block's number.
    public let name: String
    public let category: Category
    public let count: Int
    /// Of all of them together. They need not be alive at the same time.
    public let byteCount: Int
  }

  /// All buffers, those of the blocks in groups, the largest first.
  public func bufferGroups() -> [BufferGroup] {
    let number = /h\.\d+/
    return Dictionary(grouping: buffers) { $0.name.replacing(number, with: "h.*") }
      .map { name, alike in
        BufferGroup(
          name: name, category: alike[0].category, count: alike.count, byteCount: alike.reduce(0) { $0 + $1.byteCount })
      }
      .sorted { ($0.byteCount, $1.name) > ($1.byteCount, $0.name) }
  }

  /// Bytes by category at the fullest point of the timeline, largest first.
  public func bytesByCategoryAtPeak() -> [(category: Category, byteCount: Int)] {
    Dictionary(grouping: buffersAliveAtPeak().map { buffers[$0] }, by: \.category)
      .map { (category: $0.key, byteCount: $0.value.reduce(0) { $0 + $1.byteCount }) }
      .sorted { ($0.byteCount, $1.category.rawValue) > ($1.byteCount, $0.category.rawValue) }
  }

  /// Places in `buffers` of those that are alive at the fullest point of the timeline, on the course on which it is fullest.
  func buffersAliveAtPeak() -> [Int] {
    let size = { (indices: [Int]) in indices.reduce(0) { $0 + buffers[$1].byteCount } }
    let fullest = [\Courses.several, \Courses.only].flatMap { (course: KeyPath<Courses, ClosedRange<Int>?>) in
      let lifetimes = buffers.map { $0.courses[keyPath: course] }
      return Set(lifetimes.compactMap { $0?.lowerBound }).sorted().map { point in
        buffers.indices.filter { lifetimes[$0]?.contains(point) ?? false }
      }
    }
    return fullest.max { size($0) < size($1) } ?? []
  }
}
