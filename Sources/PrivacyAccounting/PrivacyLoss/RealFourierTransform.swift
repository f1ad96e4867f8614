import Foundation

/// Fourier transform of real sequences of one length, a power of two, in double precision.
///
/// The forward transform leaves its spectrum in bit-reversed order and the inverse takes it so: between them
/// the accountant only multiplies element by element, so no permutation is ever made. Both are unnormalised
/// radix-2 butterflies on split real and imaginary parts with twiddles computed one by one (a recurrence would lose
/// digits), and go depth first, so that all but the topmost stages stay in cache.
///
/// Relative error in the 2-norm: at most ``relativeError`` (Higham 2002, Accuracy and Stability of Numerical
/// Algorithms, Theorem 24.2, with one stage more for the real packing).
package struct RealFourierTransform: Sendable {
  /// Number of real points, at least 4.
  package let count: Int
  /// e^{-iπ j/h} at index h + j, for h = 1, 2, 4 … count/2 and j < h.
  private let cosines: [Double]
  private let sines: [Double]

  /// A spectrum of `count` real points: (X_0, X_{count/2}) in the first element, the others in bit-reversed order.
  package struct Spectrum: Sendable {
    package var real: [Double]
    package var imaginary: [Double]
  }

  package init(count: Int) {
    precondition(count >= 4 && count & (count - 1) == 0, "the length is a power of two, at least 4")
    self.count = count
    let half = count / 2
    var cosines = [Double](repeating: 1, count: count)
    var sines = [Double](repeating: 0, count: count)
    for j in 0..<half {
      // Reduced to the first eighth of the circle, where cos and sin are best, and mirrored from there.
      let (c, s) = Self.unitRoot(j, of: count)
      cosines[half + j] = c
      sines[half + j] = -s
    }
    var h = half / 2
    while h >= 1 {
      for j in 0..<h {
        cosines[h + j] = cosines[2 * h + 2 * j]
        sines[h + j] = sines[2 * h + 2 * j]
      }
      h /= 2
    }
    self.cosines = cosines
    self.sines = sines
  }

  /// cos and sin of 2π j/n for j < n/2.
  private static func unitRoot(_ j: Int, of n: Int) -> (Double, Double) {
    let quarter = n / 4
    if j > quarter {
      let (c, s) = unitRoot(n / 2 - j, of: n)
      return (-c, s)
    }
    if 2 * j > quarter {
      let (c, s) = unitRoot(quarter - j, of: n)
      return (s, c)
    }
    let angle = 2 * Double.pi * Double(j) / Double(n)
    return (cos(angle), sin(angle))
  }

  /// Bound on ‖computed − exact‖₂ / ‖exact‖₂ of either direction, and on the error of each value that
  /// ``forward(_:)`` returns, relative to the sum of its arguments' moduli.
  package var relativeError: Double {
    Double(count.trailingZeroBitCount + 1) * 8 * Double.ulpOfOne / 2
  }

  // MARK: Forward

  package func forward(_ values: [Double]) -> Spectrum {
    precondition(values.count == count)
    let half = count / 2
    var real = [Double](repeating: 0, count: half)
    var imaginary = [Double](repeating: 0, count: half)
    for j in 0..<half {
      real[j] = values[2 * j]
      imaginary[j] = values[2 * j + 1]
    }
    withTables(&real, &imaginary) { re, im, c, s in
      Self.decimateInFrequency(re, im, c, s, start: 0, size: half)
      Self.untangle(re, im, c, s, half: half, inverse: false)
    }
    return Spectrum(real: real, imaginary: imaginary)
  }

  // MARK: Inverse

  /// The sequence of which `spectrum` is the transform.
  package func inverse(_ spectrum: consuming Spectrum) -> [Double] {
    let half = count / 2
    var real = spectrum.real
    var imaginary = spectrum.imaginary
    precondition(real.count == half && imaginary.count == half)
    withTables(&real, &imaginary) { re, im, c, s in
      Self.untangle(re, im, c, s, half: half, inverse: true)
      Self.decimateInTime(re, im, c, s, start: 0, size: half)
    }
    let scale = 1 / Double(half)
    return [Double](unsafeUninitializedCapacity: count) { values, written in
      for j in 0..<half {
        values[2 * j] = real[j] * scale
        values[2 * j + 1] = imaginary[j] * scale
      }
      written = count
    }
  }

  // MARK: Stages

  private typealias Points = UnsafeMutablePointer<Double>
  private typealias Table = UnsafePointer<Double>

  private func withTables(
    _ real: inout [Double], _ imaginary: inout [Double],
    _ body: (Points, Points, Table, Table) -> Void
  ) {
    real.withUnsafeMutableBufferPointer { re in
      imaginary.withUnsafeMutableBufferPointer { im in
        cosines.withUnsafeBufferPointer { c in
          sines.withUnsafeBufferPointer { s in
            body(re.baseAddress!, im.baseAddress!, c.baseAddress!, s.baseAddress!)
          }
        }
      }
    }
  }

  /// Blocks of at most this many complex points (2 × 32 KB) go stage by stage; larger ones are halved first.
  private static let cachedBlock = 4096

  private static func decimateInFrequency(
    _ re: Points, _ im: Points, _ c: Table, _ s: Table, start: Int, size: Int
  ) {
    guard size > 1 else { return }
    guard size > cachedBlock else {
      var h = size / 2
      while h >= 1 {
        for block in stride(from: start, to: start + size, by: 2 * h) {
          frequencyButterflies(re + block, im + block, c + h, s + h, h)
        }
        h /= 2
      }
      return
    }
    let h = size / 2
    frequencyButterflies(re + start, im + start, c + h, s + h, h)
    decimateInFrequency(re, im, c, s, start: start, size: h)
    decimateInFrequency(re, im, c, s, start: start + h, size: h)
  }

  @inline(__always)
  private static func frequencyButterflies(_ re: Points, _ im: Points, _ c: Table, _ s: Table, _ h: Int) {
    for j in 0..<h {
      let differenceRe = re[j] - re[j + h]
      let differenceIm = im[j] - im[j + h]
      re[j] += re[j + h]
      im[j] += im[j + h]
      re[j + h] = differenceRe * c[j] - differenceIm * s[j]
      im[j + h] = differenceRe * s[j] + differenceIm * c[j]
    }
  }

  private static func decimateInTime(
    _ re: Points, _ im: Points, _ c: Table, _ s: Table, start: Int, size: Int
  ) {
    guard size > 1 else { return }
    guard size > cachedBlock else {
      var h = 1
      while h < size {
        for block in stride(from: start, to: start + size, by: 2 * h) {
          timeButterflies(re + block, im + block, c + h, s + h, h)
        }
        h *= 2
      }
      return
    }
    let h = size / 2
    decimateInTime(re, im, c, s, start: start, size: h)
    decimateInTime(re, im, c, s, start: start + h, size: h)
    timeButterflies(re + start, im + start, c + h, s + h, h)
  }

  @inline(__always)
  private static func timeButterflies(_ re: Points, _ im: Points, _ c: Table, _ s: Table, _ h: Int) {
    for j in 0..<h {
      let turnedRe = re[j + h] * c[j] + im[j + h] * s[j]
      let turnedIm = im[j + h] * c[j] - re[j + h] * s[j]
      re[j + h] = re[j] - turnedRe
      im[j + h] = im[j] - turnedIm
      re[j] += turnedRe
      im[j] += turnedIm
    }
  }

  /// Turns the transform Z of x_{2j} + i x_{2j+1} into the spectrum X of x, or back.
  ///
  /// X_k = ½(Z_k + Z̄_{M−k}) − ½ i W^k (Z_k − Z̄_{M−k}), W = e^{-iπ/M}. In bit-reversed order k and M − k are
  /// mirror images within each block [2^b, 2^{b+1}).
  private static func untangle(
    _ re: Points, _ im: Points, _ c: Table, _ s: Table, half: Int, inverse: Bool
  ) {
    let (first, second) = (re[0], im[0])
    re[0] = inverse ? (first + second) / 2 : first + second
    im[0] = inverse ? (first - second) / 2 : first - second
    var block = 1
    while block < half {
      var frequency = half / (2 * block)  // of the block's first element; the others follow by reversed carry
      let carryTop = half / 2
      for p in block..<(block + (block + 1) / 2) {
        let mirror = 3 * block - 1 - p
        let (cosine, sine) = (c[half + frequency], inverse ? -s[half + frequency] : s[half + frequency])
        let sumRe = (re[p] + re[mirror]) / 2
        let sumIm = (im[p] - im[mirror]) / 2
        let differenceRe = (re[p] - re[mirror]) / 2
        let differenceIm = (im[p] + im[mirror]) / 2
        // ∓ i W^{±k} · difference
        let turnedRe = cosine * differenceRe - sine * differenceIm
        let turnedIm = cosine * differenceIm + sine * differenceRe
        let (addRe, addIm) = inverse ? (-turnedIm, turnedRe) : (turnedIm, -turnedRe)
        re[p] = sumRe + addRe
        im[p] = sumIm + addIm
        if mirror != p {
          re[mirror] = sumRe - addRe
          im[mirror] = addIm - sumIm
        }
        var carry = carryTop
        while frequency & carry != 0 {
          frequency &-= carry
          carry /= 2
        }
        frequency &+= carry
      }
      block *= 2
    }
  }
}

