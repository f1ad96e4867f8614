import CKernels

/// Whether this processor and library make products of bfloat16 as ``BFloat16Products`` needs them: found out by making some.
package enum BFloat16Probe {
  /// `c[m,n] = a · b` of elements of bfloat16.
  package typealias Product = (
    _ shape: OneDNNProducts.Shape, _ a: UnsafePointer<UInt16>, _ b: UnsafePointer<UInt16>, _ c: UnsafeMutablePointer<Float>
  ) throws -> Void

  /// Why there are none; nil where there are.
  package static func refusal() -> String? { found.refusal }
  /// What makes them: the same on all ranks, or their results differ. Empty where there is nothing.
  package static func description() -> String { found.description }

  private static let found: (refusal: String?, description: String) = {
    guard OneDNNProducts.processorHasBFloat16 else { return ("the processor has no bfloat16 products (avx512_bf16)", "") }
    let products = OneDNNProducts(.bfloat16)
    do {
      let refusal = try refusal { try products.multiply($0, $1, $2, into: $3) }
      if products.implementation.contains("ref") { return ("\(OneDNNProducts.version) has its reference implementation alone here", "") }
      return (refusal.map { "\(OneDNNProducts.version) \($0)" }, "\(OneDNNProducts.version) \(products.implementation)")
    } catch {
      return ("\(OneDNNProducts.version) makes no bfloat16 product here: \(error)", "")
    }
  }()

  /// Products of odd sizes, plain and transposed: every element within the error that sums in float32 may have (Higham 2002, §3.1), and equal rows
  /// equal to the bit, wherever they stand and whatever stands beside them: records whose operands aren't numbers, too, above them and, where a tile is
  /// narrower than the one before, behind them.
  ///
  /// - Returns: what is wrong.
  package static func refusal(of product: Product) rethrows -> String? {
    for (columns, inner) in [(BFloat16Products.columns, BFloat16Products.inner), (47, 33), (1, 1), (16, 511)] {
      for isTransposed in [false, true] {
        // A mapped matrix begins at any even address.
        for offset in [0, 1] {
          if let refusal = try refusal(of: product, columns: columns, inner: inner, isTransposed: isTransposed, rightOffset: offset) { return refusal }
        }
      }
    }
    return nil
  }

  /// Every so many'th row of the left operand is the same.
  private static let period = 5
  /// A row of NaN, a row of infinity.
  private static let (unsoundRow, infiniteRow) = (1, 17)

  private static func refusal(of product: Product, columns: Int, inner: Int, isTransposed: Bool, rightOffset: Int) rethrows -> String? {
    let rows = BFloat16Products.rows
    // A stride other than the width, as in a matrix in its file.
    let stride = (isTransposed ? inner : columns) + 3
    let shape = OneDNNProducts.Shape(
      rows: rows, columns: columns, inner: inner, isTransposed: isTransposed, leftStride: BFloat16Products.inner, rightStride: stride,
      resultStride: BFloat16Products.columns)
    let a = Operand(rows: rows, columns: inner, stride: BFloat16Products.inner, offset: 0, seed: 1) { $0 % period == 0 ? 0 : $0 }
    let b = Operand(rows: isTransposed ? columns : inner, columns: isTransposed ? inner : columns, stride: stride, offset: rightOffset, seed: 2) { $0 }
    let c = AlignedBuffer<Float>(count: rows * BFloat16Products.columns)
    c.elements.update(repeating: .nan)
    for column in 0..<inner {
      a.elements[unsoundRow * BFloat16Products.inner + column] = notANumber
      a.elements[infiniteRow * BFloat16Products.inner + column] = 0x7F80
    }
    try product(shape, a.elements, b.elements, c.base)
    for row in 0..<rows where row != unsoundRow && row != infiniteRow {
      for column in 0..<columns {
        let value = c.base[row * BFloat16Products.columns + column]
        if row % period == 0, value.bitPattern != c.base[column].bitPattern { return "gives a row another result at another place" }
        var (sum, magnitude) = (0.0, 0.0)
        for k in 0..<inner {
          let term = Double(a[row, k]) * Double(isTransposed ? b[column, k] : b[k, column])
          sum += term
          magnitude += abs(term)
        }
        guard abs(Double(value) - sum) <= Double(inner) * 0x1p-23 * magnitude else { return "gives a wrong bfloat16 product" }
      }
    }
    return nil
  }

  private static let notANumber: UInt16 = 0x7FFF

  /// Numbers of bfloat16 and of both signs, the same each time, with what isn't a number in the gaps between rows.
  private struct Operand {
    private let buffer: AlignedBuffer<UInt16>
    private let stride, offset: Int

    var elements: UnsafeMutablePointer<UInt16> { buffer.base + offset }

    init(rows: Int, columns: Int, stride: Int, offset: Int, seed: UInt32, _ source: (Int) -> Int) {
      (self.stride, self.offset) = (stride, offset)
      buffer = AlignedBuffer(count: offset + rows * stride)
      buffer.elements.update(repeating: notANumber)
      let line = AlignedBuffer<Float>(count: columns)
      for row in 0..<rows {
        for column in 0..<columns {
          var hash = UInt32(source(row) * 7919 + column) &* 2_654_435_761 &+ seed
          hash = (hash ^ hash >> 15) &* 2_246_822_519
          line.base[column] = Float(Int32(bitPattern: hash)) * 0x1p-31
        }
        ck_round_bf16(1, columns, line.base, columns, 1, elements + row * stride, stride)
      }
    }

    subscript(row: Int, column: Int) -> Float { Float(bitPattern: UInt32(elements[row * stride + column]) << 16) }
  }
}
