#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The blocks of a file that are one of several parts', in their order. A block has whole records, and which they are is a function of the file alone:
/// ranks that each read a part need not ask each other.
///
/// Where every line end ends a record, a block's records are those that begin within so many bytes of the file, and a part reads its own blocks alone.
/// Else, and where the file is compressed, every part passes over all of it and keeps its own.
final class BlockReader {
  struct Block {
    let index: Int
    /// Bytes before it, from the first record of the file.
    let place: Int
    var bytes: [UInt8]
  }

  private let file: RecordFile
  private var stream: ByteStream
  private let part: Int
  private let parts: Int
  private let blockBytes: Int
  private let mostRecordBytes: Int
  /// The next block, whosever it is; where reading failed, the one that it failed in.
  private(set) var index = 0

  // Of a file that is passed over.
  private let piece: UnsafeMutableBufferPointer<UInt8>
  private var rest: Range<Int> = 0..<0
  private var scanner: RecordScanner
  private var place = 0
  private var isAtEnd = false

  /// - Parameter firstPart: whose the first block is; the next is the next part's, and so on.
  init(
    _ file: RecordFile, part: Int = 0, of parts: Int = 1, firstPart: Int = 0, blockBytes: Int = RecordFile.blockBytes,
    mostRecordBytes: Int = RecordFile.mostRecordBytes
  ) throws(DataError) {
    do throws(FileError) {
      stream = try ByteStream(path: file.path, isCompressed: file.isCompressed)
      // The file that was looked at, whose columns and size these are.
      guard file.identity == nil || stream.identity == file.identity else {
        throw FileError(path: file.path, action: "read", reason: "it changed while it was read")
      }
    } catch { throw .unreadable(error) }
    self.file = file
    (self.parts, self.blockBytes, self.mostRecordBytes) = (parts, blockBytes, mostRecordBytes)
    self.part = ((part - firstPart) % parts + parts) % parts
    scanner = RecordScanner(file.format)
    piece = .allocate(capacity: ByteStream.pieceBytes)
  }

  deinit { piece.deallocate() }

  /// Bytes of the file, as it lies there, that all parts together have come to, or an estimate.
  var bytesPassed: Int { canSeek ? min(file.size, index * blockBytes) : isAtEnd ? file.size : stream.position }

  private var canSeek: Bool { !file.isCompressed && file.format.hasRecordsOfOneLine }

  /// The next block of this part; nil: there is none, and the file hasn't changed.
  func next() throws(DataError) -> Block? {
    do {
      let block = canSeek ? try nextByPlace() : try nextInStream()
      if block == nil { try stream.checkUnchanged() }
      return block
    } catch { throw .unreadable(error) }
  }

  private func tooLong() -> FileError {
    FileError(
      path: file.path, action: "read",
      reason: "it holds a record of more than \(mostRecordBytes >> 20) MB" + (file.format == .csv ? "; a quoted field may lack its end" : ""))
  }

  // MARK: By place

  private func nextByPlace() throws(FileError) -> Block? {
    while true {
      while index % parts != part { index += 1 }
      let place = index * blockBytes
      guard file.start + place < file.size else { return nil }
      let block = try lines(beginningFrom: place, isFirst: index == 0).map { Block(index: index, place: $0.place, bytes: $0.lines) }
      index += 1
      if let block { return block }
    }
  }

  /// The lines that begin in a block's bytes; nil: none does.
  private func lines(beginningFrom place: Int, isFirst: Bool) throws(FileError) -> (place: Int, lines: [UInt8])? {
    // Whether a line begins at the block's first byte is for the byte before it to say.
    let before = isFirst ? 0 : 1
    let from = file.start + place - before
    var bytes: [UInt8] = []
    try extend(&bytes, by: blockBytes + before + (64 << 10), from: from)
    var first = 0
    if !isFirst {
      guard let end = Self.lineEnd(in: bytes, from: 0), end < blockBytes else { return nil }
      first = end + 1
    }
    var searched = blockBytes + before - 1
    while true {
      if let end = Self.lineEnd(in: bytes, from: searched) {
        bytes.removeLast(bytes.count - end - 1)
        break
      }
      searched = max(searched, bytes.count)
      guard bytes.count - blockBytes <= mostRecordBytes else { throw tooLong() }
      if try extend(&bytes, by: ByteStream.pieceBytes, from: from) == 0 { break }
    }
    // A line may begin where the file ends.
    guard first < bytes.count else { return nil }
    bytes.removeFirst(first)
    return (place - before + first, bytes)
  }

  @discardableResult
  private func extend(_ bytes: inout [UInt8], by count: Int, from: Int) throws(FileError) -> Int {
    let old = bytes.count
    bytes.append(contentsOf: repeatElement(0, count: count))
    let read = try bytes.withUnsafeMutableBufferPointer { (all) throws(FileError) in
      try stream.read(at: from + old, into: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: all[old...])))
    }
    bytes.removeLast(count - read)
    return read
  }

  private static func lineEnd(in bytes: [UInt8], from: Int) -> Int? {
    guard from < bytes.count else { return nil }
    return bytes.withUnsafeBufferPointer { bytes in
      memchr(bytes.baseAddress! + from, Int32(UInt8(ascii: "\n")), bytes.count - from).map { UnsafeRawPointer($0) - UnsafeRawPointer(bytes.baseAddress!) }
    }
  }

  // MARK: In a stream

  private func nextInStream() throws(FileError) -> Block? {
    while true {
      let isOwn = index % parts == part
      let begin = place
      var bytes: [UInt8] = []
      if isOwn { bytes.reserveCapacity(blockBytes + (64 << 10)) }
      guard try passBlock(&bytes, keeps: isOwn) else { return nil }
      index += 1
      if isOwn { return Block(index: index - 1, place: begin, bytes: bytes) }
    }
  }

  /// Passes over a block, and keeps its bytes where it is asked to.
  ///
  /// - Returns: whether there was one.
  private func passBlock(_ bytes: inout [UInt8], keeps: Bool) throws(FileError) -> Bool {
    var count = 0
    while true {
      if rest.isEmpty, try !fill() { return count > 0 }
      let here = UnsafeBufferPointer(rebasing: UnsafeBufferPointer(piece)[rest])
      let end = scanner.end(in: here, least: blockBytes - count)
      let taken = end ?? here.count
      if keeps { bytes.append(contentsOf: UnsafeBufferPointer(rebasing: here[..<taken])) }
      rest = rest.lowerBound + taken..<rest.upperBound
      (count, place) = (count + taken, place + taken)
      if end != nil { return true }
      guard count - blockBytes <= mostRecordBytes else { throw tooLong() }
    }
  }

  /// The next piece of the file; of the first what stands before the records is passed over.
  private func fill() throws(FileError) -> Bool {
    guard !isAtEnd else { return false }
    var skipped = place == 0 ? file.start : 0
    while true {
      let count = try stream.read(into: UnsafeMutableRawBufferPointer(piece))
      isAtEnd = count < piece.count
      rest = min(skipped, count)..<count
      skipped -= min(skipped, count)
      if !rest.isEmpty || isAtEnd { return !rest.isEmpty }
    }
  }
}
