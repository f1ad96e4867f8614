import Foundation

/// One start of a run, with at most one fault, until nothing of it is left.
struct Attempt {
  let run: Run
  let start: Run.Start
  let fault: Fault?
  let moment: Moment
  let place: Place

  struct Outcome {
    let status: Int32
    /// Whether the fault came before the run's end.
    let wasHit: Bool
    let failures: [String]
    let isDone: Bool
    let errors: String
  }

  /// Seconds without a sign of life. A machine that is busy with other things makes a run slow, not still.
  private static let patience = 150.0
  /// From a fault that ends a run to its end, and from there to that of its last process, beyond time-outs.
  private static let bound = 45.0

  func make(by dice: inout Dice) throws -> Outcome {
    let before = Trail(of: run)
    let child = try Child(start.command, environment: place.environment, log: place.work + "/log")
    let begin = ContinuousClock.now
    var failures: [String] = []
    let wasEarly: Bool?
    if let fault { wasEarly = try hit(fault, child, before, &dice) } else { wasEarly = nil }
    let hitAt = ContinuousClock.now
    if !waitWhileAlive(child) { failures.append("hangs: nothing new for \(Self.patience) s, \((ContinuousClock.now - begin).components.seconds) s after its start") }
    if wasEarly != nil, fault == .stopRank, start.ranks > 1, ContinuousClock.now - hitAt > .seconds(Double(start.timeout) + 12 + Self.bound) {
      failures.append("ended \(ContinuousClock.now - hitAt) after the STOP, with a time-out of \(start.timeout) s")
    }
    failures += waitForTheLast(child)
    if wasEarly != nil { try repair() }
    let status = child.status ?? -1
    let isDone = status == 0 && FileManager.default.fileExists(atPath: run.path("checkpoints/report.json"))
    failures += check(status, isDone, wasEarly, child)
    let segments = try place.takeSegments(hosts: start.hosts)
    if !segments.isEmpty, !(wasEarly != nil && fault?.mayLeaveSegments == true) { failures.append("left in /dev/shm: \(segments.joined(separator: ", "))") }
    place.clearSessions()
    let now = Trail(of: run)
    var checks = Checks(run, in: place)
    checks.look(before: before, now: now, saysWhatWasSpent: isDone || status == 85)
    if isDone { checks.lookAtEnd(now) }
    return Outcome(status: status, wasHit: wasEarly != nil, failures: failures + checks.failures, isDone: isDone, errors: child.errorText)
  }

  /// - Returns: whether no step of this start was done yet; nil where the run ended before the fault.
  private func hit(_ fault: Fault, _ child: Child, _ before: Trail, _ dice: inout Dice) throws -> Bool? {
    guard comes(child, before) else { return nil }
    var ranks = Processes.ranks(of: run.directory)
    // The launcher may not have started any yet.
    while fault.hitsRanks > 0, ranks.isEmpty, !child.hasEnded {
      usleep(2000)
      ranks = Processes.ranks(of: run.directory)
    }
    guard !child.hasEnded else { return nil }
    let isEarly = Trail(of: run).metricsLines == before.metricsLines
    switch fault {
    case .fullDisk: fillDisk()
    case .cable: try place.takeCableOut(ofHost: dice.pick(start.hosts ?? [1]))
    default:
      guard let signal = fault.signal else { break }
      if fault.hitsLauncher { kill(child.identifier, signal) }
      let some = fault.hitsRanks == .max ? ranks : fault.hitsRanks == 1 ? [dice.pick(ranks)] : []
      for rank in some { kill(rank, signal) }
      if fault == .interruptTwice {
        usleep(UInt32(dice.below(30_000)))
        for rank in some { kill(rank, signal) }
      }
      // Nobody waits for the only rank, and nobody can tell.
      if fault == .stopRank, start.ranks == 1 {
        usleep(300_000)
        for rank in some { kill(rank, SIGCONT) }
      }
    }
    return isEarly
  }

  /// - Returns: false where the run ended first.
  private func comes(_ child: Child, _ before: Trail) -> Bool {
    let begin = ContinuousClock.now
    // One that a start before has left under way is none of this one's.
    var (checkpoints, wasUnderWay) = (0, isCheckpointUnderWay)
    while !child.hasEnded, ContinuousClock.now - begin < .seconds(4 * Self.patience) {
      switch moment {
      case .milliseconds(let count): if ContinuousClock.now - begin >= .milliseconds(count) { return true }
      case .steps(let count, let rest):
        let lines = Trail.wholeLines(FileManager.default.contents(atPath: run.path("metrics.jsonl")) ?? Data())
        if lines - before.metricsLines > count { return pause(rest, child) }
      case .checkpoint(let number, let rest):
        let isUnderWay = isCheckpointUnderWay
        if isUnderWay, !wasUnderWay { checkpoints += 1 }
        wasUnderWay = isUnderWay
        if checkpoints > number { return pause(rest, child) }
      case .model(let rest): if FileManager.default.fileExists(atPath: run.path("model")) { return pause(rest, child) }
      }
      usleep(500)
    }
    return false
  }

