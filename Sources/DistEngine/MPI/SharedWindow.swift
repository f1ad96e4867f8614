import CMPI

/// Memory that the ranks of a node share: each has a part of its own, and all read and write all parts (MPI_Win_allocate_shared, MPI 4.0,
/// 12.2.3).
///
/// Made and freed collectively by the ranks of one node. What one rank has written is seen by the others after ``fence()``. A window that
/// isn't freed lasts as long as the process: letting go of it by chance, on a rank that fails alone, would leave the rank waiting for the others.
package final class SharedWindow {
  package let communicator: Communicator
  private var handle: CMPI_Win
  private let parts: [UnsafeMutableRawBufferPointer]

  /// Collective. The memory is zero when made, and its pages are this rank's from the start: a file system for shared memory that is too
  /// small shows now, and not in the middle of a step.
  ///
  /// - Parameters:
  ///   - byteCount: of this rank's own part, 0 or more; it may differ between ranks.
  ///   - touchesPages: false: pages are taken as they are written, for what comes from memory that is given back at the same time. Whoever asks for it
  ///     makes sure that there is room.
  package init(byteCount: Int, touchesPages: Bool = true, communicator: Communicator) throws {
    precondition(byteCount >= 0, "a window of \(byteCount) bytes")
    self.communicator = communicator
    var handle = CMPI_Win(raw: 0)
    try communicator.collective("MPI_Win_allocate_shared") {
      CMPI_Win_allocate_shared(byteCount, communicator.handle, &handle)
    }
    self.handle = handle
    parts = try communicator.allgather(byteCount).enumerated().map { rank, asked in
      // The library may have rounded up to whole pages.
      var (count, base): (Int, UnsafeMutableRawPointer?) = (0, nil)
      try communicator.collective("MPI_Win_shared_query") {
        CMPI_Win_shared_query(handle, Int32(rank), &count, &base)
      }
      precondition(count >= asked, "a part of \(count) bytes where \(asked) were asked for")
      return UnsafeMutableRawBufferPointer(start: asked == 0 ? nil : base, count: asked)
    }
    for part in parts { CoreDumps.leaveOut(UnsafeRawBufferPointer(part)) }
    if byteCount > 0 && touchesPages { parts[communicator.rank].initializeMemory(as: UInt8.self, repeating: 0) }
    try fence()
  }

  /// MPI_Win_free (12.2.5): collective. The memory is gone afterwards.
  package func free() throws {
    try communicator.collective("MPI_Win_free") { CMPI_Win_free(&handle) }
  }

  /// The elements of a rank's part.
  package func elements<Element: BitwiseCopyable>(ofRank rank: Int, as type: Element.Type = Float.self) -> UnsafeMutableBufferPointer<Element> {
    parts[rank].bindMemory(to: Element.self)
  }

  /// Returns when every rank has called it; then each sees what the others wrote before (12.7.1, example 12.21: sync, barrier, sync).
  package func fence() throws {
    try communicator.collective("MPI_Win_sync") { CMPI_Win_sync(handle) }
    try communicator.barrier()
    try communicator.collective("MPI_Win_sync") { CMPI_Win_sync(handle) }
  }
}
