import ArgumentParser
import Foundation

/// Runs that are cut off at random moments by random faults and go on with `--resume`, until all are done; 1 where anything isn't as it should be.
@main struct FaultCampaign: ParsableCommand {
  @Option(help: "Faults that come before their run's end.") var faults = 40
  @Option(help: "Repeats the choices of a campaign; its moments hang on the machine, too.") var seed: UInt64?
  @Option(help: "Pretend hosts (scripts/cluster) for half of the runs; needs root.") var hosts = 0
  @Option(help: "Where the directories of runs with failures are kept.") var keep: String?
  @Flag(help: "A line for every start.") var verbose = false

  mutating func run() throws {
    Place.enterNamespace()
    let seed = seed ?? UInt64.random(in: 0...999_999_999)
    say("seed \(seed), \(faults) faults, \(hosts == 0 ? "this machine alone" : "\(hosts) pretend hosts and this machine")")
    guard let own = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else { throw Trouble("no /proc") }
    let place = try Place(program: URL(filePath: own).deletingLastPathComponent().appending(path: "dp-mpirun").path(percentEncoded: false), hosts: hosts)
    defer { place.remove() }
    if place.smallDisk == nil { say("no mounts are allowed here: without full disks and without a look at /dev/shm") }
    for number in [SIGTERM, SIGINT] { signal(number) { _ in isAskedToEnd = true } }
    var campaign = Campaign(place: place, dice: Dice(seed: seed), keep: keep, isVerbose: verbose)
    let start = ContinuousClock.now
    try campaign.run(faults: faults)
    campaign.table.print()
    say("\(campaign.runs) runs, \(campaign.starts) starts in \((ContinuousClock.now - start).components.seconds) s; \(campaign.table.failures) failures")
    if campaign.table.failures > 0 { throw ExitCode(1) }
  }
}

struct Campaign {
  let place: Place
  var dice: Dice
  let keep: String?
  let isVerbose: Bool
  private(set) var table = Table()
  private(set) var (runs, starts) = (0, 0)

  init(place: Place, dice: Dice, keep: String?, isVerbose: Bool) {
    (self.place, self.dice, self.keep, self.isVerbose) = (place, dice, keep, isVerbose)
  }

  mutating func run(faults: Int) throws {
    while table.faults < faults, !isAskedToEnd {
      runs += 1
      let run = Run(runs, in: place, by: &dice)
      try goThrough(run, faults: faults)
      try? FileManager.default.removeItem(atPath: run.directory)
    }
  }

  /// Faults of one run; after so many it is left alone until it is done.
  private static let most = 14

  private mutating func goThrough(_ run: Run, faults: Int) throws {
    var (hits, before): (Int, Fault?) = (0, nil)
    while true {
      let fault = hits < Self.most && table.faults < faults && !isAskedToEnd ? drawFault(for: run) : nil
      let start = run.start(for: fault, in: place, by: &dice)
      let moment = Moment(by: &dice)
      let outcome = try Attempt(run: run, start: start, fault: fault, moment: moment, place: place).make(by: &dice)
      starts += 1
      hits += outcome.wasHit ? 1 : 0
      table.enter(outcome.wasHit ? fault : nil, status: outcome.status, isGood: outcome.failures.isEmpty, after: before)
      let what = "\(run.number): \(start), \(fault.map { "\($0.rawValue) \(moment)\(outcome.wasHit ? "" : ", too late")" } ?? "no fault"): status \(outcome.status)"
      if isVerbose || !outcome.failures.isEmpty { say(what) }
      guard outcome.failures.isEmpty else { return report(outcome, run, start) }
      before = outcome.wasHit ? fault : nil
      if outcome.isDone { return try startOnceMore(run) }
    }
  }

  /// A run that is done ends at once, and is as it was.
  private mutating func startOnceMore(_ run: Run) throws {
    guard dice.below(3) == 0 else { return }
    let before = Trail(of: run)
    let start = run.start(for: nil, in: place, by: &dice)
    let outcome = try Attempt(run: run, start: start, fault: nil, moment: .milliseconds(0), place: place).make(by: &dice)
    starts += 1
    var failures = outcome.failures
    let after = Trail(of: run)
    if !outcome.isDone || after.ledger != before.ledger || after.metricsLines != before.metricsLines { failures.append("a run that is done isn't left as it was") }
    table.enter(nil, status: outcome.status, isGood: failures.isEmpty, after: nil)
    if !failures.isEmpty { report(Attempt.Outcome(status: outcome.status, wasHit: false, failures: failures, isDone: outcome.isDone, errors: outcome.errors), run, start) }
  }

  private func report(_ outcome: Attempt.Outcome, _ run: Run, _ start: Run.Start) {
    say("FAILED: \(run)\n  \(start.command.joined(separator: " "))")
    for failure in outcome.failures { say("  \(failure)") }
    for line in outcome.errors.split(separator: "\n").suffix(25) { say("  | \(line)") }
    guard let keep else { return }
    try? FileManager.default.createDirectory(atPath: keep, withIntermediateDirectories: true)
    try? FileManager.default.copyItem(atPath: run.directory, toPath: "\(keep)/\(getpid())-run-\(run.number)")
  }

  private mutating func drawFault(for run: Run) -> Fault {
    let possible = Fault.allCases.filter { ($0 != .fullDisk || run.isOnSmallDisk) && ($0 != .cable || run.hosts > 1) }
    var place = dice.below(possible.reduce(0) { $0 + $1.weight })
    for fault in possible {
      place -= fault.weight
      if place < 0 { return fault }
    }
    preconditionFailure("weights that don't add up")
  }
}

/// Faults by kind: how many, how the runs ended, how many went on.
struct Table {
  private struct Row {
    var (count, wentOn, failures) = (0, 0, 0)
    var statuses: [Int32: Int] = [:]
  }

  private var rows: [String: Row] = [:]
  private(set) var faults = 0
  var failures: Int { rows.values.reduce(0) { $0 + $1.failures } }

  /// - Parameter fault: nil: none, or none in time.
  mutating func enter(_ fault: Fault?, status: Int32, isGood: Bool, after before: Fault?) {
    if fault != nil { faults += 1 }
    let name = fault?.rawValue ?? "none"
    rows[name, default: Row()].count += 1
    rows[name, default: Row()].statuses[status, default: 0] += 1
    rows[name, default: Row()].failures += isGood ? 0 : 1
    // A fault at the very end leaves nothing to go on with.
    if fault != nil, status == 0 { rows[name, default: Row()].wentOn += 1 }
    if let before, isGood { rows[before.rawValue, default: Row()].wentOn += 1 }
  }

  func print() {
    say("| fault | times | done or went on | failures | statuses (times) |\n|---|---|---|---|---|")
    for name in Fault.allCases.map(\.rawValue) + ["none"] {
      guard let row = rows[name] else { continue }
      let statuses = row.statuses.sorted { $0.key < $1.key }.map { "\($0.key) (\($0.value))" }.joined(separator: ", ")
      say("| \(name) | \(row.count) | \(name == "none" ? "" : "\(row.wentOn)") | \(row.failures) | \(statuses) |")
    }
  }
}

/// By TERM or INT: the run that is under way is brought to its end, and the table is printed. Written by a signal's handler alone.
nonisolated(unsafe) private var isAskedToEnd = false

/// A line at once, whoever reads it.
func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
