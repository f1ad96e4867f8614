import CZlib

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The bytes of a regular file from first to last, piece by piece; of a `.gz` those that were compressed (RFC 1952), whatever the number of its
/// members.
///
/// Memory is one piece and what zlib keeps, some 40 KB, however much a file may unpack to: deflate's largest ratio is 1032.
struct ByteStream: ~Copyable {
  /// Bytes that are read at a time.
  static let pieceBytes = 1 << 20

  let path: String
  /// What tells the file from others, and from itself after a change.
  let identity: FileIdentity
  private let file: Int32
  private var inflater: Inflater?

  /// - Throws: ``FileError``: what ``FileBytes/checkReadable(_:)`` refuses.
  init(path: String, isCompressed: Bool) throws(FileError) {
    // Opening a pipe waits for its writer.
    try FileBytes.checkReadable(path)
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw FileError(path: path, action: "read") }
    do {
      identity = try FileIdentity(file, path: path)
    } catch {
      close(file)
      throw error
    }
    (self.path, self.file) = (path, file)
    if isCompressed { inflater = Inflater() }
  }

  deinit { close(file) }

  /// Bytes of the file, as it lies there.
  var size: Int { identity.size }
  /// How many of them are read.
  var position: Int { Int(lseek(file, 0, SEEK_CUR)) }

  /// Fills memory from its start as far as there are bytes; of fewer than it holds the last is the file's.
  ///
  /// - Returns: how many there were.
  /// - Throws: ``FileError``, where a `.gz` is none, too: damaged, or cut off.
  mutating func read(into memory: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
    var filled = 0
    while filled < memory.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: memory[filled...])
      let count: Int
      if let inflater { count = try inflater.inflate(into: rest, file: file, path: path) } else { count = try Self.read(file, into: rest, path: path) }
      if count == 0 { break }
      filled += count
    }
    return filled
  }

  /// Fills memory from a place in a file that isn't compressed.
  func read(at offset: Int, into memory: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
    precondition(inflater == nil, "places in what is compressed")
    var filled = 0
    while filled < memory.count {
      let count = pread(file, memory.baseAddress! + filled, memory.count - filled, off_t(offset + filled))
      if count == 0 { break }
      if count > 0 { filled += count } else if errno != EINTR { throw FileError(path: path, action: "read") }
    }
    return filled
  }

  fileprivate static func read(_ file: Int32, into memory: UnsafeMutableRawBufferPointer, path: String) throws(FileError) -> Int {
    while true {
      let count = readSome(file, memory.baseAddress, memory.count)
      if count >= 0 { return count }
      guard errno == EINTR else { throw FileError(path: path, action: "read") }
    }
  }

  /// - Throws: ``FileError`` where the file has changed since it was opened: what was read of it is of no one moment.
  func checkUnchanged() throws(FileError) {
    guard try FileIdentity(file, path: path) == identity else {
      throw FileError(path: path, action: "read", reason: "it changed while it was read")
    }
  }
}

/// `read(2)`, out of the shadow of `ByteStream.read`.
private func readSome(_ file: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int { read(file, bytes, count) }

/// zlib's state for one file.
private final class Inflater {
  private enum Place {
    case start, member, betweenMembers
    /// Zeros that fill up the last block of a tape.
    case padding
  }

  private var state = z_stream()
  private let input = UnsafeMutableRawBufferPointer.allocate(byteCount: ByteStream.pieceBytes, alignment: 64)
  private var place = Place.start

  init() {
    // 16 more than the largest window asks for gzip's header and check sum.
    let code = inflateInit2_(&state, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    precondition(code == Z_OK, "zlib doesn't start: \(code)")
  }

  deinit {
    inflateEnd(&state)
    input.deallocate()
  }

  /// - Returns: 0 at the end.
  func inflate(into memory: UnsafeMutableRawBufferPointer, file: Int32, path: String) throws(FileError) -> Int {
    let most = min(memory.count, 1 << 30)
    state.next_out = memory.baseAddress!.assumingMemoryBound(to: UInt8.self)
    state.avail_out = UInt32(most)
    while state.avail_out == UInt32(most) {
      if state.avail_in == 0 {
        state.next_in = input.baseAddress!.assumingMemoryBound(to: UInt8.self)
        state.avail_in = UInt32(try ByteStream.read(file, into: input, path: path))
      }
      if state.avail_in == 0 {
        switch place {
        case .start: throw Self.error(path, "it ends in .gz and is no gzip file")
        case .member: throw Self.error(path, "its gzip data end too early: the file is cut off")
        case .betweenMembers, .padding: return 0
        }
      }
      guard try isInMember(path) else { continue }
      switch CZlib.inflate(&state, Z_NO_FLUSH) {
      case Z_OK, Z_BUF_ERROR: break
      case Z_STREAM_END:
        place = .betweenMembers
        inflateReset(&state)
      case Z_MEM_ERROR: throw Self.error(path, "no memory to unpack it")
      default: throw Self.error(path, "its gzip data are damaged")
      }
    }
    return most - Int(state.avail_out)
  }

  /// Whether the input, which is not empty, goes on with a member or begins one. Zeros behind the last one are passed over; anything else is damage.
  private func isInMember(_ path: String) throws(FileError) -> Bool {
    let next = UnsafeBufferPointer(start: UnsafePointer(state.next_in), count: Int(state.avail_in))
    switch place {
    case .member: return true
    case .start:
      guard next.starts(with: [0x1F, 0x8B]) else { throw Self.error(path, "it ends in .gz and is no gzip file") }
    case .betweenMembers where next[0] != 0: break
    case .betweenMembers, .padding:
      guard next.allSatisfy({ $0 == 0 }) else { throw Self.error(path, "its gzip data are damaged") }
      place = .padding
      state.avail_in = 0
      return false
    }
    place = .member
    return true
  }

  private static func error(_ path: String, _ reason: String) -> FileError { FileError(path: path, action: "read", reason: reason) }
}
