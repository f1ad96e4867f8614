import DistEngine
import Foundation

/// Every collective against its closed form, in sizes around the pieces' edges.
struct CollectiveChecks {
  let environment: MPIEnvironment
  /// Added to every expectation: 0, or 1 to show that the checks can fail.
  let shift: Int

  var world: Communicator { environment.world }
  var rank: Int { world.rank }
  var size: Int { world.size }
  /// 0 + 1 + … + (size - 1).
  private var sumOfRanks: Int { size * (size - 1) / 2 }

  /// Runs all; rank 0 prints a line each, `ok NAME` or `failed NAME: rank 1: …`.
  func run() throws -> Int32 {
    var failures = 0
    for (name, body) in checks {
      let problem = try body()
      let problems = try world.allgather(problem ?? "")
      let failed = problems.firstIndex { !$0.isEmpty }
      if rank == 0 { print(failed.map { "failed \(name): rank \($0): \(problems[$0])" } ?? "ok \(name)") }
      failures += failed == nil ? 0 : 1
    }
    return failures == 0 ? 0 : 1
  }

  typealias Check = (name: String, body: () throws -> String?)

  private var checks: [Check] {
    var result: [Check] = []
    for count in [1, 3, 1003, piece(Float.self) - 1, piece(Float.self), piece(Float.self) + 1, 2 * piece(Float.self) + 5] {
      result.append(("sum of \(count) Float", { try sum(count, Float.self) }))
    }
    for count in [1, 1003, piece(Double.self) + 1] {
      result.append(("sum of \(count) Double", { try sum(count, Double.self) }))
      result.append(("sum of \(count) Int64", { try sum(count, Int64.self) }))
    }
    for count in [0, 1, 5, Communicator.pieceBytes, Communicator.pieceBytes + 1] {
      result.append(("broadcast of \(count) bytes from the first", { try broadcast(count, 0) }))
      result.append(("broadcast of \(count) bytes from the last", { try broadcast(count, size - 1) }))
    }
    result += sliceChecks
    result.append(("shared window", sharedWindow))
    result.append(("sum of an array made in place", literal))
    result.append(("empty buffers make no call", emptyBuffers))
    result.append(("calls and seconds are counted", accounts))
    result.append(("max and min", extremes))
    result.append(("scalars", scalars))
    result.append(("gather of values", gatherValues))
    result.append(("gather of bytes", { try gatherBytes { $0 * 7 } }))
    result.append(("gather of no bytes", { try gatherBytes { _ in 0 } }))
    result.append(("gather in rounds", { try gatherBytes { (5 << 20) * ($0 + 1) + $0 } }))
    result.append(("broadcast of values", broadcastValues))
    result.append(("split", split))
    result.append(("topology", topology))
    result.append(("agreement's result", agreement))
    return result
  }

  private func piece<Number>(_: Number.Type) -> Int { Communicator.pieceBytes / MemoryLayout<Number>.stride }

  func expect<Value: Equatable>(_ value: Value, _ expected: Value, _ what: String) -> String? {
    value == expected ? nil : "\(what) is \(value), not \(expected)"
  }

  /// Element i of rank r is i mod 1000 + r: whole numbers, so that every order of summation gives the same bits.
  private func sum<Number: ReducibleNumber & Numeric>(_ count: Int, _: Number.Type) throws -> String? {
    let buffer = AlignedBuffer<Number>(count: count + 1)
    for i in 0..<count { buffer.base[i] = Number(exactly: i % 1000 + rank)! }
    buffer.base[count] = 77
    try world.allreduceSum(UnsafeMutableBufferPointer(start: buffer.base, count: count))
    for i in 0..<count {
      let expected = Number(exactly: size * (i % 1000) + sumOfRanks + shift)!
      if buffer.base[i] != expected { return "element \(i) is \(buffer.base[i]), not \(expected)" }
    }
    return expect(buffer.base[count], 77, "the element behind the buffer")
  }

