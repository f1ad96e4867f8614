import DistEngine
import Foundation
import Synchronization
import Testing

@Suite("A team of threads")
struct ThreadTeamTests {
  /// Jobs of many sizes behind each other, some of them after a pause in which the workers fall asleep.
  @Test(arguments: 1...4) func everyItemIsDoneOnce(threads: Int) {
    let team = ThreadTeam(count: threads)
    for round in 0..<2000 {
      let items = round % 23
      var done = [Int](repeating: 0, count: items)
      let strangers = Atomic(0)
      done.withUnsafeMutableBufferPointer { done in
        team.forEach(items) { item, thread in
          done[item] += 1
          if !(0..<threads).contains(thread) { strangers.add(1, ordering: .relaxed) }
        }
      }
      #expect(done == [Int](repeating: 1, count: items), "round \(round)")
      #expect(strangers.load(ordering: .relaxed) == 0)
      if round % 100 == 0 { usleep(500) }
    }
  }

  /// Scratch is by thread: no two items have the same thread's at the same time.
  @Test func aThreadDoesOneItemAtATime() {
    let team = ThreadTeam(count: 4)
    var busy = [Bool](repeating: false, count: 4)
    let clashes = Atomic(0)
    busy.withUnsafeMutableBufferPointer { busy in
      team.forEach(4000) { _, thread in
        if busy[thread] { clashes.add(1, ordering: .relaxed) }
        busy[thread] = true
        busy[thread] = false
      }
    }
    #expect(clashes.load(ordering: .relaxed) == 0)
  }

  @Test func workersWorkAtTheSameTime() {
    let team = ThreadTeam(count: 3)
    let arrived = Atomic(0)
    let deadline = ContinuousClock.now + .seconds(60)
    // Each item waits for the others: one thread alone would never end the first.
    team.forEach(3) { _, _ in
      arrived.add(1, ordering: .relaxed)
      while arrived.load(ordering: .relaxed) < 3 && ContinuousClock.now < deadline { usleep(100) }
    }
    #expect(arrived.load(ordering: .relaxed) == 3)
    #expect(ContinuousClock.now < deadline, "the items were done one after the other")
  }

  @Test func theCurrentTeamIsThatOfTheNearestUseAndNoneWithinAPart() {
    let (outer, inner) = (ThreadTeam(count: 2), ThreadTeam(count: 3))
    #expect(ThreadTeam.current.count == 1)
    outer.use {
      inner.use { #expect(ThreadTeam.current.count == 3) }
      #expect(ThreadTeam.current.count == 2)
      let wider = Atomic(0)
      ThreadTeam.current.forEach(50) { _, _ in if ThreadTeam.current.count > 1 { wider.add(1, ordering: .relaxed) } }
      #expect(wider.load(ordering: .relaxed) == 0)
      // One item is nothing to share: its kernels may.
      ThreadTeam.current.forEach(1) { _, _ in #expect(ThreadTeam.current.count == 2) }
    }
    #expect(ThreadTeam.current.count == 1)
  }

  @Test(arguments: [0, 1, 15, 16, 17, 1003], [1, 2, 3, 4]) func partsCoverAll(count: Int, parts: Int) {
    for alignment in [1, 16] {
      let ranges = (0..<parts).map { ThreadTeam.range($0, of: parts, count: count, alignment: alignment) }
      #expect(ranges.flatMap(Array.init) == Array(0..<count))
      #expect(ranges.allSatisfy { $0.isEmpty || $0.lowerBound % alignment == 0 })
      let sizes = ranges.map(\.count)
      #expect(sizes.max()! - sizes.min()! < 2 * alignment + 1)
    }
  }

  @Test func smallWorkIsNotSplit() {
    let team = ThreadTeam(count: 4)
    #expect(team.parts(of: 99, smallest: 100) == 0)
    #expect(team.parts(of: 250, smallest: 100) == 2)
    #expect(team.parts(of: 1000, smallest: 100) == 4)
    #expect(team.sum(0, smallest: 1) { _ in 7 } == 0)
    #expect(team.sum(10, smallest: 1) { Double($0.count) } == 10)
  }
}
