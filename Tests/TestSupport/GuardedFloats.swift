/// Floats with sentinels on both sides, not aligned to any vector: a kernel that writes past its output is found out.
public final class GuardedFloats {
  private static let margin = 33
  private static let sentinel: UInt32 = 0x7FC0_DEAD

  private let memory: UnsafeMutableBufferPointer<Float>
  public let count: Int

  public var base: UnsafeMutablePointer<Float> { memory.baseAddress! + Self.margin }
  public var elements: UnsafeMutableBufferPointer<Float> { UnsafeMutableBufferPointer(start: base, count: count) }
  public var values: [Float] { Array(elements) }

  public init(_ values: [Float]) {
    count = values.count
    memory = .allocate(capacity: values.count + 2 * Self.margin)
    memory.initialize(repeating: Float(bitPattern: Self.sentinel))
    for (i, value) in values.enumerated() { memory[Self.margin + i] = value }
  }

  public convenience init(repeating value: Float, count: Int) { self.init([Float](repeating: value, count: count)) }

  /// `values` as rows of `columns` in a matrix of `stride` floats a row, NaN in the gaps and also in a whole row's rest at the end.
  public convenience init(_ values: [Float], columns: Int, stride: Int) {
    let rows = columns == 0 ? 0 : values.count / columns
    var spread = [Float](repeating: Float(bitPattern: Self.sentinel), count: rows * stride)
    for r in 0..<rows { for j in 0..<columns { spread[r * stride + j] = values[r * columns + j] } }
    self.init(spread)
  }

  deinit { memory.deallocate() }

  /// The rows of a matrix that was made with a stride, without their gaps.
  public func rows(columns: Int, stride: Int) -> [Float] {
    guard columns > 0, stride > 0 else { return [] }
    return (0..<(count / stride)).flatMap { r in (0..<columns).map { base[r * stride + $0] } }
  }

  /// Nothing but the elements was written.
  public var sentinelsAreIntact: Bool {
    let margins = [memory[..<Self.margin], memory[(Self.margin + count)...]]
    return margins.allSatisfy { $0.allSatisfy { $0.bitPattern == Self.sentinel } }
  }

  /// The gaps between rows of a matrix that was made with a stride weren't written.
  public func gapsAreIntact(columns: Int, stride: Int) -> Bool {
    guard stride > columns else { return true }
    return (0..<(count / stride)).allSatisfy { r in
      (columns..<stride).allSatisfy { base[r * stride + $0].bitPattern == Self.sentinel }
    }
  }
}