extension RealFourierTransform.Spectrum {
  /// Bound on the relative error of one element of ``raised(to:)``, for each unit of the exponent.
  package static let powerErrorPerUnit = 3 * Double.ulpOfOne / 2

  /// Raises every element to the power `exponent` ≥ 1, by repeated squaring.
  package mutating func raise(to exponent: Int) {
    precondition(exponent >= 1)
    let (first, last) = (real[0], imaginary[0])
    real.withUnsafeMutableBufferPointer { re in
      imaginary.withUnsafeMutableBufferPointer { im in
        Self.raise(re.baseAddress!, im.baseAddress!, re.count, to: exponent)
      }
    }
    real[0] = Self.raise(first, to: exponent)
    imaginary[0] = Self.raise(last, to: exponent)
  }

  /// Multiplies element by element.
  package mutating func multiply(by other: Self) {
    let (first, last) = (real[0] * other.real[0], imaginary[0] * other.imaginary[0])
    for j in 1..<real.count {
      let product = real[j] * other.real[j] - imaginary[j] * other.imaginary[j]
      imaginary[j] = real[j] * other.imaginary[j] + imaginary[j] * other.real[j]
      real[j] = product
    }
    real[0] = first
    imaginary[0] = last
  }

  private static func raise(_ base: Double, to exponent: Int) -> Double {
    var (result, square, left) = (1.0, base, exponent)
    while true {
      if left & 1 == 1 { result *= square }
      left >>= 1
      guard left > 0 else { return result }
      square *= square
    }
  }

