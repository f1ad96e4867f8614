// Summation of a model's gradient over the ranks of a node, three ways, alternating: mpirun -np 4 exchange-benchmarks [PRESET] [ROUNDS]
//
// One MPI_Allreduce of the whole buffer; the same in pieces of 16 MB (`--shard none`); slices added up by their owners in the node's
// window (`--shard node`: what is timed is the ranks' meetings and the sums, not the products that fill the window).
//
// `overlap` is another comparison: Overlap.swift.

import CMPI
import DistEngine
import Foundation

let arguments = CommandLine.arguments.dropFirst()
let preset = ModelPreset(rawValue: arguments.first ?? "small") ?? .small
let rounds = arguments.dropFirst().first.flatMap { Int($0) } ?? 7

/// Seconds, by the slowest rank.
func time(_ world: Communicator, _ body: () throws -> Void) throws -> Double {
  try world.barrier()
  let start = ContinuousClock.now
  try body()
  let spent = ContinuousClock.now - start
  return try world.allreduceMax(Double(spent.components.seconds) + Double(spent.components.attoseconds) * 1e-18)
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

exit(
  MPIEnvironment.run { environment in
    if arguments.first == "overlap" { return try compareOverlap(Array(arguments.dropFirst()), environment) }
    let world = environment.world
    let layout = preset.configuration.parameterLayout
    let buffer = AlignedBuffer<Float>(count: layout.totalCount)
    buffer.elements.update(repeating: 1)
    let plan = ShardPlan(
      layout, sharding: .node, noise: .sharded, topology: environment.topology,
      pieceCapacity: min(ShardPlan.pieceCapacity, layout.totalCount / 3))
    guard let pieces = plan.pieces else { preconditionFailure("a node's plan without pieces") }
    let window = try SharedWindow(byteCount: plan.windowByteCount, communicator: environment.node)
    let slice = AlignedBuffer<Float>(count: plan.updatedCount)
    let sum = NodeGradientSum(
      pieces: pieces, extents: layout.extents, window: window, slice: slice.elements, owner: plan.owner)
    var (whole, inPieces, inWindow): ([Double], [Double], [Double]) = ([], [], [])
    for round in 0...rounds {
      let seconds = [
        try time(world) {
          let code = CMPI_Allreduce_in_place(buffer.base, buffer.count, CMPI_float(), CMPI_sum(), CMPI_comm_world())
          guard code == CMPI_success() else { preconditionFailure("MPI_Allreduce: \(code)") }
        },
        try time(world) { try world.allreduceSum(buffer) },
        try time(world) {
          sum.clear()
          for layer in layout.groups {
            sum.add(layerOf: layer.lowerBound) { target in for tensor in layer { _ = target.part(of: tensor) } }
          }
        },
      ]
      guard round > 0 else { continue }
      whole.append(seconds[0])
      inPieces.append(seconds[1])
      inWindow.append(seconds[2])
    }
    guard world.rank == 0 else { return ExitStatus.done }
    print("\(layout.totalCount) floats (\(4 * layout.totalCount / MemoryMeter.megabyte) MB), \(world.size) ranks; median of \(rounds)")
    for (name, seconds) in [("one MPI_Allreduce", whole), ("in pieces of 16 MB", inPieces), ("owners in the window", inWindow)] {
      print(
        "\(name.padding(toLength: 24, withPad: " ", startingAt: 0))\(String(format: "%8.1f ms   x %.2f", 1000 * median(seconds), median(whole) / median(seconds)))")
    }
    return ExitStatus.done
  })