  /// - Returns: whether the run ended; false where it has done nothing for so long that it won't.
  private func waitWhileAlive(_ child: Child) -> Bool {
    var (signs, since) = (signsOfLife(child), ContinuousClock.now)
    while !child.wait(until: .now + .milliseconds(200)) {
      let now = signsOfLife(child)
      if now != signs { (signs, since) = (now, .now) }
      if ContinuousClock.now - since > .seconds(Self.patience) { return false }
    }
    return true
  }

  private func signsOfLife(_ child: Child) -> [Int] {
    [run.path("metrics.jsonl"), run.path("checkpoints/ledger.jsonl"), child.errors].map { path in
      var status = stat()
      return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }
  }

  private var isCheckpointUnderWay: Bool {
    ((try? FileManager.default.contentsOfDirectory(atPath: run.path("checkpoints"))) ?? []).contains { $0.hasPrefix(".step-") }
  }

  private func pause(_ microseconds: Int, _ child: Child) -> Bool {
    usleep(UInt32(microseconds))
    return !child.hasEnded
  }

  /// Waits until no process of the start is left.
  private func waitForTheLast(_ child: Child) -> [String] {
    let deadline = ContinuousClock.now + .seconds(Self.bound)
    while ContinuousClock.now < deadline {
      if child.hasEnded, Processes.mentioning(run.directory).isEmpty { return [] }
      usleep(5000)
    }
    let left = Processes.mentioning(run.directory)
    for (number, _) in left { kill(number, SIGKILL) }
    kill(child.identifier, SIGKILL)
    _ = child.wait(until: .now + .seconds(10))
    let names = left.map { number, words in "\(number) \(words.first ?? "")" }.sorted()
    return ["left behind \(Self.bound) s after the end: \(names.joined(separator: ", "))"]
  }

  private func fillDisk() {
    guard let disk = place.smallDisk else { return }
    let file = open(disk + "/filler", O_WRONLY | O_CREAT | O_APPEND, 0o600)
    guard file >= 0 else { return }
    defer { close(file) }
    for size in [1 << 16, 1 << 12, 1 << 8, 1] {
      let bytes = [UInt8](repeating: 0, count: size)
      while write(file, bytes, size) > 0 {}
    }
  }

  private func repair() throws {
    switch fault {
    case .fullDisk: if let disk = place.smallDisk { unlink(disk + "/filler") }
    case .cable: try place.putCablesIn()
    default: break
    }
  }

  private func check(_ status: Int32, _ isDone: Bool, _ wasEarly: Bool?, _ child: Child) -> [String] {
    var allowed: Set<Int32> = [0]
    if let fault, let wasEarly, !(fault == .stopRank && start.ranks == 1) { allowed.formUnion(fault.statuses(isEarly: wasEarly)) }
    // A signal that finds mpirun before it has started any rank makes it end with 0 all the same (Open MPI 4.1.4, several hosts).
    if status == 0, !isDone, !(wasEarly == true && fault?.hitsLauncher == true) { allowed.remove(0) }
    // A machine that is too busy for the short time-out.
    if fault == .stopRank || fault == .cable { allowed.insert(75) }
    // mpirun crashes by itself now and then where ranks are killed as it starts them (4.1.4, in PMIx_Finalize).
    let isLaunchersCrash = child.errorText.contains("] mpirun(+")
    if isLaunchersCrash { allowed.insert(139) }
    var failures: [String] = []
    if !allowed.contains(status) { failures.append("status \(status), where \(allowed.sorted()) may be") }
    let lines = child.errorLines.filter { $0.contains("Error: ") }
    if status == 85 || status == 0, !lines.isEmpty { failures.append("status \(status) and an error: \(lines[0])") }
    if status == 1, fault == .fullDisk, lines.count != 1 || !lines[0].hasPrefix("Error: ") || !lines[0].contains(run.directory) {
      failures.append("a full disk is not told in one line: \(lines)")
    }
    for word in ["Fatal error", "Segmentation", "Illegal instruction", "Bus error", "Address not mapped"] where !isLaunchersCrash && child.errorText.contains(word) {
      failures.append("crashed: \(word)")
    }
    return failures
  }
}
