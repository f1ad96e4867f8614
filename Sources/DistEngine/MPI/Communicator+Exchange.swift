import CMPI

/// MPI_Bcast, MPI_Gather and MPI_Allgather (MPI 4.0, 6.4, 6.5 and 6.7), as bytes: all hosts of a job have one representation of numbers.
extension Communicator {
  // MARK: One rank to all

  /// Gives every rank the bytes of `root`, in pieces of 16 MB. Buffers are as long on every rank; an empty one makes no call.
  package func broadcast(_ bytes: UnsafeMutableRawBufferPointer, from root: Int = 0) throws {
    guard let base = bytes.baseAddress else { return }
    for start in stride(from: 0, to: bytes.count, by: Self.pieceBytes) {
      let count = min(Self.pieceBytes, bytes.count - start)
      try collective("MPI_Bcast") { CMPI_Bcast_bytes(base + start, count, Int32(root), handle) }
    }
  }

  package func broadcast<Element: BitwiseCopyable>(_ buffer: UnsafeMutableBufferPointer<Element>, from root: Int = 0) throws {
    try broadcast(UnsafeMutableRawBufferPointer(buffer), from: root)
  }

  package func broadcast<Element: BitwiseCopyable>(_ buffer: AlignedBuffer<Element>, from root: Int = 0) throws {
    try broadcast(buffer.elements, from: root)
  }

  /// `root`'s value, on every rank.
  package func broadcast<Value: BitwiseCopyable>(_ value: Value, from root: Int = 0) throws -> Value {
    var value = value
    try withUnsafeMutableBytes(of: &value) { try broadcast($0, from: root) }
    return value
  }

  /// `root`'s bytes, on every rank; the others need not know how many there are.
  package func broadcast(bytes: [UInt8], from root: Int = 0) throws -> [UInt8] {
    let count = try broadcast(bytes.count, from: root)
    var result = rank == root ? bytes : [UInt8](repeating: 0, count: count)
    try result.withUnsafeMutableBytes { try broadcast($0, from: root) }
    return result
  }

  // MARK: All ranks to one or to all

  /// Every rank's value in the order of ranks, on `root`; nil elsewhere. For small values.
  package func gather<Value: BitwiseCopyable>(_ value: Value, to root: Int = 0) throws -> [Value]? {
    let mine = [value]
    // The others' results are never looked at, but MPI gets an address all the same.
    var all = [Value](repeating: value, count: rank == root ? size : 1)
    try mine.withUnsafeBytes { mine in
      try all.withUnsafeMutableBytes { all in
        try collective("MPI_Gather") {
          CMPI_Gather_bytes(mine.baseAddress!, mine.count, all.baseAddress!, Int32(root), handle)
        }
      }
    }
    return rank == root ? all : nil
  }

  /// Every rank's value in the order of ranks, on all ranks. For small values.
  package func allgather<Value: BitwiseCopyable>(_ value: Value) throws -> [Value] {
    let mine = [value]
    var all = [Value](repeating: value, count: size)
    try mine.withUnsafeBytes { mine in
      try all.withUnsafeMutableBytes { all in
        try collective("MPI_Allgather") { CMPI_Allgather_bytes(mine.baseAddress!, mine.count, all.baseAddress!, handle) }
      }
    }
    return all
  }

  /// Every rank's bytes, of any length, in the order of ranks, on `root`; nil elsewhere.
  package func gather(bytes: [UInt8], to root: Int = 0) throws -> [[UInt8]]? {
    let result = try exchange(bytes, isReceiver: rank == root) { mine, count, all, counts, offsets in
      try collective("MPI_Gatherv") {
        CMPI_Gatherv_bytes(mine, count, all, counts, offsets, Int32(root), handle)
      }
    }
    return rank == root ? result : nil
  }

  /// Every rank's bytes, of any length, in the order of ranks, on all ranks.
  package func allgather(bytes: [UInt8]) throws -> [[UInt8]] {
    try exchange(bytes, isReceiver: true) { mine, count, all, counts, offsets in
      try collective("MPI_Allgatherv") { CMPI_Allgatherv_bytes(mine, count, all, counts, offsets, handle) }
    }
  }

  /// As ``gather(bytes:to:)``.
  package func gather(_ text: String, to root: Int = 0) throws -> [String]? {
    try gather(bytes: Array(text.utf8), to: root)?.map { String(decoding: $0, as: UTF8.self) }
  }

  /// As ``allgather(bytes:)``.
  package func allgather(_ text: String) throws -> [String] {
    try allgather(bytes: Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) }
  }

  private typealias Round = (
    _ mine: UnsafeRawPointer, _ count: Int, _ all: UnsafeMutableRawPointer,
    _ counts: UnsafePointer<Int32>, _ offsets: UnsafePointer<Int32>
  ) throws -> Void

  /// Exchanges bytes in rounds of at most 16 MB over all ranks: MPI's offsets are 32-bit.
  private func exchange(_ bytes: [UInt8], isReceiver: Bool, round: Round) throws -> [[UInt8]] {
    let lengths = try allgather(bytes.count)
    var result = [[UInt8]](repeating: [], count: size)
    if isReceiver {
      for (rank, length) in lengths.enumerated() { result[rank].reserveCapacity(length) }
    }
    let share = max(1, Self.pieceBytes / size)
    // One byte more than there is, so that there is an address when all are empty.
    var received = [UInt8](repeating: 0, count: isReceiver ? lengths.reduce(1) { $0 + min(share, $1) } : 1)
    let mine = bytes + [0]
    for start in stride(from: 0, to: lengths.max() ?? 0, by: share) {
      let counts = lengths.map { Int32(max(0, min(share, $0 - start))) }
      var offsets: [Int32] = [0]
      for count in counts.dropLast() { offsets.append(offsets.last! + count) }
      try mine.withUnsafeBytes { mine in
        try received.withUnsafeMutableBytes { all in
          try round(
            mine.baseAddress! + min(start, bytes.count), Int(counts[rank]), all.baseAddress!, counts, offsets)
        }
      }
      if isReceiver {
        for rank in 0..<size {
          result[rank] += received[Int(offsets[rank])..<Int(offsets[rank] + counts[rank])]
        }
      }
    }
    return result
  }
}
