/// A vocabulary: tokens as bytes, compared byte for byte, and their ids.
struct TokenTable: Sendable {
  /// All tokens, one behind the other, and where each begins: [count + 1].
  private var bytes: [UInt8] = []
  private var starts: [Int] = [0]
  private(set) var ids: [Int32] = []
  /// A token's place + 1, at its hash or behind it; 0: none.
  private var slots: [Int32]
  /// A token's place by id; −1: none.
  private var places: [Int32] = []
  /// Of the process, so that no file can be written to make them collide.
  private let seed = UInt64.random(in: .min ... .max)
  /// Bytes of the longest token.
  private(set) var longest = 0

  /// Ids are below it.
  static let mostIDs = 1 << 22

  /// Why a token can't be added.
  enum Fault: Error { case tokenTwice, idTwice, idBeyondRange }

  init(capacity: Int) {
    var size = 16
    while size < 2 * capacity { size *= 2 }
    slots = [Int32](repeating: 0, count: size)
  }

  var count: Int { ids.count }
  /// Largest id + 1.
  var idEnd: Int { places.count }

  /// - Precondition: fewer tokens than the table was made for.
  mutating func add(_ token: some Collection<UInt8>, id: Int) throws(Fault) {
    precondition(2 * count < slots.count, "more tokens than there is room for")
    guard (0..<Self.mostIDs).contains(id) else { throw .idBeyondRange }
    let new = Array(token)
    let slot = new.withUnsafeBufferPointer(self.slot)
    guard slots[slot] == 0 else { throw .tokenTwice }
    if id >= places.count { places.append(contentsOf: repeatElement(-1, count: id + 1 - places.count)) }
    guard places[id] < 0 else { throw .idTwice }
    places[id] = Int32(count)
    ids.append(Int32(id))
    bytes += new
    starts.append(bytes.count)
    longest = max(longest, new.count)
    slots[slot] = Int32(count)
  }

  func id(of token: UnsafeBufferPointer<UInt8>) -> Int32? {
    guard token.count <= longest else { return nil }
    let place = slots[slot(token)]
    return place == 0 ? nil : ids[Int(place) - 1]
  }

  func id(of token: [UInt8]) -> Int32? { token.withUnsafeBufferPointer { id(of: $0) } }

  func token(_ id: Int32) -> ArraySlice<UInt8>? {
    guard places.indices.contains(Int(id)), places[Int(id)] >= 0 else { return nil }
    return self[Int(places[Int(id)])]
  }

  /// The token that was added at a place.
  subscript(place: Int) -> ArraySlice<UInt8> { bytes[starts[place]..<starts[place + 1]] }

  /// Where a token is, or would be.
  private func slot(_ token: UnsafeBufferPointer<UInt8>) -> Int {
    var slot = Int(truncatingIfNeeded: WordHash.hash(token, seed: seed)) & (slots.count - 1)
    while slots[slot] != 0, !equals(token, Int(slots[slot]) - 1) { slot = (slot + 1) & (slots.count - 1) }
    return slot
  }

  private func equals(_ token: UnsafeBufferPointer<UInt8>, _ place: Int) -> Bool {
    let start = starts[place]
    guard starts[place + 1] - start == token.count else { return false }
    return bytes.withUnsafeBufferPointer { bytes in
      for offset in 0..<token.count where bytes[start + offset] != token[offset] { return false }
      return true
    }
  }
}

/// Hashes of short byte strings.
enum WordHash {
  @inline(__always)
  static func mix(_ first: UInt64, _ second: UInt64) -> UInt64 {
    let product = first.multipliedFullWidth(by: second)
    return product.high ^ product.low
  }

  /// Up to eight bytes as a number.
  @inline(__always)
  static func load(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
    let raw = UnsafeRawPointer(bytes)
    if count >= 8 { return raw.loadUnaligned(as: UInt64.self) }
    if count >= 4 {
      let low = UInt64(raw.loadUnaligned(as: UInt32.self))
      let high = UInt64(raw.loadUnaligned(fromByteOffset: count - 4, as: UInt32.self))
      return low | high << UInt64(8 * (count - 4))
    }
    guard count > 0 else { return 0 }
    return UInt64(bytes[0]) | UInt64(bytes[count >> 1]) << UInt64(8 * (count >> 1)) | UInt64(bytes[count - 1]) << UInt64(8 * (count - 1))
  }

  static func hash(_ bytes: UnsafeBufferPointer<UInt8>, seed: UInt64) -> UInt64 {
    var hash = seed ^ UInt64(bytes.count) &* 0x9E37_79B9_7F4A_7C15
    guard let start = bytes.baseAddress else { return mix(hash, 0xD6E8_FEB8_6659_FD93) }
    var position = 0
    while position < bytes.count {
      hash = mix(hash ^ load(start + position, bytes.count - position), 0xD6E8_FEB8_6659_FD93)
      position += 8
    }
    return mix(hash ^ seed, 0xA076_1D64_78BD_642F)
  }
}