  private static func raise(
    _ re: UnsafeMutablePointer<Double>, _ im: UnsafeMutablePointer<Double>, _ count: Int, to exponent: Int
  ) {
    typealias Lanes = SIMD8<Double>
    for start in stride(from: 0, to: count, by: Lanes.scalarCount) {
      let lanes = min(Lanes.scalarCount, count - start)
      var squareRe = Lanes.zero
      var squareIm = Lanes.zero
      for lane in 0..<lanes {
        squareRe[lane] = re[start + lane]
        squareIm[lane] = im[start + lane]
      }
      var resultRe = Lanes(repeating: 1)
      var resultIm = Lanes.zero
      var left = exponent
      while true {
        if left & 1 == 1 {
          let product = resultRe * squareRe - resultIm * squareIm
          resultIm = resultRe * squareIm + resultIm * squareRe
          resultRe = product
        }
        left >>= 1
        guard left > 0 else { break }
        // Below 1e-200 in modulus, what is left would only produce denormals on its way to zero.
        if (squareRe * squareRe + squareIm * squareIm).max() < 1e-200 {
          resultRe = .zero
          resultIm = .zero
          break
        }
        let square = squareRe * squareRe - squareIm * squareIm
        squareIm = 2 * squareRe * squareIm
        squareRe = square
      }
      for lane in 0..<lanes {
        re[start + lane] = resultRe[lane]
        im[start + lane] = resultIm[lane]
      }
    }
  }
}
