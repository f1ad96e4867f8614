import DistEngine
import Foundation

struct MadeUpError: UserError {
  let description: String
  var exitStatus: Int32 = ExitStatus.refused
}

/// An error that is no ``UserError``: the program's own defect.
struct Defect: Error, CustomStringConvertible {
  let description: String
}

/// Ends the job in the way that `scenario` names; the argument is the rank that misbehaves.
func runFault(_ scenario: String, _ environment: MPIEnvironment) throws -> Int32 {
  let world = environment.world
  let culprit = number(1)
  let isCulprit = world.rank == culprit
  switch scenario {
  case "hello":
    let ranks = try world.allgather(world.rank)
    if world.rank == 0 { print("ranks \(ranks.map(String.init).joined(separator: " "))") }
    return 0

  case "finalized-twice":
    try environment.finalize()
    try environment.finalize()
    return 0

  case "status":
    return Int32(number(1))

  case "agree-one":
    try world.agree("one fails") { if isCulprit { throw MadeUpError(description: "no such file:\n/tmp/data.txt") } }
  case "agree-usage":
    try world.agree("one fails") { if isCulprit { throw MadeUpError(description: "too long", exitStatus: ExitStatus.usage) } }
  case "agree-defect":
    try world.agree("one fails") { if isCulprit { throw Defect(description: "unexpected") } }
  case "agree-same":
    try world.agree("all fail") { throw MadeUpError(description: "no such file") }
  case "agree-different":
    try world.agree("all fail") { throw MadeUpError(description: "no such file \(world.rank)") }
  case "agree-nested":
    try world.agree("outer") {
      try world.agree("inner") { if isCulprit { throw MadeUpError(description: "deep down") } }
    }

  case "own-error", "own-error-with-window":
    // A window is made and freed by all together: a rank that gives up must not wait for the others there.
    let window = scenario == "own-error" ? nil : try SharedWindow(byteCount: 1 << 16, communicator: environment.node)
    defer { withExtendedLifetime(window) {} }
    environment.step = 17
    if isCulprit { throw Defect(description: "not a number\nin layer 3") }
    try world.barrier()

  case "cut-file":
    // The file is another rank's as well: the culprit alone reads what it no longer has.
    let path = arguments[2]
    let model = try ModelFile.readConfiguration(directory: path).configuration
    let stored = try ModelFile.mappableTensors(directory: path, configuration: model, allowsNewHead: false)
    let mapped = try stored.map(model.parameterTable(stored: stored, trains: false).mapped.map(\.name))
    _ = mapped.firstNotFinite()
    try world.barrier()
    if isCulprit {
      truncate("\(path)/model.safetensors", 4096)
      // All of the team's threads come to it.
      ThreadTeam(count: 3).forEach(30) { item, _ in _ = mapped.matrices[item % mapped.matrices.count].isFinite }
    }
    try world.barrier()
    sleep(60)

  case "sleep":
    sleep(60)

  case "huge":
    let count = (1 << 31) + 17
    let buffer = AlignedBuffer<UInt8>(count: count)
    if world.rank == 0 { buffer.base[count - 1] = 123 }
    try world.broadcast(buffer)
    guard buffer.base[count - 1] == 123 else { throw Defect(description: "the last byte is \(buffer.base[count - 1])") }

  case "invalid-root":
    _ = try world.broadcast(1, from: world.size + 5)

  case "wrong-thread":
    let done = DispatchSemaphore(value: 0)
    // MPI from another thread stops the process; the pointer is how a class that isn't Sendable gets there.
    let address = UInt(bitPattern: Unmanaged.passUnretained(world).toOpaque())
    Thread.detachNewThread {
      let world = Unmanaged<Communicator>.fromOpaque(UnsafeRawPointer(bitPattern: address)!).takeUnretainedValue()
      try? world.barrier()
      done.signal()
    }
    done.wait()

  case "stuck", "stopped", "killed":
    environment.step = 5
    try world.barrier()
    if isCulprit {
      if scenario == "stopped" { kill(getpid(), SIGSTOP) }
      if scenario == "killed" { kill(getpid(), SIGKILL) }
      sleep(60)
    }
    _ = try world.agree("checksum of the parameters") { 1 }

  default:
    throw MadeUpError(description: "no scenario \(scenario)", exitStatus: ExitStatus.usage)
  }
  if world.rank == 0 { print("survived \(scenario)") }
  return 0
}

/// Microseconds of a barrier: without yielding, more ranks than cores need tens of milliseconds.
func fastBarriers(_ environment: MPIEnvironment) throws -> Int32 {
  let world = environment.world
  try world.barrier()
  let (rounds, start) = (200, ContinuousClock.now)
  for _ in 0..<rounds { try world.barrier() }
  let spent =
    Double((ContinuousClock.now - start).components.attoseconds) * 1e-12
    + Double((ContinuousClock.now - start).components.seconds) * 1e6
  if world.rank == 0 { print("barrier_us \(spent / Double(rounds))") }
  return 0
}

/// From now on a thread can't be started in this process, as where a limit is reached: its stack would need more addresses than there are.
func refuseThreads() {
  var attributes = pthread_attr_t()
  pthread_attr_init(&attributes)
  pthread_attr_setstacksize(&attributes, 1 << 47)
  // Glibc's own, which Swift doesn't import.
  guard let function = dlsym(nil, "pthread_setattr_default_np") else { fatalError("no pthread_setattr_default_np") }
  let setDefault = unsafeBitCast(function, to: (@convention(c) (UnsafePointer<pthread_attr_t>) -> Int32).self)
  precondition(setDefault(&attributes) == 0)
}
