extension Communicator {
  /// Runs `body` on every rank; when it throws on any, all ranks throw the same ``AgreedFailure``, and none waits for one that
  /// gave up.
  ///
  /// The failure has the message and exit status of the lowest rank that failed, with rank and host in front unless every rank
  /// failed with the same message. Costs one allreduce of a word when nothing fails.
  ///
  /// `body` is each rank's own work: reading files, checking values. Ranks that are done wait for the slowest, and the watchdog
  /// counts that time. An ``MPIError`` from within is thrown as it is, since the other ranks may be waiting inside the call that
  /// failed and can't be asked.
  ///
  /// - Parameter stage: what is done, for the watchdog's message.
  package func agree<Result>(_ stage: String, _ body: () throws -> Result) throws -> Result {
    var result: Result?
    var failure: (any Error)?
    do {
      result = try body()
    } catch let error as MPIError {
      throw error
    } catch {
      failure = error
    }
    return try activity.during(stage: stage) {
      let lowest = try allreduceMin(failure == nil ? size : rank)
      if lowest < size { throw try agreedFailure(failure, lowest: lowest) }
      return result!
    }
  }

  /// Tells all ranks the failures of all: collective, after it is known that there is one.
  private func agreedFailure(_ failure: (any Error)?, lowest: Int) throws -> AgreedFailure {
    let statuses = try allgather(failure?.processExitStatus ?? 0)
    let messages = try allgather(failure?.oneLine ?? "")
    let host = try broadcast(string: host, from: lowest)
    let failedEverywhere = try allreduceMin(failure == nil ? 0 : 1) == 1
    let isCommon = failedEverywhere && messages.allSatisfy { $0 == messages[0] }
    return AgreedFailure(
      message: isCommon ? messages[lowest] : "rank \(lowest) on \(host): \(messages[lowest])",
      exitStatus: statuses[lowest], rank: lowest, host: host)
  }

  private func broadcast(string: String, from root: Int) throws -> String {
    String(decoding: try broadcast(bytes: Array(string.utf8), from: root), as: UTF8.self)
  }
}
