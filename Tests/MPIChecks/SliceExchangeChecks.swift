import DistEngine

/// Slices of any size, also of none, added up at their owners and given to all, against the sum in closed form: with the job's own nodes, and
/// with nodes that are made up, of which those of two ranks have two stages where all are alike.
extension CollectiveChecks {
  var sliceChecks: [Check] {
    let nodes: [(name: String, ofRank: ((Int) -> Int)?)] = [
      ("own nodes", nil), ("pairs", { $0 / 2 }), ("every other", { $0 % 2 }), ("apart", { $0 }),
    ]
    let shapes: [(name: String, count: (_ rank: Int) -> Int)] = [
      ("nothing", { _ in 0 }), ("one element at the last", { [size] in $0 == size - 1 ? 1 : 0 }), ("13 each", { _ in 13 }), ("1003 each", { _ in 1003 }),
      ("uneven, none at the first", { $0 * 501 }), ("more than a piece", { [size] in (5 << 20) / size + $0 }),
    ]
    return shapes.flatMap { shape in
      nodes.map { node in
        ("slices: \(shape.name), \(node.name)", { try slices(shape.count, nodeOfRank: node.ofRank) })
      }
    }
  }

  private func slices(_ length: (_ rank: Int) -> Int, nodeOfRank: ((_ rank: Int) -> Int)?) throws -> String? {
    var slices: [Range<Int>] = []
    for rank in 0..<size {
      let start = slices.last?.upperBound ?? 0
      slices.append(start..<start + length(rank))
    }
    let count = slices.last!.upperBound
    var (topology, node) = (environment.topology, environment.node)
    if let nodeOfRank {
      let nodes = (0..<size).map(nodeOfRank)
      topology = NodeTopology(rank: rank, nodeOfRank: nodes, hosts: Set(nodes).sorted().map { "node\($0)" })
      node = try world.split(color: nodes[rank], key: rank)!
    }
    // Ranks that see nothing wrong go on: so do the others.
    var problems: [String] = []
    let slicesExchange = try SliceExchange(slices: slices, topology: topology, world: world, node: node)
    // One float of each rank at a time where there are few, some, and what the program takes.
    let rooms = [count > 200 ? 100 * size + 1 : size, SliceExchange.bufferCount(elements: count, ranks: size)]
    for room in count > 10_000 ? rooms.suffix(1) : rooms[...] {
      if let problem = try exchange(slices, slicesExchange, room: room) { problems.append("through \(room) floats: \(problem)") }
    }
    if let problem = problems.first { return problem }
    return count == 0 ? expect(shift, 0, "the shift") : nil
  }

  /// Element i of rank r is i mod 1000 + r: whole numbers, so that every order of summation gives the same bits.
  private func exchange(_ slices: [Range<Int>], _ exchange: SliceExchange, room: Int) throws -> String? {
    let count = slices.last!.upperBound
    let (values, buffer) = (AlignedBuffer<Float>(count: count + 1), AlignedBuffer<Float>(count: room + 1))
    for i in 0..<count { values.base[i] = Float(i % 1000 + rank) }
    (values.base[count], buffer.base[room]) = (77, 78)
    let own = slices[rank]
    let all = UnsafeMutableBufferPointer(start: values.base, count: count)
    let room = UnsafeMutableBufferPointer(start: buffer.base, count: room)
    try exchange.reduceSum(all, through: room)
    var problem: String?
    for i in 0..<count where problem == nil {
      let expected = Float(own.contains(i) ? size * (i % 1000) + size * (size - 1) / 2 + shift : i % 1000 + rank)
      if all[i] != expected { problem = "the sum at \(i) is \(all[i]), not \(expected)" }
    }
    for i in 0..<count { all[i] = own.contains(i) ? Float(7 * (i % 1000) + 1) : -1 }
    try exchange.allgather(all, through: room)
    for i in 0..<count where problem == nil && all[i] != Float(7 * (i % 1000) + 1 + shift) { problem = "what all have at \(i) is \(all[i])" }
    return problem ?? expect(values.base[count], 77, "the element behind the values") ?? expect(buffer.base[room.count], 78, "the element behind the buffer")
  }
}
