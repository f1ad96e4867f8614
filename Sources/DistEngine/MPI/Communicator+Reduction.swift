import CMPI

/// A number that MPI can add up and compare: its datatype (MPI 4.0, 3.2.2).
package protocol ReducibleNumber: BitwiseCopyable {
  static var mpiType: CMPI_Datatype { get }
}

extension Float: ReducibleNumber {
  package static var mpiType: CMPI_Datatype { CMPI_float() }
}
extension Double: ReducibleNumber {
  package static var mpiType: CMPI_Datatype { CMPI_double() }
}
extension Int64: ReducibleNumber {
  package static var mpiType: CMPI_Datatype { CMPI_int64() }
}
extension Int: ReducibleNumber {
  package static var mpiType: CMPI_Datatype { CMPI_int64() }
}

/// MPI_Barrier, MPI_Allreduce, MPI_Reduce_scatter and the MPI_Allgatherv that belongs to it (MPI 4.0, 6.3, 6.7, 6.9.6 and 6.10.2).
///
/// Buffers are as long on every rank, and are worked on in pieces of 16 MB: one call for 500 MB took 3.7 s on four ranks where pieces took
/// 0.8, and needed half as much memory again. An empty buffer makes no call, on any rank.
extension Communicator {
  /// The largest buffer that goes to MPI in one call.
  package static var pieceBytes: Int { 16 << 20 }

  /// Returns when every rank has called it (6.3).
  public func barrier() throws {
    try collective("MPI_Barrier") { CMPI_Barrier(handle) }
  }

  /// Replaces each element by its sum over the ranks. All ranks get the same bits; the order of summation, and so the last bits, is
  /// MPI's and changes with the number of ranks.
  package func allreduceSum<Number: ReducibleNumber>(_ buffer: UnsafeMutableBufferPointer<Number>) throws {
    try inPieces(buffer) { base, count in
      if size > 2 && count * MemoryLayout<Number>.stride >= Self.slicedBytes {
        try allreduceSumInSlices(base, count)
      } else {
        try collective("MPI_Allreduce") { CMPI_Allreduce_in_place(base, count, Number.mpiType, CMPI_sum(), handle) }
      }
    }
  }

  /// Sums of at least so many bytes are made in slices.
  package static var slicedBytes: Int { 1 << 20 }

  /// Every rank adds up one slice and gives it to all: 2(n - 1)/n of the buffer leaves each of n ranks, the least there can be (Chan et al.
  /// 2007, "Collective communication: theory, practice, and experience"). Open MPI's own choice for large sums sends up to
  /// twice as much where n isn't a power of two (docs/performance.md).
  private func allreduceSumInSlices<Number: ReducibleNumber>(_ base: UnsafeMutablePointer<Number>, _ count: Int) throws {
    let bound = { [size] (rank: Int) in count * rank / size }
    let slice = { (rank: Int) in bound(rank + 1) - bound(rank) }
    let buffer = UnsafeMutableBufferPointer(start: base, count: count)
    try reduceScatterSum(buffer, counts: slice)
    (base + bound(rank)).update(from: base, count: slice(rank))
    try allgather(buffer, counts: slice)
  }

  /// Adds up over the ranks a buffer of one block a rank, one behind the other: on return the sum of this rank's block lies at the
  /// beginning, and what follows it is undefined. In one call: the caller works in pieces.
  package func reduceScatterSum<Number: ReducibleNumber>(_ buffer: UnsafeMutableBufferPointer<Number>, counts: (_ rank: Int) -> Int) throws {
    guard let base = buffer.baseAddress, !buffer.isEmpty, size > 1 else { return }
    try withBlocks(counts, of: buffer.count) { counts, _ in
      try collective("MPI_Reduce_scatter") {
        CMPI_Reduce_scatter_in_place(base, counts, Number.mpiType, CMPI_sum(), handle)
      }
    }
  }

