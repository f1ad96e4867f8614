import Foundation

/// A sum over ranks that is made while these go on computing: its parts leave one after the other as they become final, and can be used one
/// after the other as they come back.
///
/// A part travels in pieces, some at a time. Of a piece every rank gets its own slice from all others (MPI_Ialltoallv), adds them to its own in
/// the order of ranks, and gives the sum to all (MPI_Iallgatherv): 2(n - 1)/n of the buffer leaves each of n ranks, the least there can be,
/// and all have the same bits. Parts leave in one order on all ranks, whatever the order in which each has them ready; exchange and gathering have
/// each a communicator of their own, so that on neither the order hangs on what has come in.
///
/// MPI goes on only when it is called. A thread of this object's does that, and sleeps between two looks: the cores are for those that compute.
final class TravellingSum: @unchecked Sendable {
  private let exchange, gather: Communicator
  private let pieceCapacity: Int
  private let way: [Place]

  /// What a piece on the way needs.
  private final class Place {
    let sent, received: Communicator.Blocks
    var request: Communicator.Request?

    init(ranks: Int) { (sent, received) = (Communicator.Blocks(ranks: ranks), Communicator.Blocks(ranks: ranks)) }
  }

  /// Guards all that follows but `started` and `summed`, which are the thread's while anything is on the way.
  private let condition = NSCondition()
  private var values = Vector(start: nil, count: 0)
  private var buffer = Vector(start: nil, count: 0)
  private var pieces: [Range<Int>] = []
  /// By part: the pieces up to its last.
  private var ends: [Int] = []
  private var isReady: [Bool] = []
  /// Pieces that are ready, those before them included; that were started; of which the own slice is summed; that are done.
  private var (ready, started, summed, done) = (0, 0, 0, 0)
  private var failure: (any Error)?
  private var isStopping = false
  private var thread: pthread_t?

  /// Pieces on the way at a time, in one half of their way or the other.
  private static let onTheWay = 4
  /// Between two looks: a tenth of the time that a piece of 4 MB takes at 10 Gbit/s.
  private static let pause: UInt32 = 300

  /// Collective over `ranks`. Nothing goes on before ``start()``.
  init(over ranks: Communicator, pieceCapacity: Int) throws {
    guard let exchange = try ranks.split(color: 0, key: ranks.rank), let gather = try ranks.split(color: 0, key: ranks.rank) else {
      preconditionFailure("a rank without a communicator")
    }
    (self.exchange, self.gather, self.pieceCapacity) = (exchange, gather, pieceCapacity)
    way = (0..<Self.onTheWay).map { _ in Place(ranks: ranks.size) }
  }

