#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The memory of a run: one slab, laid out by a ``MemoryPlan``, zero when made, freed as a whole.
package final class MemoryArena {
  package let plan: MemoryPlan
  package let layout: MemoryPlan.Layout
  let base: UnsafeMutableRawPointer
  let mappedByteCount: Int
  static let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))

  package struct OutOfMemory: UserError {
    let byteCount: Int
    package var description: String {
      "the run needs \(byteCount / (1 << 20)) MB and the system refuses them; a smaller --microbatch or --seq-len needs less"
    }
  }

  /// - Throws: ``OutOfMemory`` when the system refuses the address space.
  package init(_ plan: MemoryPlan) throws {
    self.plan = plan
    layout = plan.layout()
    let pageSize = Self.pageSize
    mappedByteCount = max(1, (layout.byteCount + pageSize - 1) / pageSize) * pageSize
    let address = mmap(nil, mappedByteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let address, address != MAP_FAILED else { throw OutOfMemory(byteCount: layout.byteCount) }
    // Matrix products over gigabytes miss the TLB less on huge pages; where the kernel has none, this does nothing.
    madvise(address, mappedByteCount, 14 /* MADV_HUGEPAGE */)
    CoreDumps.leaveOut(UnsafeRawBufferPointer(start: address, count: mappedByteCount))
    base = address
  }

  deinit { munmap(base, mappedByteCount) }

  /// The elements of a buffer, as declared to the plan.
  package func elements<Element: BitwiseCopyable>(
    _ id: MemoryPlan.BufferID, of type: Element.Type = Float.self
  ) -> UnsafeMutableBufferPointer<Element> {
    precondition(plan.buffers[id.index].placement == .rank, "\(plan.buffers[id.index].name) is not of the arena")
    let count = plan.buffers[id.index].byteCount / MemoryLayout<Element>.stride
    let start = (base + layout.offsets[id.index]).assumingMemoryBound(to: Element.self)
    return UnsafeMutableBufferPointer(start: start, count: count)
  }
}
