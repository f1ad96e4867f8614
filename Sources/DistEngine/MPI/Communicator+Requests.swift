import CMPI

/// Collectives that go on while their caller does something else (MPI 4.0, 6.12): MPI_Ialltoallv, MPI_Iallgatherv, MPI_Test.
///
/// Unlike all others these may be called by another thread than the one that started MPI, where ``allowsThreads``: by one at a time, on a
/// communicator on which nothing else happens meanwhile. All ranks start them in the same order. They are neither timed nor known to the watchdog: whoever
/// waits for what they bring is.
extension Communicator {
  package var allowsThreads: Bool { session.allowsThreads }

  /// A collective that was started.
  package struct Request {
    fileprivate let call: StaticString
    fileprivate var handle: CMPI_Request
  }

  /// A block for each rank, in a buffer: how long each is and where it begins. MPI reads it until a request is done.
  package final class Blocks {
    fileprivate let counts, offsets: UnsafeMutablePointer<Int32>
    package let ranks: Int

    package init(ranks: Int) {
      self.ranks = ranks
      counts = .allocate(capacity: ranks)
      offsets = .allocate(capacity: ranks)
      counts.initialize(repeating: 0, count: ranks)
      offsets.initialize(repeating: 0, count: ranks)
    }

    deinit {
      counts.deallocate()
      offsets.deallocate()
    }

    package subscript(rank: Int) -> Range<Int> {
      get { Int(offsets[rank])..<Int(offsets[rank] + counts[rank]) }
      set { (offsets[rank], counts[rank]) = (Int32(newValue.lowerBound), Int32(newValue.count)) }
    }
  }

  /// Sends each rank its block of `source`, and receives one from each in `result` (6.12.6).
  package func startExchange(
    _ source: UnsafeMutableBufferPointer<Float>, _ blocks: Blocks, into result: UnsafeMutableBufferPointer<Float>, _ received: Blocks
  ) throws -> Request {
    guard let from = source.baseAddress, let to = result.baseAddress else { preconditionFailure("an exchange of nothing") }
    return try start("MPI_Ialltoallv") {
      CMPI_Ialltoallv(
        from, blocks.counts, blocks.offsets, to, received.counts, received.offsets, Float.mpiType, handle, &$0)
    }
  }

  /// Gives every rank all blocks of `buffer`, of which each has its own in its place (6.12.5).
  package func startAllgather(_ buffer: UnsafeMutableBufferPointer<Float>, _ blocks: Blocks) throws -> Request {
    guard let base = buffer.baseAddress else { preconditionFailure("a gathering of nothing") }
    return try start("MPI_Iallgatherv") { CMPI_Iallgatherv_in_place(base, blocks.counts, blocks.offsets, Float.mpiType, handle, &$0) }
  }

  /// Whether it is done. MPI goes on with everything that was started when it is asked (3.7.3).
  package func isDone(_ request: inout Request) throws -> Bool {
    var done: Int32 = 0
    let code = CMPI_Test(&request.handle, &done)
    guard code == CMPI_success() else { throw MPIError(call: request.call, code: code, rank: rank) }
    return done != 0
  }

  private func start(_ call: StaticString, _ body: (inout CMPI_Request) -> Int32) throws -> Request {
    precondition(!session.isFinalized, "\(call) after MPI_Finalize")
    var request = Request(call: call, handle: CMPI_Request(raw: 0))
    let code = body(&request.handle)
    guard code == CMPI_success() else { throw MPIError(call: call, code: code, rank: rank) }
    return request
  }
}
