import DistEngine
import Testing

/// What of a sum is said to be final, and when.
@Suite struct AnnouncedSumTests {
  @Test(arguments: [1, 100, 1000, 1 << 20]) func partsCoverEveryElementOnceAndAreOfOneStage(capacity: Int) throws {
    for tied in [true, false] {
      let layout = try SmallModels.configuration(tied: tied).parameterLayout
      for order in [ParameterLayout.LayerOrder.backward, .embeddingsFirst] {
        let parts = layout.parts(inOrder: order, capacity: capacity)
        #expect(parts.allSatisfy { !$0.isEmpty && $0.count <= capacity })
        #expect(parts.sorted { $0.lowerBound < $1.lowerBound }.reduce(0) { $1.lowerBound == $0 ? $1.upperBound : -1 } == layout.totalCount)
        let stages = parts.map { part in Set(layout.filter { $0.range.overlaps(part) }.map(\.stage)) }
        #expect(stages.allSatisfy { $0.count == 1 })
        let numbers = stages.compactMap(\.first)
        let expected = numbers.sorted { one, other in
          order == .embeddingsFirst && (one == 0) != (other == 0) ? one == 0 : one > other
        }
        #expect(numbers == expected)
      }
    }
  }

  /// Each part once: when all of its layers have had what a microbatch adds to them, or at the batch's end.
  @Test func partsAreFinalWithTheirLayersLastAddition() throws {
    let layout = try SmallModels.configuration(tied: true).parameterLayout
    let buffer = AlignedBuffer<Float>(count: layout.totalCount)
    let parts = layout.parts(inOrder: .backward, capacity: 200)
    let (twice, unknown) = (layout.groups[1], layout.groups[3])
    let sum = AnnouncedSum(WholeGradientSum(TensorSlab(buffer.base, extents: layout.extents)), layout: layout, parts: parts) {
      $0 == twice ? 2 : $0 == unknown ? nil : 1
    }
    for _ in 0..<2 {
      sum.clear()
      var told: [Int] = []
      // Of microbatches that aren't the last nothing is said.
      for layer in layout.groups { sum.add(layerOf: layer.lowerBound) { _ in } }
      sum.beginLastMicrobatch { told.append($0) }
      var additions = [Int](repeating: 0, count: layout.groups.count)
      for index in Array(layout.groups.indices) + [1] {
        sum.add(layerOf: layout.groups[index].lowerBound) { _ in
          // Nothing is said before the addition is made.
          #expect(!parts.indices.contains { told.contains($0) && overlaps(parts[$0], layout, index) })
        }
        additions[index] += 1
        let final = parts.indices.filter { part in
          layout.groups.indices.allSatisfy { !overlaps(parts[part], layout, $0) || $0 != 3 && additions[$0] == ($0 == 1 ? 2 : 1) }
        }
        #expect(told.sorted() == final)
      }
      sum.complete()
      sum.announceRest { told.append($0) }
      #expect(told.sorted() == Array(parts.indices))
    }
  }

  private func overlaps(_ part: Range<Int>, _ layout: ParameterLayout, _ group: Int) -> Bool {
    layout[layout.groups[group]].contains { $0.range.overlaps(part) }
  }
}
