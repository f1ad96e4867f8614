/// Whether this process may take so many bytes more, asked before it does: an allocation that fails ends the program.
enum MemoryRoom {
  /// Less is not worth asking the system for.
  private static let smallest = 64 << 20

  /// - Throws: ``FileError`` that names the file whose content needs `bytes`, and what there is.
  static func check(_ bytes: Int, for path: String) throws(FileError) {
    guard bytes > smallest else { return }
    let room = min(AvailableMemory.current.byteCount ?? .max, AddressSpace.room ?? .max)
    guard bytes > room else { return }
    let megabytes = { (count: Int) in count >> 20 }
    throw FileError(
      path: path, action: "read",
      reason:
        "its records need \(megabytes(bytes)) MB of memory, and this process can take \(megabytes(room)): split the file or use a larger machine"
    )
  }
}
