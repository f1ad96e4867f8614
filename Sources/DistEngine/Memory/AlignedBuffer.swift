#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Memory for a number of elements of a trivial type, aligned to 64 bytes (a cache line and the widest vector),
/// zero when made, freed with the last reference.
///
/// The elements are not protected against concurrent use: a buffer belongs to one step of one rank at a time.
package final class AlignedBuffer<Element: BitwiseCopyable> {
  package static var alignment: Int { 64 }

  package let base: UnsafeMutablePointer<Element>
  package let count: Int

  /// - Parameter count: elements, 0 or more. An empty buffer still has a valid address (MPI needs one).
  package init(count: Int) {
    precondition(count >= 0, "a buffer of \(count) elements")
    self.count = count
    let bytes = max(count * MemoryLayout<Element>.stride, Self.alignment)
    var address: UnsafeMutableRawPointer?
    guard posix_memalign(&address, Self.alignment, bytes) == 0, let address else {
      preconditionFailure("no memory for a buffer of \(bytes) bytes")
    }
    memset(address, 0, bytes)
    base = address.bindMemory(to: Element.self, capacity: max(count, 1))
  }

  deinit { free(base) }

  package var elements: UnsafeMutableBufferPointer<Element> { UnsafeMutableBufferPointer(start: base, count: count) }
}
