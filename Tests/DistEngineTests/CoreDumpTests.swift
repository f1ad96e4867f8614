import DistEngine
import Foundation
import Testing

@Suite struct CoreDumpTests {
  /// The flags of the mapping that holds an address (proc(5), smaps).
  private func flags(of address: UInt) throws -> [Substring] {
    var isHere = false
    for line in try #require(SystemFile.text("/proc/self/smaps")).split(separator: "\n") {
      let bounds = line.prefix { $0 != " " }.split(separator: "-").compactMap { UInt($0, radix: 16) }
      if bounds.count == 2 { isHere = (bounds[0]..<bounds[1]).contains(address) }
      if isHere, line.hasPrefix("VmFlags:") { return line.dropFirst(8).split(separator: " ") }
    }
    return []
  }

  @Test func theBuffersOfARunAreInNoDump() throws {
    let replica = try SmallModels.replica(.ghost, SmallModels.configuration(tied: true))
    // A view doesn't keep the memory mapped: the replica has to last.
    try withExtendedLifetime(replica) {
      for address in [replica.parameters.baseAddress!, replica.gradientSum.baseAddress!] {
        let found = try flags(of: UInt(bitPattern: address))
        #expect(found.contains("dd"), "\(found)")
      }
    }
    #expect(try !flags(of: UInt(bitPattern: UnsafeRawPointer(strdup("on the heap")!))).contains("dd"), "the check sees pages that are")
  }
}