  /// Starts the thread that has the sums go on. By POSIX, since Foundation's doesn't say when there is none: where a limit is reached, whoever waits for a
  /// part would wait for ever.
  ///
  /// - Returns: whether there is one.
  func start() -> Bool {
    let held = Unmanaged.passRetained(self)
    var thread = pthread_t()
    let code = pthread_create(
      &thread, nil,
      { held in
        // Signals are for the main thread: it alone asks for their flags.
        var all = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_BLOCK, &all, nil)
        Unmanaged<TravellingSum>.fromOpaque(held!).takeRetainedValue().run()
        return nil
      }, held.toOpaque())
    guard code == 0 else {
      held.release()
      return false
    }
    self.thread = thread
    return true
  }

  /// Floats of the buffer that ``begin(_:parts:through:)`` needs.
  static func bufferCount(pieceCapacity: Int, ranks: Int) -> Int { onTheWay * (pieceCapacity + ranks) }

  // MARK: The caller's side

  /// Begins a sum, of which nothing is ready. The last one was waited for to its end.
  ///
  /// - Parameters:
  ///   - parts: of `values`, in the order in which they leave; the same on every rank. Together they may be less than all of it.
  ///   - buffer: of ``bufferCount(pieceCapacity:ranks:)`` floats; this object's until the sum is done, as `values` are from when they are ready.
  func begin(_ values: Vector, parts: [Range<Int>], through buffer: Vector) {
    condition.withLock {
      precondition(done == pieces.count, "a sum is begun while another one is on the way")
      (self.values, self.buffer) = (values, buffer)
      (ready, started, summed, done) = (0, 0, 0, 0)
      isReady = [Bool](repeating: false, count: parts.count)
      pieces.removeAll(keepingCapacity: true)
      ends.removeAll(keepingCapacity: true)
      for part in parts {
        for start in stride(from: part.lowerBound, to: part.upperBound, by: pieceCapacity) {
          pieces.append(start..<min(start + pieceCapacity, part.upperBound))
        }
        ends.append(pieces.count)
      }
    }
  }

  /// Nothing is added to the part any longer: it may leave.
  func send(part: Int) {
    condition.withLock {
      precondition(!isReady[part], "part \(part) is sent twice")
      isReady[part] = true
      let first = isReady.firstIndex(of: false) ?? isReady.count
      ready = first == 0 ? 0 : ends[first - 1]
      condition.signal()
    }
  }

  /// Returns when the part is the sum over all ranks. The wait is a collective to the watchdog and to the clock of communication.
  func wait(forPart part: Int) throws {
    let isThere = condition.withLock { done >= ends[part] && failure == nil }
    if isThere { return }
    try gather.activity.during("MPI_Iallgatherv") {
      condition.lock()
      defer { condition.unlock() }
      while done < ends[part] && failure == nil { condition.wait() }
      if let failure { throw failure }
    }
  }

  /// Ends the thread, when nothing is on the way; it holds this object no longer.
  func stop() {
    guard let thread else { return }
    condition.withLock {
      isStopping = true
      condition.signal()
    }
    pthread_join(thread, nil)
    self.thread = nil
  }

  // MARK: The thread's side

  private func run() {
    do {
      while let ready = awaitWork() {
        if try !goOn(ready) { usleep(Self.pause) }
      }
    } catch {
      // Whoever waits for the sum ends the job.
      condition.withLock {
        failure = error
        condition.broadcast()
      }
    }
  }

  /// Pieces that are ready, when some are to be started or on the way; nil at the end.
  private func awaitWork() -> Int? {
    condition.withLock {
      while !isStopping && done == ready { condition.wait() }
      return isStopping ? nil : ready
    }
  }

  /// Starts what can be started. Returns whether anything has happened.
  private func goOn(_ ready: Int) throws -> Bool {
    var hasMoved = false
    while started < min(ready, done + Self.onTheWay) {
      try start(started)
      started += 1
      hasMoved = true
    }
    if summed < started, try isDone(summed, on: exchange) {
      try addUp(summed)
      summed += 1
      hasMoved = true
    }
    if done < summed, try isDone(done, on: gather) {
      hasMoved = true
      condition.withLock {
        done += 1
        condition.broadcast()
      }
    }
    return hasMoved
  }

  private func isDone(_ piece: Int, on communicator: Communicator) throws -> Bool {
    try communicator.isDone(&way[piece % Self.onTheWay].request!)
  }

  private func start(_ piece: Int) throws {
    let (place, count, ranks, own) = (way[piece % Self.onTheWay], pieces[piece].count, exchange.size, exchange.rank)
    let bound = { (rank: Int) in count * rank / ranks }
    let ownCount = bound(own + 1) - bound(own)
    var next = 0
    for rank in 0..<ranks {
      // A rank's own stays where it is.
      place.sent[rank] = bound(rank)..<(rank == own ? bound(rank) : bound(rank + 1))
      place.received[rank] = next..<next + (rank == own ? 0 : ownCount)
      next = place.received[rank].upperBound
    }
    place.request = try exchange.startExchange(Vector(rebasing: values[pieces[piece]]), place.sent, into: buffer(of: piece), place.received)
  }

  /// Adds up the own slice of a piece, and sends it to all.
  private func addUp(_ piece: Int) throws {
    let (place, count, ranks, own) = (way[piece % Self.onTheWay], pieces[piece].count, exchange.size, exchange.rank)
    let (whole, received) = (Vector(rebasing: values[pieces[piece]]), buffer(of: piece))
    place.sent[own] = count * own / ranks..<count * (own + 1) / ranks
    let slice = Vector(rebasing: whole[place.sent[own]])
    for rank in 0..<ranks where rank != own {
      RowKernels.addScaled(Vector(rebasing: received[place.received[rank]]), by: 1, to: slice)
    }
    place.request = try gather.startAllgather(whole, place.sent)
  }

  private func buffer(of piece: Int) -> Vector {
    let share = buffer.count / Self.onTheWay
    return Vector(rebasing: buffer[piece % Self.onTheWay * share..<(piece % Self.onTheWay + 1) * share])
  }
}
