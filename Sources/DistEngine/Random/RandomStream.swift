/// One stream of a `CounterRandom`, read from its start: for draws of which the number isn't known beforehand.
package struct RandomStream: RandomNumberGenerator {
  private static let wordsPerRefill = 128

  private let random: CounterRandom
  private let stream: UInt64
  private var position = 0
  private var words: [UInt64] = []
  private var used = 0

  package init(_ random: CounterRandom, stream: UInt64) {
    self.random = random
    self.stream = stream
  }

  package mutating func next() -> UInt64 {
    if used == words.count {
      words = random.words(stream: stream, from: position, count: Self.wordsPerRefill)
      position += words.count
      used = 0
    }
    defer { used += 1 }
    return words[used]
  }

  /// A uniform in [0, 1), of 53 bits.
  package mutating func nextUniform() -> Double { CounterRandom.uniform(next()) }

  /// An integer in `0 ..< bound`, each equally likely (Lemire 2019: the high word of a product, rejecting what's biased).
  package mutating func next(below bound: Int) -> Int {
    precondition(bound > 0, "an integer below \(bound)")
    let bound = UInt64(bound)
    var product = next().multipliedFullWidth(by: bound)
    if product.low < bound {
      let biased = (0 &- bound) % bound
      while product.low < biased { product = next().multipliedFullWidth(by: bound) }
    }
    return Int(product.high)
  }

  /// Puts the elements in an order of which each is equally likely (Fisher & Yates).
  package mutating func shuffle<Elements: MutableCollection & RandomAccessCollection>(_ elements: inout Elements)
  where Elements.Index == Int {
    guard elements.count > 1 else { return }
    for remaining in stride(from: elements.count, through: 2, by: -1) {
      elements.swapAt(elements.startIndex + remaining - 1, elements.startIndex + next(below: remaining))
    }
  }
}