  /// Gives every rank all blocks of a buffer of one block a rank, one behind the other, of which each has its own in its place. In one call.
  package func allgather<Number: ReducibleNumber>(_ buffer: UnsafeMutableBufferPointer<Number>, counts: (_ rank: Int) -> Int) throws {
    guard let base = buffer.baseAddress, !buffer.isEmpty, size > 1 else { return }
    try withBlocks(counts, of: buffer.count) { counts, offsets in
      try collective("MPI_Allgatherv") {
        CMPI_Allgatherv_in_place(base, counts, offsets, Number.mpiType, handle)
      }
    }
  }

  private func withBlocks(
    _ count: (_ rank: Int) -> Int, of total: Int, _ body: (_ counts: UnsafePointer<Int32>, _ offsets: UnsafePointer<Int32>) throws -> Void
  ) throws {
    try withUnsafeTemporaryAllocation(of: Int32.self, capacity: 2 * size) { numbers in
      let (counts, offsets) = (numbers.baseAddress!, numbers.baseAddress! + size)
      var offset = 0
      for rank in 0..<size {
        (offsets + rank).initialize(to: Int32(offset))
        (counts + rank).initialize(to: Int32(count(rank)))
        offset += count(rank)
      }
      precondition(offset == total, "blocks of \(offset) elements in a buffer of \(total)")
      try body(counts, offsets)
    }
  }

  /// Replaces each element by the greatest over the ranks. Not for NaN, which compares with nothing.
  package func allreduceMax<Number: ReducibleNumber>(_ buffer: UnsafeMutableBufferPointer<Number>) throws {
    try allreduce(buffer, CMPI_max())
  }

  /// Replaces each element by the least over the ranks. Not for NaN, which compares with nothing.
  package func allreduceMin<Number: ReducibleNumber>(_ buffer: UnsafeMutableBufferPointer<Number>) throws {
    try allreduce(buffer, CMPI_min())
  }

  package func allreduceSum<Number: ReducibleNumber>(_ buffer: AlignedBuffer<Number>) throws {
    try allreduceSum(buffer.elements)
  }

  // Never inlined: Swift 6.3's optimizer keeps the elements of an array literal across `withUnsafeMutableBufferPointer` and
  // then reads what they were before the call (a check in Tests/MPIChecks sees it).
  @inline(never)
  package func allreduceSum<Number: ReducibleNumber>(_ values: inout [Number]) throws {
    try values.withUnsafeMutableBufferPointer { try allreduceSum($0) }
  }

  package func allreduceSum<Number: ReducibleNumber>(_ value: Number) throws -> Number {
    try allreduce(value, CMPI_sum())
  }

  package func allreduceMax<Number: ReducibleNumber>(_ value: Number) throws -> Number {
    try allreduce(value, CMPI_max())
  }

  package func allreduceMin<Number: ReducibleNumber>(_ value: Number) throws -> Number {
    try allreduce(value, CMPI_min())
  }

  private func allreduce<Number: ReducibleNumber>(_ value: Number, _ operation: CMPI_Op) throws -> Number {
    var value = value
    try withUnsafeMutablePointer(to: &value) {
      try allreduce(UnsafeMutableBufferPointer(start: $0, count: 1), operation)
    }
    return value
  }

  private func allreduce<Number: ReducibleNumber>(_ buffer: UnsafeMutableBufferPointer<Number>, _ operation: CMPI_Op) throws {
    try inPieces(buffer) { base, count in
      try collective("MPI_Allreduce") { CMPI_Allreduce_in_place(base, count, Number.mpiType, operation, handle) }
    }
  }

  private func inPieces<Number>(
    _ buffer: UnsafeMutableBufferPointer<Number>, _ body: (UnsafeMutablePointer<Number>, Int) throws -> Void
  ) rethrows {
    guard let base = buffer.baseAddress else { return }
    let piece = Self.pieceBytes / MemoryLayout<Number>.stride
    for start in stride(from: 0, to: buffer.count, by: piece) {
      try body(base + start, min(piece, buffer.count - start))
    }
  }
}
