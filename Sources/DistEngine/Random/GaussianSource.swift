import CKernels

/// Standard normals as a function of (key, step, element): the noise of a step, or an initial parameter, is the same
/// whichever rank draws it, whatever the slice.
///
/// Elements 2k and 2k+1 are the Box–Muller pair of words 2k and 2k+1 of stream `step`: 64-bit uniforms, in double.
package struct GaussianSource: Sendable {
  private let random: CounterRandom

  package init(_ subKey: SubKey) { random = CounterRandom(subKey) }

  /// Adds `scale · z(step, j)` to `values[j - elements.lowerBound]` for every element `j`; rounded once, to `Float`.
  package func add(step: UInt64, elements: Range<Int>, scale: Double, to values: UnsafeMutableBufferPointer<Float>) {
    precondition(elements.lowerBound >= 0, "elements \(elements)")
    precondition(values.count == elements.count, "\(values.count) values for \(elements.count) elements")
    guard let base = values.baseAddress, !elements.isEmpty else { return }

    var start = elements.lowerBound
    if start % 2 == 1 {
      // The second of a pair: the first one's normal goes to a place of no account.
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 2) { pair in
        pair.initialize(repeating: base[0])
        random.forEachPiece(stream: step, from: start - 1, count: 2) { words, _ in
          ck_add_gaussians(2, words.baseAddress, scale, pair.baseAddress)
        }
        base[0] = pair[1]
      }
      start += 1
    }
    let rest = base + (start - elements.lowerBound)
    ThreadTeam.current.split(
      elements.upperBound - start, smallest: 2 * CounterRandom.wordsPerPiece, alignment: CounterRandom.wordsPerPiece
    ) { part in
      // An even number of words: the last element's pair is whole.
      random.forEachPiece(stream: step, from: start + part.lowerBound, count: (part.count + 1) & ~1) { words, offset in
        ck_add_gaussians(
          min(words.count, part.count - offset), words.baseAddress, scale, rest + part.lowerBound + offset)
      }
    }
  }

  /// The normals themselves, in double.
  package func normals(step: UInt64, elements: Range<Int>) -> [Double] {
    let start = elements.lowerBound & ~1
    let count = (elements.upperBound - start + 1) & ~1
    var normals: [Double] = []
    normals.reserveCapacity(count)
    random.forEachPiece(stream: step, from: start, count: count) { words, _ in
      normals += [Double](unsafeUninitializedCapacity: words.count) { buffer, initialized in
        ck_gaussians(words.count, words.baseAddress, buffer.baseAddress)
        initialized = words.count
      }
    }
    return Array(normals[(elements.lowerBound - start)..<(elements.upperBound - start)])
  }
}
