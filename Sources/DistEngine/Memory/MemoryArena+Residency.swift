#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

extension MemoryArena {
  /// Bytes in memory (mincore(2)) at the places of the buffers that are alive at the fullest point of the plan's timeline, by category.
  ///
  /// Other buffers use the same places at other points: what lies there at the moment is not told apart.
  package func residentBytesByCategory() -> [MemoryPlan.Category: Int] {
    let pageSize = Self.pageSize
    let pages = (mappedByteCount + pageSize - 1) / pageSize
    var isResident = [UInt8](repeating: 0, count: pages)
    guard mincore(base, mappedByteCount, &isResident) == 0 else { return [:] }
    var result: [MemoryPlan.Category: Int] = [:]
    for index in plan.buffersAliveAtPeak() where plan.buffers[index].byteCount > 0 {
      let bytes = layout.offsets[index]..<layout.offsets[index] + plan.buffers[index].byteCount
      var resident = 0
      for page in bytes.lowerBound / pageSize...(bytes.upperBound - 1) / pageSize where isResident[page] & 1 != 0 {
        resident += bytes.clamped(to: page * pageSize..<(page + 1) * pageSize).count
      }
      result[plan.buffers[index].category, default: 0] += resident
    }
    return result
  }
}