  /// Rank r has a part of 1000·(r + 1) numbers, of which it writes its own and reads all; the last rank's is empty.
  private func sharedWindow() throws -> String? {
    let node = environment.node
    let length = { (rank: Int) in rank + 1 == node.size && rank > 0 ? 0 : 1000 * (rank + 1) }
    let window = try SharedWindow(byteCount: length(node.rank) * MemoryLayout<Int64>.stride, communicator: node)
    var problem: String?
    for round in 0..<3 {
      let mine = window.elements(ofRank: node.rank, as: Int64.self)
      if round == 0, let other = mine.first(where: { $0 != 0 }) { problem = "a new window holds \(other)" }
      for i in mine.indices { mine[i] = Int64(i * (node.rank + 1) + round) }
      try window.fence()
      for other in 0..<node.size {
        let part = window.elements(ofRank: other, as: Int64.self)
        problem = problem ?? expect(part.count, length(other) + shift, "the length of part \(other)")
        for i in part.indices where part[i] != Int64(i * (other + 1) + round) { problem = "part \(other) holds \(part[i]) at \(i)" }
      }
      try window.fence()
    }
    try window.free()
    return problem
  }

  /// Swift 6.3's optimizer has read such an array's elements as they were before the call.
  private func literal() throws -> String? {
    var values = [Double(rank), 1, Double(2 * rank)]
    try world.allreduceSum(&values)
    return expect(values[0], Double(sumOfRanks + shift), "the first") ?? expect(values[1], Double(size + shift), "the second")
      ?? expect(values[2], Double(2 * sumOfRanks + shift), "the third")
  }

  private func emptyBuffers() throws -> String? {
    let before = world.activity.calls
    try world.allreduceSum(UnsafeMutableBufferPointer<Float>(start: nil, count: 0))
    try world.allreduceSum(AlignedBuffer<Double>(count: 0))
    var none: [Int] = []
    try world.allreduceSum(&none)
    try world.broadcast(UnsafeMutableRawBufferPointer(start: nil, count: 0), from: size - 1)
    return expect(world.activity.calls - before, shift, "the number of calls")
  }

  private func accounts() throws -> String? {
    let buffer = AlignedBuffer<Float>(count: 2 * piece(Float.self) + 1)
    let (calls, seconds) = (world.activity.calls, environment.collectiveSeconds)
    try world.allreduceSum(buffer)
    guard environment.collectiveSeconds > seconds else { return "no time passed" }
    // Three pieces, of which two are large enough for slices of several ranks: two calls each.
    return expect(world.activity.calls - calls, (size > 2 ? 5 : 3) + shift, "the number of calls")
  }

  private func extremes() throws -> String? {
    var numbers = [Double(rank), -Double(rank), 0.5]
    try numbers.withUnsafeMutableBufferPointer { try world.allreduceMax($0) }
    var integers = [rank, -rank, 7]
    try integers.withUnsafeMutableBufferPointer { try world.allreduceMin($0) }
    return expect(numbers, [Double(size - 1 + shift), 0, 0.5], "max")
      ?? expect(integers, [0, -(size - 1), 7], "min")
  }

  private func scalars() throws -> String? {
    let values = [
      try world.allreduceSum(rank), try world.allreduceMax(rank), try world.allreduceMin(rank + 3),
      Int(try world.allreduceSum(Double(rank) * 0.5) * 2), Int(try world.allreduceMax(Float(rank))),
      Int(try world.allreduceMin(Double(-rank))), Int(try world.allreduceSum(Int64(1) << 40) >> 40),
    ]
    return expect(values, [sumOfRanks, size - 1, 3, sumOfRanks, size - 1, 1 - size, size + shift], "sum, max, min, …")
  }

  private func broadcast(_ count: Int, _ root: Int) throws -> String? {
    let buffer = AlignedBuffer<UInt8>(count: count + 1)
    for i in 0..<count { buffer.base[i] = rank == root ? UInt8(truncatingIfNeeded: i &* 31 &+ root) : 255 }
    buffer.base[count] = 77
    try world.broadcast(UnsafeMutableRawBufferPointer(start: buffer.base, count: count), from: root)
    for i in 0..<count {
      let expected = UInt8(truncatingIfNeeded: i &* 31 &+ root &+ shift)
      if buffer.base[i] != expected { return "byte \(i) is \(buffer.base[i]), not \(expected)" }
    }
    return expect(buffer.base[count], 77 + (count == 0 ? UInt8(shift) : 0), "the byte behind the buffer")
  }

