import Crypto
import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A safetensors file of slices, written in order. Past the page cache where the file system can (`O_DIRECT`): the system needn't copy what nobody
/// reads soon, and what the cache holds, the data set and mapped weights, stays there.
package final class SliceFile {
  private let name: String
  private let path: String
  private let file: Int32
  private var hash = SHA256()
  private var bytes = 0
  private var isOpen = true
  private var isDirect = false

  /// What isn't written yet: a piece that is still in the processor's cache when it is hashed.
  private let piece: UnsafeMutableRawBufferPointer
  private var filled = 0

  package static let pieceBytes = 512 << 10
  /// What devices want addresses, lengths and places to be multiples of.
  private static let alignment = 4096
  // O_DIRECT, which is a GNU extension and so isn't imported.
  #if arch(arm64)
    private static let direct: Int32 = 0o200000
  #else
    private static let direct: Int32 = 0o40000
  #endif

  /// Creates `state-R-of-N.safetensors` and writes its header.
  package init(rank: Int, of ranks: Int, in directory: String, slices: [CheckpointSlice]) throws {
    name = "state-\(rank)-of-\(ranks).safetensors"
    path = "\(directory)/\(name)"
    file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw FileError(path: path, action: "written") }
    piece = .allocate(byteCount: Self.pieceBytes, alignment: Self.alignment)
    setDirect(true)
    let start = Safetensors.start(slices.map { ($0.name, [$0.elements.count]) }, metadata: [:])
    try start.withUnsafeBytes { try append($0) }
  }

  deinit {
    piece.deallocate()
    if isOpen { Glibc.close(file) }
  }

  package func append(_ values: Vector) throws { try append(UnsafeRawBufferPointer(values)) }

  private func append(_ all: UnsafeRawBufferPointer) throws {
    var rest = all[...]
    while !rest.isEmpty {
      let part = rest.prefix(Self.pieceBytes - filled)
      UnsafeMutableRawBufferPointer(rebasing: piece[filled...]).copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
      filled += part.count
      rest = rest.dropFirst(part.count)
      if filled == Self.pieceBytes { try writePiece() }
    }
  }

  private func writePiece() throws {
    let full = UnsafeRawBufferPointer(rebasing: piece[..<filled])
    hash.update(bufferPointer: full)
    try writeFully(UnsafeRawBufferPointer(rebasing: full[writeDirect(full)...]), to: file, path: path)
    bytes += filled
    filled = 0
  }

  /// Writes what it can past the cache. The rest goes through it where a file system takes the flag and not the write, or a limit cuts a piece off
  /// at a place where no piece may begin; what fails for another reason fails again, and says so.
  ///
  /// - Returns: bytes written.
  private func writeDirect(_ full: UnsafeRawBufferPointer) -> Int {
    guard isDirect else { return 0 }
    let result = write(file, full.baseAddress, full.count)
    if result < 0 ? errno == EINVAL : result < full.count { setDirect(false) }
    return max(0, result)
  }

  private func setDirect(_ wanted: Bool) {
    let flags = fcntl(file, F_GETFL)
    isDirect = fcntl(file, F_SETFL, wanted ? flags | Self.direct : flags & ~Self.direct) == 0 && wanted
  }

  /// Writes the rest, and returns when all is on the disk.
  package func close() throws -> CheckpointManifest.File {
    // Not a multiple of anything.
    setDirect(false)
    try writePiece()
    guard fsync(file) == 0 else { throw FileError(path: path, action: "flushed to the disk") }
    isOpen = false
    guard Glibc.close(file) == 0 else { throw FileError(path: path, action: "written") }
    return CheckpointManifest.File(name: name, bytes: bytes, sha256: hash.finalize().hexadecimal)
  }
}
