/// What this machine takes for an element, where as many ranks as a node has do the same at the same time: seconds.
package struct MachineRates: Sendable, Equatable {
  /// To draw and add its noise.
  package var noise: Double
  /// Of its update.
  package var update: Double
  /// To set it to 0 in the sum.
  package var clear: Double
  /// To add it, as some rank of the node has it, to the sum.
  package var add: Double
  /// To copy it from one rank's memory to another's; 0 for a rank alone.
  package var copy: Double

  package init(noise: Double, update: Double, clear: Double, add: Double, copy: Double) {
    (self.noise, self.update, self.clear, self.add, self.copy) = (noise, update, clear, add, copy)
  }
}

extension MachineRates {
  /// Elements of a rank in a step: what fits a cache is faster.
  struct Counts {
    let noise, update, sum: Int
    /// Whether one rank draws while the others wait.
    let oneDraws: Bool
  }

  /// The most elements that are timed, and seconds of each rate.
  private static let most = 8 << 20
  private static let limit = 0.15

  /// Times the program's own noise, optimizer and sums, on memory that is freed.
  init(_ counts: Counts, optimizer: OptimizerConfiguration, on ranks: RanksAtOnce) throws {
    let source = GaussianSource(RandomKey(seed: 1).subKey(for: .noise))
    noise = Self.rate(counts.noise, ranks) { count in
      let sums = ranks.memory(count)
      return ranks.mean(ranks: counts.oneDraws ? 1 : nil, limit: Self.limit) { source.add(step: 0, elements: 0..<count, scale: 1, to: sums[$0].elements) }
    }
    update = try Self.rate(counts.update, ranks) { count in
      let updates = try (0..<ranks.count).map { _ in try Update(optimizer, count: count) }
      return ranks.mean(limit: Self.limit) { updates[$0].run() }
    }
    clear = Self.rate(counts.sum, ranks) { count in
      let sums = ranks.memory(count)
      return ranks.mean(limit: Self.limit) { RowKernels.fill(sums[$0].elements, with: 0) }
    }
    add = Self.rate(counts.sum, ranks) { Self.secondsOfAdding($0, on: ranks) }
    copy = ranks.count == 1 ? 0 : Self.rate(counts.sum, ranks) { Self.secondsOfCopying($0, on: ranks) }
  }

  /// Seconds an element, of as many as there are; of fewer where so many would take too long.
  ///
  /// - Parameter seconds: of some elements.
  private static func rate(_ count: Int, _ ranks: RanksAtOnce, seconds: (Int) throws -> Double) rethrows -> Double {
    let most = min(max(64, count), Self.most)
    let few = min(most, 1 << 16)
    let rate = try seconds(few) / Double(few)
    // A clock too coarse for what is that short tells nothing of how many are affordable.
    let affordable = rate > 0 ? max(few, Int(min(Double(most), limit / 2 * ranks.processorPart / rate))) : most
    return try affordable == few ? rate : seconds(affordable) / Double(affordable)
  }

  /// A rank's update, with memory of its own.
  private final class Update {
    private var optimizer: Optimizer
    private let part: Optimizer.Part

    init(_ configuration: OptimizerConfiguration, count: Int) throws {
      var plan = MemoryPlan()
      let (parameters, gradient) = (plan.add("parameters", .parameters, count: count), plan.add("gradient", .gradients, count: count))
      let state = Optimizer.Buffers(configuration, count: count, in: &plan)
      let arena = try MemoryArena(plan)
      // It holds the arena.
      optimizer = Optimizer(configuration, buffers: state, in: arena)
      part = (arena.elements(parameters), arena.elements(gradient))
    }

    func run() { optimizer.update([part], gradientScale: 1, learningRate: 1e-4) }
  }

  /// As the sums of a node are made: each rank adds all ranks' parts to its own slice, some floats at a time (``NodeGradientSum``). As many
  /// additions a rank as there are elements.
  private static func secondsOfAdding(_ count: Int, on ranks: RanksAtOnce) -> Double {
    let block = 4096
    let slice = max(1, count / ranks.count)
    let (parts, sums) = (ranks.memory(slice * ranks.count), ranks.memory(slice))
    return ranks.mean(limit: limit) { rank in
      for start in stride(from: 0, to: slice, by: block) {
        let floats = start..<min(slice, start + block)
        for part in parts {
          let own = Vector(rebasing: part.elements[rank * slice + floats.lowerBound..<rank * slice + floats.upperBound])
          RowKernels.addScaled(own, by: 1, to: Vector(rebasing: sums[rank].elements[floats]))
        }
      }
    }
  }

  /// From a neighbour's memory to a rank's own.
  private static func secondsOfCopying(_ count: Int, on ranks: RanksAtOnce) -> Double {
    let (sources, targets) = (ranks.memory(count), ranks.memory(count))
    return ranks.mean(limit: limit) { rank in _ = targets[rank].elements.update(fromContentsOf: sources[(rank + 1) % sources.count].elements) }
  }
}

extension RanksAtOnce {
  /// Floats for each rank.
  fileprivate func memory(_ count: Int) -> [AlignedBuffer<Float>] { (0..<self.count).map { _ in AlignedBuffer(count: count) } }
}