  private func broadcastValues() throws -> String? {
    let root = size - 1
    var floats: [Float] = rank == root ? [1, 2, 3] : [0, 0, 0]
    try floats.withUnsafeMutableBufferPointer { try world.broadcast($0, from: root) }
    let bytes = try world.broadcast(bytes: rank == root ? Array("längeres".utf8) : [], from: root)
    let value = try world.broadcast(rank * 10, from: root)
    return expect(floats, [1, 2, 3], "floats")
      ?? expect(String(decoding: bytes, as: UTF8.self), "längeres", "bytes")
      ?? expect(value, root * 10 + shift, "a value")
  }

  /// 9 bytes with a stride of 16: padding travels along.
  private struct Padded: BitwiseCopyable, Equatable {
    var number: Int
    var byte: UInt8
  }

  private func gatherValues() throws -> String? {
    let mine = Padded(number: rank * rank, byte: UInt8(rank))
    let expected = (0..<size).map { Padded(number: $0 * $0 + shift, byte: UInt8($0)) }
    let (first, last) = (try world.gather(mine), try world.gather(mine, to: size - 1))
    let all = try world.allgather(mine)
    return expect(all, expected, "on all")
      ?? expect(first, rank == 0 ? expected : nil, "on the first")
      ?? expect(last, rank == size - 1 ? expected : nil, "on the last")
  }

  private func gatherBytes(_ length: (Int) -> Int) throws -> String? {
    func bytes(_ rank: Int, _ shift: Int = 0) -> [UInt8] {
      (0..<length(rank) + shift).map { UInt8(truncatingIfNeeded: $0 &* 13 &+ rank) }
    }
    let expected = (0..<size).map { bytes($0, shift) }
    let gathered = try world.gather(bytes: bytes(rank), to: size - 1)
    let onAll = try world.allgather(bytes: bytes(rank))
    let texts = try world.allgather("rang \(rank) ü")
    // Not `expect`: a failure would print megabytes.
    if onAll != expected { return "other bytes on all: \(onAll.map(\.count)), not \(expected.map(\.count))" }
    if gathered != (rank == size - 1 ? expected : nil) { return "other bytes on the last" }
    return expect(texts, (0..<size).map { "rang \($0) ü" }, "texts")
  }

  private func split() throws -> String? {
    // Even and odd ranks apart, each in reverse order.
    let part = try world.split(color: rank % 2, key: -rank)
    guard let part else { return "no part" }
    let members = (0..<size).filter { $0 % 2 == rank % 2 }.reversed().map { $0 }
    let alone = try world.split(color: rank == 0 ? 5 : nil, key: 0)
    let ranks = try part.allgather(rank)
    return expect(ranks, members.map { $0 + shift }, "the part")
      ?? expect(part.rank, members.firstIndex(of: rank)!, "the number in the part")
      ?? expect(alone?.size, rank == 0 ? 1 : nil, "the size of rank 0's own")
  }

  private func topology() throws -> String? {
    let topology = environment.topology
    // A host is a node here. Ranks may be dealt out over hosts in any order.
    let names = try world.allgather(environment.host)
    var hosts: [String] = []
    for name in names where !hosts.contains(name) { hosts.append(name) }
    let mates = (0..<size).filter { names[$0] == names[rank] }
    return expect(topology.nodeCount, hosts.count + shift, "the number of nodes")
      ?? expect(topology.hosts, hosts, "hosts")
      ?? expect(topology.nodeOfRank, names.map { hosts.firstIndex(of: $0)! }, "nodes")
      ?? expect(topology.ranks(onNode: topology.nodeIndex), mates, "ranks of the node")
      ?? expect(topology.localRank, mates.firstIndex(of: rank)!, "the local rank")
      ?? expect(environment.node.rank, topology.localRank, "the rank on the node")
      ?? expect(environment.node.size, mates.count, "the ranks on the node")
  }

  private func agreement() throws -> String? {
    expect(try world.agree("a value") { rank * 3 }, rank * 3 + shift, "the body's result")
  }
}
