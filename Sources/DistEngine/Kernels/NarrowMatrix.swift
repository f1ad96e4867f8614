import CKernels

/// Floats of 16 bits, as files have them. `Float` holds each of them exactly.
package enum NarrowFloat: Sendable, Hashable {
  /// The upper half of a `Float`.
  case bfloat16
  /// IEEE 754's binary16.
  case float16

  package static let byteCount = MemoryLayout<UInt16>.size

  /// The bits of which infinity and NaN have all.
  fileprivate var exponent: UInt16 {
    switch self {
    case .bfloat16: 0x7F80
    case .float16: 0x7C00
    }
  }
}

/// A view of a row-major matrix of 16-bit floats, which is only read: it owns nothing, its memory belongs to a file that is mapped.
///
/// Row `r` starts `r * stride` elements after `base`, which may be any byte.
package struct NarrowMatrix {
  package let base: UnsafeRawPointer
  package let type: NarrowFloat
  package let rows: Int
  package let columns: Int
  package let stride: Int

  package init(_ base: UnsafeRawPointer, _ type: NarrowFloat, rows: Int, columns: Int, stride: Int? = nil) {
    let stride = stride ?? columns
    precondition(rows >= 0 && columns >= 0 && stride >= columns, "a matrix of \(rows) x \(columns), stride \(stride)")
    (self.base, self.type, self.rows, self.columns, self.stride) = (base, type, rows, columns, stride)
  }

  /// Some rows and some columns of them.
  package func block(_ rows: Range<Int>, _ columns: Range<Int>) -> NarrowMatrix {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= self.rows, "rows \(rows) of \(self.rows)")
    precondition(columns.lowerBound >= 0 && columns.upperBound <= self.columns, "columns \(columns) of \(self.columns)")
    let offset = (rows.lowerBound * stride + columns.lowerBound) * NarrowFloat.byteCount
    return NarrowMatrix(base + offset, type, rows: rows.count, columns: columns.count, stride: stride)
  }

  /// Writes `y[rows, columns]`, exactly these numbers.
  package func widen(into y: Matrix) {
    precondition(y.rows == rows && y.columns == columns, "\(rows) x \(columns) into \(y.rows) x \(y.columns)")
    switch type {
    case .bfloat16: ck_widen_bf16(rows, columns, base, stride, y.base, y.stride)
    case .float16: ck_widen_f16(rows, columns, base, stride, y.base, y.stride)
    }
  }

  /// Whether none is infinite or NaN. Reads every page.
  package var isFinite: Bool {
    (0..<rows).allSatisfy { ck_has_exponent(columns, base + $0 * stride * NarrowFloat.byteCount, type.exponent) == 0 }
  }
}

/// A matrix as layers find it: floats, or what a file has in their place.
package enum StoredMatrix {
  case floats(Matrix)
  case narrow(NarrowMatrix)

  package var rows: Int {
    switch self {
    case .floats(let m): m.rows
    case .narrow(let m): m.rows
    }
  }

  package var columns: Int {
    switch self {
    case .floats(let m): m.columns
    case .narrow(let m): m.columns
    }
  }
}
